// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"context"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
	"pgregory.net/rapid"
)

func sampleRequests() []forwardRequest {
	set, get := cmd(fsm.OpSet, "k", "v"), cmd(fsm.OpGet, "k")
	body := fsm.AppendCommand(nil, &set)
	return []forwardRequest{
		{Kind: forwardOpen, Group: 3, Incarnation: 1, Stream: 2, Position: 0},
		{
			Kind: forwardWrite, Group: 1, Incarnation: 9, Stream: 1, Position: 7, Session: 5, Seq: 4, Low: 2, Count: 1, Body: body,
			Reads: []fsm.AttachedRead{{After: 0, Cmd: get}, {After: 1, Cmd: get}},
		},
		{Kind: forwardWrite, Group: 1, Incarnation: 9, Stream: 1, Session: 5, Seq: 4, Low: 4, Body: []byte{}},
		{Kind: forwardRead, Group: 1, Timeout: time.Second, Count: 1, Body: fsm.AppendCommand(nil, &get)},
	}
}

func sampleReplies() map[string][]byte {
	hint := raftnode.Hint{Node: "n1", Term: 3}
	sub := &fsm.Sub{Status: fsm.SubApplied, Results: []fsm.Result{fsm.OK()}, ReadResults: []fsm.Result{fsm.Bulk([]byte("v")), {}}}
	return map[string][]byte{
		"refused": appendForwardReply(nil, forwardWrite, refusedNotLeader, hint, nil),
		"applied": appendForwardReply(nil, forwardWrite, answered, hint, sub),
		"gap":     appendForwardReply(nil, forwardWrite, answered, hint, &fsm.Sub{Status: fsm.SubGap, Next: 4}),
		"opened":  appendForwardReply(nil, forwardOpen, answered, hint, &fsm.Sub{Status: fsm.SubApplied, Next: 9}),
		"read":    appendForwardReply(nil, forwardRead, answered, hint, sub),
	}
}

// TestForwardFrames: parse is the reverse of append, and no frame survives the loss or gain of a
// byte.
func TestForwardFrames(t *testing.T) {
	for i, q := range sampleRequests() {
		frame := appendForwardRequest(nil, &q)
		got, err := parseForwardRequest(frame)
		if err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("request %d: %+v, %v", i, got, err)
		}
		for n := range frame {
			if _, err := parseForwardRequest(frame[:n]); err == nil {
				t.Errorf("request %d: accepted when cut at %d", i, n)
			}
		}
		if _, err := parseForwardRequest(append(frame, 0)); err == nil {
			t.Errorf("request %d: accepted with a byte behind it", i)
		}
	}
	kinds := map[string]byte{"refused": forwardWrite, "applied": forwardWrite, "gap": forwardWrite, "opened": forwardOpen, "read": forwardRead}
	for name, frame := range sampleReplies() {
		parse := func(src []byte) (*fsm.Sub, error) {
			sub := &fsm.Sub{Writes: 1, Reads: make([]fsm.AttachedRead, 2)}
			return sub, parseForwardReply(src, kinds[name], sub)
		}
		sub, err := parse(frame)
		if v, hint := classify(err); name == "refused" && (v != refusedNotLeader || hint != (raftnode.Hint{Node: "n1", Term: 3})) {
			t.Errorf("%s: %v", name, err)
		} else if name != "refused" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "applied" && (text(Reply{Result: sub.Results[0]}) != "OK" || string(sub.ReadResults[0].Str) != "v" || sub.ReadResults[1].Kind != fsm.KindNone) {
			t.Errorf("%s: %+v", name, sub)
		}
		if name == "opened" && sub.Results[0].Int != 9 {
			t.Errorf("%s: %+v", name, sub)
		}
		for n := range frame {
			if _, err := parse(frame[:n]); !bytes.Equal(frame[:n], frame) && (err == nil || reflect.TypeOf(err) == reflect.TypeOf(&refusal{})) {
				t.Errorf("%s: accepted when cut at %d", name, n)
			}
		}
	}
}

