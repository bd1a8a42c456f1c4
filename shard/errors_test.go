// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kvorum/kvorum/raftnode"
)

// TestOutcomeTable: what each failure proves is part of the promise to clients. An error that is not
// known by name proves nothing.
func TestOutcomeTable(t *testing.T) {
	hint := raftnode.Hint{Node: "n2", Term: 7}
	for _, c := range []struct {
		err  error
		want verdict
		kind Kind
	}{
		{nil, answered, KindTimeout},
		{raftnode.ErrNotLeader{Hint: hint}, refusedNotLeader, KindNotLeader},
		{raftnode.ErrTransferring, refusedNotLeader, KindNotLeader},
		{raftnode.ErrClosed, refusedNoReplica, KindNotLeader},
		{raftnode.ErrNoGroup, refusedNoReplica, KindNotLeader},
		{raftnode.ErrNotSent, notSent, KindNotLeader},
		{raftnode.ErrOverloaded, refusedOverloaded, KindOverloaded},
		{raftnode.ErrNoSpace, refusedNoSpace, KindNoSpace},
		{raftnode.ErrNoQuorum, refusedNoQuorum, KindNoQuorum},
		{raftnode.ErrTooLarge, refusedTooLarge, KindInvalid},
		{raftnode.ErrTimeout, refusedTimeout, KindTimeout},
		{raftnode.ErrUnknown, lost, KindUnknown},
		{raftnode.ErrLost, lost, KindUnknown},
		{fmt.Errorf("%w: %w", raftnode.ErrLost, raftnode.ErrNotSent), lost, KindUnknown},
		{context.DeadlineExceeded, lost, KindUnknown},
		{errors.New("anything"), lost, KindUnknown},
		{errFrame, lost, KindUnknown},
		{errNoTarget, refusedNoReplica, KindNotLeader},
		{errClosing, refusedClosing, KindClosing},
		{errTurn, refusedOrder, KindOverloaded},
	} {
		err := c.err
		for range 2 { // plain, then wrapped
			v, h := classify(err)
			if v != c.want || v.kind() != c.kind {
				t.Errorf("%v: verdict %d, kind %v; want %d, %v", err, v, v.kind(), c.want, c.kind)
			}
			if v == refusedNotLeader && !errors.Is(err, raftnode.ErrTransferring) && h != hint {
				t.Errorf("%v: hint %v", err, h)
			}
			if err == nil {
				break
			}
			if definite := v != lost; raftnode.IsNotApplied(err) && !definite {
				t.Errorf("%v is not applied, and was taken for unknown", err)
			}
			err = fmt.Errorf("wrapped: %w", err)
		}
	}
}

// TestKinds: every kind but unknown is safe to repeat, and numbers on wires stay what they are.
func TestKinds(t *testing.T) {
	for k, n := range map[Kind]int{
		KindNotLeader: 1, KindNoQuorum: 2, KindOverloaded: 3, KindNoSpace: 4, KindClosing: 5,
		KindUninitialised: 6, KindTimeout: 7, KindUnknown: 8, KindDenied: 9, KindInvalid: 10,
	} {
		err := fmt.Errorf("edge: %w", &Error{Kind: k, Op: "write", Err: errPartly})
		if int(k) != n || NotApplied(err) != (k != KindUnknown) || k.String() == "unknown kind" {
			t.Errorf("kind %d: %v", k, err)
		}
		if !errors.Is(err, errPartly) {
			t.Errorf("kind %d hides its cause", k)
		}
	}
	if NotApplied(errors.New("x")) || NotApplied(nil) || (&Error{}).NotApplied() {
		t.Error("an error of no kind was taken for not applied")
	}
	if Kind(99).String() != "unknown kind" {
		t.Error(Kind(99).String())
	}
}
