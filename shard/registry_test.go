// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// TestWaitsFrames: what is written is read, and no frame that is cut short is taken for whole.
func TestWaitsFrames(t *testing.T) {
	q := waitsRequest{
		group: 3, incarnation: 7, number: 9, whole: true, ended: []uint64{4, 5},
		entries: []waitEntry{
			{ticket: 1, done: 2, age: 3 * time.Second, pops: fsm.PopsZSet, keys: [][]byte{[]byte("a"), {}}},
			{ticket: 2, age: time.Hour},
		},
	}
	k := wakeRequest{group: 3, incarnation: 7, wakes: []wake{{ticket: 1, number: 2, key: 3}, {ticket: 9}}}
	unknown, full := []uint64{1, 2}, []uint64{3}
	for name, f := range map[string]struct {
		frame []byte
		parse func([]byte) (any, error)
		want  any
	}{
		"waits": {encodeWaits(&q), func(b []byte) (any, error) { return parseWaits(b) }, q},
		"wakes": {encodeWakes(&k), func(b []byte) (any, error) { return parseWakes(b) }, k},
		"answer": {waitsReply(answered, raftnode.Hint{Node: "n", Term: 4}, unknown, full), func(b []byte) (any, error) {
			var u, f []uint64
			term, err := parseWaitsReply(b, &u, &f)
			return []any{term, u, f}, err
		}, []any{uint64(4), unknown, full}},
	} {
		if got, err := f.parse(f.frame); err != nil || !reflect.DeepEqual(got, f.want) {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, f.want)
		}
		for n := range f.frame {
			if got, err := f.parse(f.frame[:n]); err == nil {
				t.Errorf("%s: the first %d bytes of %d are %+v", name, n, len(f.frame), got)
			}
		}
		if _, err := f.parse(append(f.frame, 0)); err == nil {
			t.Errorf("%s: a byte too many is fine", name)
		}
	}
	if _, err := parseWaitsReply(waitsReply(refusedNotLeader, raftnode.Hint{Node: "x", Term: 2})); err == nil {
		t.Error("a refusal is none")
	} else if v, hint := classify(err); v != refusedNotLeader || hint.Node != "x" {
		t.Errorf("a refusal: %v %v", v, hint)
	}
}

// FuzzWaitsFrames: no bytes make the parsers panic, or take memory for what is only announced.
func FuzzWaitsFrames(f *testing.F) {
	f.Add(encodeWaits(&waitsRequest{entries: []waitEntry{{ticket: 1, pops: fsm.PopsList, keys: [][]byte{[]byte("k")}}}, ended: []uint64{2}}))
	f.Add(encodeWakes(&wakeRequest{wakes: []wake{{ticket: 1}}}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseWaits(b)
		_, _ = parseWakes(b)
		var list []uint64
		_, _ = parseWaitsReply(b, &list)
	})
}

// tickets tells a registry of tickets from on; each waits for its own key of the given length.
func (g *registry) tell(t *testing.T, number uint64, from, to uint64, keyBytes int) (full int) {
	t.Helper()
	q := waitsRequest{group: g.group, incarnation: 1, number: number}
	for i := from; i < to; i++ {
		key := binary.BigEndian.AppendUint64(make([]byte, 0, keyBytes), i)
		q.entries = append(q.entries, waitEntry{ticket: i, pops: fsm.PopsList, keys: [][]byte{key[:cap(key)]}})
	}
	_, refused, _, ok := g.take("edge", &q)
	if !ok {
		t.Fatal("the frame is refused")
	}
	return len(refused)
}

// TestRegistryLimits: as many tickets, and as many bytes, as there may be, and one more.
func TestRegistryLimits(t *testing.T) {
	for _, c := range []struct {
		name     string
		tickets  uint64
		keyBytes int
	}{
		{"tickets", maxTickets, 8},
		{"bytes", uint64(maxTicketBytes / ticketSize([][]byte{make([]byte, 64<<10)})), 64 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRouter(routerConfig{Self: "n", Table: fsm.Data(), Rand: rand.Reader})
			defer r.close()
			g := &r.route(1).registry
			if full := g.tell(t, 1, 0, c.tickets, c.keyBytes); full != 0 {
				t.Errorf("%d of %d have no room", full, c.tickets)
			}
			if full := g.tell(t, 2, c.tickets, c.tickets+1, c.keyBytes); full != 1 {
				t.Error("one more has room")
			}
			q := waitsRequest{group: 1, incarnation: 1, number: 3, ended: []uint64{0}}
			if _, _, _, ok := g.take("edge", &q); !ok || g.tell(t, 4, c.tickets, c.tickets+1, c.keyBytes) != 0 {
				t.Error("there is no room where one ended")
			}
			if _, _, _, ok := g.take("edge", &q); ok {
				t.Error("an old frame is taken")
			}
			q = waitsRequest{group: 1, incarnation: 2, number: 1, whole: true}
			if _, _, _, ok := g.take("edge", &q); !ok || g.Any() || g.mu.bytes != 0 {
				t.Errorf("a new process has %d tickets of %d bytes", g.n.Load(), g.mu.bytes)
			}
		})
	}
}

// TestTooManyWaits: a node has a limit of its own.
func TestTooManyWaits(t *testing.T) {
	r := newRouter(routerConfig{Self: "n", Table: fsm.Data(), Rand: rand.Reader})
	defer r.close()
	r.setMap(&Map{Version: 1, Groups: map[uint32]GroupPlace{}})
	r.waiting.Store(maxNodeWaits - 1)
	w := fsm.Wait{Pops: fsm.PopsList, Keys: [][]byte{[]byte("k")}}
	last, err := r.Wait(w, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(w, func() {}); !NotApplied(err) || !strings.Contains(fmt.Sprint(err), "overloaded") {
		t.Errorf("one more: %v", err)
	}
	last.End()
	if n := r.Waiting(); n != maxNodeWaits-1 {
		t.Errorf("%d wait", n)
	}
}

// TestTouchedCostsNothing: a write to a key that nobody waits for allocates nothing, however many wait for others.
func TestTouchedCostsNothing(t *testing.T) {
	r := newRouter(routerConfig{Self: "n", Table: fsm.Data(), Rand: rand.Reader})
	defer r.close()
	g := &r.route(1).registry
	g.tell(t, 1, 0, 100, 8)
	key := []byte("another")
	if n := testing.AllocsPerRun(100, func() { g.Touched(key, fsm.PopsList, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