// TestReplyBounds: a reply carries at most maxReplyBytes of results, and behind a read that does not fit
// no other.
func TestReplyBounds(t *testing.T) {
	big := fsm.Bulk(make([]byte, maxReplyBytes-5))
	huge := fsm.Bulk(make([]byte, maxReplyBytes+1))
	small := fsm.Bulk(make([]byte, 100))
	for _, c := range []struct {
		name string
		kind byte
		res  []fsm.Result
		want []fsm.Kind
	}{
		{"all fit", forwardRead, []fsm.Result{big}, []fsm.Kind{fsm.KindBulk}},
		{"second does not", forwardRead, []fsm.Result{big, small}, []fsm.Kind{fsm.KindBulk, fsm.KindNone}},
		{"first is over", forwardRead, []fsm.Result{huge, small}, []fsm.Kind{fsm.KindNone, fsm.KindNone}},
		{"second is over", forwardRead, []fsm.Result{small, huge, small}, []fsm.Kind{fsm.KindBulk, fsm.KindNone, fsm.KindNone}},
		{"write was done", forwardWrite, []fsm.Result{small, huge}, []fsm.Kind{fsm.KindBulk, fsm.KindError}},
	} {
		frame := appendForwardReply(nil, c.kind, answered, raftnode.Hint{}, &fsm.Sub{Status: fsm.SubApplied, Results: c.res})
		sub := fsm.Sub{Writes: len(c.res)}
		if err := parseForwardReply(frame, c.kind, &sub); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i, res := range sub.Results {
			if res.Kind != c.want[i] || res.Kind == fsm.KindError && res.Code != fsm.CodeReplyDropped {
				t.Errorf("%s: result %d has kind %d", c.name, i, res.Kind)
			}
		}
	}
}

// TestServeInTurn: frames of one stream are submitted by position, whatever order they arrive in.
func TestServeInTurn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		order := rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7}).Draw(rt, "order")
		synctest.Test(t, func(t *testing.T) {
			w := newFakeWorld(t, 1, 1, 1, nil)
			defer w.close()
			r, raft := w.nodes[0].router, w.rafts[1]
			session := openSession(t, raft)
			var wg sync.WaitGroup
			for _, at := range order {
				push := cmd(fsm.OpRPush, "l", string(rune('a'+at)))
				q := forwardRequest{
					Kind: forwardWrite, Group: 1, Incarnation: 1, Stream: 1, Position: uint64(at),
					Session: session, Seq: uint64(at + 1), Low: 1, Count: 1, Body: fsm.AppendCommand(nil, &push),
				}
				wg.Go(func() {
					frame, err := r.handleForward(context.Background(), "n9", appendForwardRequest(nil, &q))
					sub := fsm.Sub{Writes: 1}
					if err == nil {
						err = parseForwardReply(frame, forwardWrite, &sub)
					}
					if err != nil || sub.Status != fsm.SubApplied {
						t.Errorf("position %d: status %d, %v", at, sub.Status, err)
					}
				})
				synctest.Wait()
			}
			wg.Wait()
			if got := text(w.nodes[0].do(time.Second, cmd(fsm.OpLRange, "l", "0", "-1"))[0]); got != "[a b c d e f g h]" {
				t.Error(got)
			}
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func openSession(t *testing.T, raft *fakeRaft) uint64 {
	t.Helper()
	open := fsm.OpenSession()
	sub := &fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &open)}
	raft.mu.Lock()
	defer raft.mu.Unlock()
	raft.applyLocked(&fakeEntry{data: encodeEntry(sub), sub: sub})
	return uint64(sub.Results[0].Int)
}

