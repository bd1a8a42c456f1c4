// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"pgregory.net/rapid"
)

// TestSplitAgainstModel: split commands behave as on one keyspace.
func TestSplitAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		groups := rapid.IntRange(1, 20).Draw(rt, "groups")
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) fsm.Command {
			keys := rapid.SliceOfN(rapid.StringMatching(`[a-j]`), 1, 12).Draw(rt, "keys")
			op := rapid.SampledFrom([]fsm.Op{fsm.OpMGet, fsm.OpMSet, fsm.OpDel, fsm.OpExists, fsm.OpTouch, fsm.OpUnlink}).Draw(rt, "op")
			var args []string
			for i, k := range keys {
				args = append(args, k)
				if op == fsm.OpMSet {
					args = append(args, fmt.Sprint("v", i))
				}
			}
			return cmd(op, args...)
		}), 1, 10).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			w := newFakeWorld(t, 1, 1, groups, nil)
			one := newFakeWorld(t, 1, 1, 1, nil)
			got, want := w.nodes[0].do(time.Second, steps...), one.nodes[0].do(time.Second, steps...)
			for i := range got {
				if text(got[i]) != text(want[i]) {
					t.Errorf("command %d: %s, want %s", i, text(got[i]), text(want[i]))
				}
			}
			w.close()
			one.close()
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// TestJoinFailures is the outcome table of commands that were executed in parts.
func TestJoinFailures(t *testing.T) {
	table := fsm.Data()
	ok := &Reply{Result: fsm.OK()}
	oom := &Reply{Result: fsm.Error(fsm.CodeOOM, fsm.TextOOM)}
	dropped := &Reply{Result: fsm.Error(fsm.CodeReplyDropped, fsm.TextReplyDropped)}
	refused := &Reply{Err: &Error{Kind: KindNotLeader}}
	unknown := &Reply{Err: &Error{Kind: KindUnknown}}
	for _, c := range []struct {
		name  string
		op    fsm.Op
		parts []*Reply
		kind  Kind
		code  fsm.Code
		fine  bool
	}{
		{"all done", fsm.OpMSet, []*Reply{ok, ok}, 0, 0, true},
		{"none sent", fsm.OpMSet, []*Reply{refused, refused}, KindNotLeader, 0, false},
		{"one sent, one not", fsm.OpMSet, []*Reply{refused, ok}, KindUnknown, 0, false},
		{"one unknown, one not sent", fsm.OpMSet, []*Reply{refused, unknown}, KindUnknown, 0, false},
		{"one unknown, one done", fsm.OpMSet, []*Reply{ok, unknown}, KindUnknown, 0, false},
		{"no memory anywhere", fsm.OpMSet, []*Reply{oom, oom}, 0, fsm.CodeOOM, false},
		{"no memory in one group", fsm.OpMSet, []*Reply{oom, ok}, KindUnknown, 0, false},
		{"no memory here, not sent there", fsm.OpMSet, []*Reply{oom, refused}, KindNotLeader, 0, false},
		{"done, reply dropped", fsm.OpDel, []*Reply{dropped, ok}, 0, 0, true},
		{"done, reply dropped, not sent", fsm.OpDel, []*Reply{dropped, refused}, KindUnknown, 0, false},
		{"read in part", fsm.OpMGet, []*Reply{ok, refused}, KindNotLeader, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Reply
			if fine := !joinFailures(table.Spec(c.op), c.parts, &r); fine != c.fine {
				t.Fatalf("fine %v", fine)
			}
			if kindOf(r) != c.kind || r.Result.Code != c.code {
				t.Errorf("%v, code %d", r.Err, r.Result.Code)
			}
			if c.kind == KindUnknown && !errors.Is(r.Err, errPartly) {
				t.Errorf("%v does not say why", r.Err)
			}
		})
	}
}
