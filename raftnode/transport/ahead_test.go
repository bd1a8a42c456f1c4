// SPDX-License-Identifier: Apache-2.0

package transport

import (
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

// TestW16OutdatedMakesRoom: an append that raft will not ask for any more does not stand in the way of the next.
func TestW16OutdatedMakesRoom(t *testing.T) {
	var table aheadTable
	for _, a := range []*raft.AppendEntriesRequest{appendOf(3, 10, 2, 2), appendOf(3, 12, 3, 1), appendOf(5, 11, 3, 1)} {
		if table.begin("n2/2", a) == nil {
			t.Errorf("term %d behind %d: not sent", a.Term, a.PrevLogEntry)
		}
	}
	if table.begin("n2/2", appendOf(4, 20, 4, 1)) != nil {
		t.Error("an older term's append took the place of a newer one's")
	}
}
