// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

func appendOf(term, prev, prevTerm uint64, entries int) *raft.AppendEntriesRequest {
	a := &raft.AppendEntriesRequest{Term: term, PrevLogEntry: prev, PrevLogTerm: prevTerm}
	for i := range entries {
		a.Entries = append(a.Entries, &raft.Log{Index: prev + 1 + uint64(i), Term: term, Type: raft.LogCommand})
	}
	return a
}

// wrongTake sends an append ahead and then asks for others. It tells the first one that was given the wrong answer.
func wrongTake() error {
	for _, c := range []struct {
		what        string
		asked       *raft.AppendEntriesRequest
		taken, kept bool
	}{
		{"the same append", appendOf(3, 10, 2, 2), true, false},
		{"the same entries and more", appendOf(3, 10, 2, 4), true, false},
		{"fewer entries", appendOf(3, 10, 2, 1), false, true},
		{"the commit index alone", appendOf(3, 10, 2, 0), false, true},
		{"a heartbeat", appendOf(3, 0, 0, 0), false, true},
		{"entries before", appendOf(3, 9, 2, 3), false, true},
		{"entries behind", appendOf(3, 12, 3, 1), false, false},
		{"an append of the next term", appendOf(4, 10, 2, 2), false, false},
		{"another entry before", appendOf(3, 10, 3, 2), false, true},
	} {
		var table aheadTable
		sent := table.begin("n2/2", appendOf(3, 10, 2, 2))
		if table.begin("n2/2", appendOf(3, 10, 2, 2)) != nil {
			return fmt.Errorf("%s: two appends are ahead", c.what)
		}
		if table.take("n3/3", c.asked) != nil {
			return fmt.Errorf("%s: answered for another replica", c.what)
		}
		got := table.take("n2/2", c.asked)
		if got != nil && got != sent || (got != nil) != c.taken {
			return fmt.Errorf("%s: answered by what went ahead: %t", c.what, got != nil)
		}
		if kept := table.take("n2/2", appendOf(3, 10, 2, 2)) != nil; kept != c.kept {
			return fmt.Errorf("%s: still ahead: %t", c.what, kept)
		}
	}
	return nil
}

// TestW16AppendsAreAnsweredForThemselves: what was sent ahead answers no other append.
func TestW16AppendsAreAnsweredForThemselves(t *testing.T) {
	if err := wrongTake(); err != nil {
		t.Error(err)
	}
}

// wrongAwait asks for more than was sent ahead. It tells what is wrong with the answer.
func wrongAwait() error {
	tr := &Transport{ctx: context.Background()}
	sent := &ahead{req: appendOf(3, 10, 2, 2), done: make(chan struct{})}
	sent.resp = raft.AppendEntriesResponse{Term: 3, LastLog: 12, Success: true}
	close(sent.done)
	asked, resp := appendOf(3, 10, 2, 4), raft.AppendEntriesResponse{}
	asked.LeaderCommitIndex = 14
	if err := tr.await(sent, asked, &resp); err != nil || !resp.Success || resp.LastLog != 12 {
		return fmt.Errorf("answered %+v, %w", resp, err)
	}
	if len(asked.Entries) != 2 || asked.LeaderCommitIndex != 12 {
		return fmt.Errorf("two entries were sent; taken for acknowledged: %d, committed to %d", len(asked.Entries), asked.LeaderCommitIndex)
	}
	return nil
}

// TestW16AnswersCountForWhatWasSent: raft counts no entry that the message ahead did not carry, and hears of refusals
// and failures.
func TestW16AnswersCountForWhatWasSent(t *testing.T) {
	if err := wrongAwait(); err != nil {
		t.Error(err)
	}
	tr := &Transport{ctx: context.Background()}
	refused := &ahead{req: appendOf(3, 10, 2, 2), done: make(chan struct{}), resp: raft.AppendEntriesResponse{Term: 4, LastLog: 7}}
	close(refused.done)
	resp := raft.AppendEntriesResponse{Success: true}
	if err := tr.await(refused, appendOf(3, 10, 2, 2), &resp); err != nil || resp.Success || resp.Term != 4 || resp.LastLog != 7 {
		t.Errorf("a refusal: %+v, %v", resp, err)
	}
	failing := &ahead{req: appendOf(3, 10, 2, 2), done: make(chan struct{})}
	wait := make(chan error)
	go func() { wait <- tr.await(failing, appendOf(3, 10, 2, 2), &resp) }()
	failing.err = ErrTimeout
	close(failing.done)
	if err := <-wait; !errors.Is(err, ErrTimeout) {
		t.Errorf("a failure: %v", err)
	}
	var table aheadTable
	a := table.begin("n2/2", appendOf(3, 10, 2, 2))
	a.err = ErrTimeout
	close(a.done)
	if table.take("n2/2", appendOf(3, 10, 2, 2)) != nil {
		t.Error("an append is answered by a failure of before")
	}
}

// TestW16OutdatedMakesRoom: an append that raft will not ask for any more does not stand in the way of the next.
func TestW16OutdatedMakesRoom(t *testing.T) {
	var table aheadTable
	for _, a := range []*raft.AppendEntriesRequest{appendOf(3, 10, 2, 2), appendOf(3, 12, 3, 1), appendOf(5, 11, 3, 1)} {
		if table.begin("n2/2", a) == nil {
			t.Errorf("term %d behind %d: not sent", a.Term, a.PrevLogEntry)
		}
	}
	if len(table.mu.m) != 1 {
		t.Errorf("%d appends are kept", len(table.mu.m))
	}
	if table.begin("n2/2", appendOf(4, 20, 4, 1)) != nil {
		t.Error("an older term's append took the place of a newer one's")
	}
}
