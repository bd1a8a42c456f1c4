// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/fsm/script"
)

// TestScriptCopies: a frame is served once, whatever comes in between, and one that is too old never.
func TestScriptCopies(t *testing.T) {
	var c scriptSource
	for i, s := range []struct {
		incarnation, number uint64
		want                bool
	}{
		{5, 1, true},
		{5, 1, false},
		{5, 3, true},
		{5, 2, true},
		{5, 2, false},
		{4, 9, false},
		{5, 2*scriptWindow + 1, true},
		{5, 4, false},
		{5, scriptWindow + 2, true},
		{5, scriptWindow + 2, false},
		{5, scriptWindow + 1, false},
		{6, 1, true},
		{6, 1, false},
		{5, 9000, false},
	} {
		if got := c.fresh(s.incarnation, s.number); got != s.want {
			t.Errorf("%d: %+v: %v", i, s, got)
		}
	}
}

// TestScriptCache: the cache keeps to its bounds, and what was used last stays.
func TestScriptCache(t *testing.T) {
	w := newFakeWorld(t, 1, 1, 1, nil)
	defer w.close()
	s := w.nodes[0].router.Scripts()
	source := func(i int) []byte { return fmt.Appendf(nil, "return %d --%s", i, strings.Repeat("x", 32<<10)) }
	first := script.SHA(source(0))
	for i := range 600 {
		if _, bad := s.Load(t.Context(), source(i)); bad != nil {
			t.Fatal(string(bad.Str))
		}
		if !s.Exists([]byte(first)) {
			t.Fatalf("the one in use went at %d", i)
		}
	}
	if s.mu.bytes > maxCachedBytes || s.Exists([]byte(script.SHA(source(1)))) {
		t.Errorf("%d bytes in %d scripts", s.mu.bytes, len(s.mu.cache))
	}
	if _, bad := s.Load(t.Context(), []byte("return x y")); bad == nil || !strings.HasPrefix(string(bad.Str), "ERR Error compiling script") {
		t.Errorf("no script: %v", bad)
	}
}

// TestScriptFrames: a frame carries what it is made of, and no cut of one is taken for a whole.
func TestScriptFrames(t *testing.T) {
	r := &Router{cfg: routerConfig{Table: fsm.Data()}}
	q := scriptCall{body: []byte("return 1"), keys: [][]byte{[]byte("a"), []byte("b")}, args: [][]byte{[]byte("x")}, readOnly: true}
	h := scriptHead{group: 7, left: 1500 * time.Millisecond, incarnation: 3, number: 9}
	src := appendScriptRequest(&h, &q)
	h2, q2, err := r.parseScriptRequest(src)
	if err != nil || h2 != h || fmt.Sprint(q2) != fmt.Sprint(q) {
		t.Errorf("%v: %+v %+v", err, h2, q2)
	}
	for n := range src {
		if _, _, err := r.parseScriptRequest(src[:n]); err == nil {
			t.Errorf("the first %d bytes are taken", n)
		}
	}
}

// TestScriptKill: SCRIPT KILL ends what runs, and what waits for its turn goes on.
func TestScriptKill(t *testing.T) {
	w := newFakeWorld(t, 1, 1, 1, nil)
	defer w.close()
	n := w.nodes[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan Reply)
	go func() {
		var out [1]Reply
		n.router.Do(ctx, &Caller{}, []fsm.Command{evalOf(`redis.call("set", KEYS[1], 1) while true do end`, []string{"k"})}, out[:])
		done <- out[0]
	}()
	killed := false
	for !killed && ctx.Err() == nil {
		select {
		case r := <-done:
			t.Fatalf("ended by itself: %s", text(r))
		default:
			killed = n.router.Scripts().Kill()
		}
	}
	if r := <-done; r.Err != nil || string(r.Result.Str) != script.ErrKilled.Error() {
		t.Errorf("killed: %s", text(r))
	}
	if n.router.Scripts().Kill() {
		t.Error("there is one left")
	}
	var out [2]Reply
	n.router.Do(ctx, &Caller{}, []fsm.Command{cmd(fsm.OpGet, "k"), evalOf(`return redis.call("incr", KEYS[1])`, []string{"k"})}, out[:])
	if out[0].Result.Kind != fsm.KindNull || out[1].Result.Int != 1 {
		t.Errorf("afterwards: %s, %s", text(out[0]), text(out[1]))
	}
}

// TestScriptRouting: keys of several slots, EVALSHA of what is not here, an order with plain commands in one call.
func TestScriptRouting(t *testing.T) {
	w := newFakeWorld(t, 1, 2, 2, nil)
	defer w.close()
	for _, n := range w.nodes {
		out := n.do(0, cmd(fsm.OpDel, "k"), cmd(fsm.OpSet, "k", "5"), evalOf(`return redis.call("incrby", KEYS[1], ARGV[1])`, []string{"k"}, "2"), cmd(fsm.OpGet, "k"),
			evalOf("return 1", []string{keyOf(1, 1), keyOf(2, 2)}), cmd(fsm.OpEvalSHA, strings.Repeat("f", 40), "0"), evalOf("return #ARGV", nil, "a", "b"))
		want := []string{"", "", "7", "7", "CROSSSLOT", "NOSCRIPT", "2"}
		for i, r := range out {
			if r.Err != nil || !strings.Contains(text(r), want[i]) {
				t.Errorf("%s: command %d: %s %v", n.id, i, text(r), r.Err)
			}
		}
	}
}