// TestServeRefusals: what a leader's node refuses, what that ends, and what it has no verdict on.
func TestServeRefusals(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		r := w.nodes[0].router
		session := openSession(t, raft)
		incr, get := cmd(fsm.OpIncr, "k"), cmd(fsm.OpGet, "k")
		serve := func(r *Router, q forwardRequest) (verdict, fsm.Sub) {
			sub := fsm.Sub{Writes: q.Count, Reads: q.Reads}
			frame, err := r.handleForward(context.Background(), "n9", appendForwardRequest(nil, &q))
			if err == nil {
				err = parseForwardReply(frame, q.Kind, &sub)
			}
			v, _ := classify(err)
			return v, sub
		}
		write := func(stream, at uint64) forwardRequest {
			return forwardRequest{
				Kind: forwardWrite, Group: 1, Incarnation: 1, Stream: stream, Position: at,
				Session: session, Seq: at + 1, Low: 1, Count: 1, Body: fsm.AppendCommand(nil, &incr),
			}
		}
		expect := func(what string, r *Router, q forwardRequest, want verdict) {
			t.Helper()
			if v, _ := serve(r, q); v != want {
				t.Errorf("%s: verdict %d, want %d", what, v, want)
			}
		}
		expect("first of a stream", r, write(1, 0), answered)
		expect("the same again", r, write(1, 0), lost)
		expect("next of the stream that ended", r, write(1, 1), refusedOrder)
		expect("next of another stream, too early", r, write(2, 1), refusedOrder)
		expect("first of that stream, which ended", r, write(2, 0), refusedOrder)
		expect("first of the next stream", r, write(3, 0), answered)
		expect("old stream", r, write(2, 2), lost)
		expect("not the leader", w.nodes[1].router, write(9, 0), refusedNotLeader)
		unknown := write(4, 0)
		unknown.Group = 77
		expect("no such group", r, unknown, refusedNoReplica)
		bad := write(4, 0)
		bad.Body = fsm.AppendCommand(nil, &get)
		expect("a read as write", r, bad, refusedInvalid)
		early := write(5, 0)
		early.Reads = []fsm.AttachedRead{{After: 2, Cmd: get}}
		expect("a read behind more writes than there are", r, early, refusedInvalid)
		inner := write(6, 0)
		inner.Reads = []fsm.AttachedRead{{After: 0, Cmd: incr}}
		expect("a write as read", r, inner, refusedInvalid)
		expect("a write among reads", r, forwardRequest{Kind: forwardRead, Group: 1, Timeout: time.Second, Count: 1, Body: write(1, 0).Body}, refusedInvalid)
		if v, sub := serve(r, write(7, 1)); v != refusedOrder {
			t.Errorf("verdict %d, status %d", v, sub.Status)
		}
		if reply, err := r.handleForward(context.Background(), "n9", []byte("rubbish")); err != nil || reply[1] != byte(refusedInvalid) {
			t.Errorf("rubbish: %x, %v", reply, err)
		}
		if got := text(w.nodes[0].do(time.Second, get)[0]); got != "1" {
			t.Errorf("the counter is %s", got)
		}
	})
}

// TestServeCredit: a frontend gets credit for so many frames and bytes, and one frame of any size.
func TestServeCredit(t *testing.T) {
	s := &forwardServer{}
	q := &forwardRequest{Kind: forwardRead, Group: 1}
	enter := func(from string, size int) (*inbound, bool) { return s.enter(from, q, size) }
	in, ok := enter("a", creditBytes+1)
	if !ok {
		t.Error("one large frame was refused")
	}
	if _, ok := enter("a", 1); ok {
		t.Error("a frame beyond the bytes was admitted")
	}
	if _, ok := enter("b", 1); !ok {
		t.Error("one frontend took another's credit")
	}
	s.leave(in, creditBytes+1, true)
	for i := range creditFrames {
		if _, ok := enter("a", creditBytes/creditFrames); !ok {
			t.Errorf("frame %d was refused", i)
		}
	}
	if _, ok := enter("a", 0); ok {
		t.Error("a frame beyond the count was admitted")
	}
}

func FuzzParseForwardRequest(f *testing.F) {
	for _, q := range sampleRequests() {
		f.Add(appendForwardRequest(nil, &q))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		q, err := parseForwardRequest(src)
		if err != nil {
			return
		}
		if q.Kind == forwardRead && q.Timeout == 0 {
			q.Timeout = time.Millisecond // no writer sends none
		}
		again, err := parseForwardRequest(appendForwardRequest(nil, &q))
		if err != nil || !reflect.DeepEqual(again, q) {
			t.Errorf("%+v became %+v, %v", q, again, err)
		}
	})
}

func FuzzParseForwardReply(f *testing.F) {
	for _, frame := range sampleReplies() {
		for kind := forwardOpen; kind <= forwardRead; kind++ {
			f.Add(kind, uint8(1), uint8(2), frame)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, writes, reads uint8, src []byte) {
		sub := fsm.Sub{Writes: int(writes), Reads: make([]fsm.AttachedRead, reads)}
		err := parseForwardReply(src, kind%forwardRead+1, &sub)
		if err == nil && sub.Status == fsm.SubApplied && kind%forwardRead+1 == forwardWrite &&
			(len(sub.Results) != sub.Writes || len(sub.ReadResults) != len(sub.Reads)) {
			t.Errorf("%d and %d results for %d and %d commands", len(sub.Results), len(sub.ReadResults), writes, reads)
		}
	})
}
