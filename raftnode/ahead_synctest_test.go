// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestEntriesGoAhead: an entry is written on all disks at a time, not on the leader's before the others'.
func TestEntriesGoAhead(t *testing.T) {
	inWorld(t, func(b *bench) {
		lead, rest := b.begun("n1", "n2", "n3")
		const sync = 20 * time.Millisecond
		for _, n := range append(rest, lead) {
			b.world.FS(n.name).SetSyncDelay(sync)
		}
		b.sleep(time.Second)
		began := time.Now()
		for i := range 10 {
			lead.must(setCmd("k", fmt.Sprint(i)))
		}
		if each := time.Since(began) / 10; each < sync || each > sync*5/4 {
			t.Errorf("a write takes %v with syncs of %v", each, sync)
		}
		b.converged()
	})
}

// TestLeaderCountsItselfBehindItsWrite: entries that the followers have while the leader is still writing them
// are not committed, and are there in the end or not for everybody when the leader's write fails or its power goes.
func TestLeaderCountsItselfBehindItsWrite(t *testing.T) {
	for _, end := range []string{"written", "no space", "power cut"} {
		inWorld(t, func(b *bench) {
			lead, rest := b.begun("n1", "n2", "n3")
			b.sleep(time.Second)
			last := lead.group.inst.Load().raft.LastIndex()
			release := lead.hang()
			answer := make(chan error, 1)
			go func() { answer <- lead.set("k", "ahead") }()
			b.sleep(200 * time.Millisecond)
			for _, n := range rest {
				r := n.group.inst.Load().raft
				if r.LastIndex() != last+1 || r.CommitIndex() > last || n.local("k") != "v" {
					t.Errorf("%s: %s has entries to %d of %d, committed to %d", end, n.name, r.LastIndex(), last+1, r.CommitIndex())
				}
			}
			select {
			case err := <-answer:
				t.Errorf("%s: answered before the leader wrote: %v", end, err)
			default:
			}
			want := ErrUnknown
			switch end {
			case "written":
				release()
				want = nil
			case "no space":
				free := lead.fullLog()
				release()
				b.sleep(100 * time.Millisecond)
				free()
			case "power cut":
				bury := lead.kill()
				release()
				bury()
				want = nil // nobody is left to be told
			}
			if end != "power cut" {
				if err := <-answer; !errors.Is(err, want) {
					t.Errorf("%s: the write was answered %v", end, err)
				}
			}
			b.write("after", "x")
			if end == "power cut" {
				b.reopen(lead.name, replicaOf(lead.name))
			}
			b.converged()
			for _, n := range rest {
				if got := n.local("k"); got != "ahead" {
					t.Errorf("%s: %s has %q, which two of three had in their logs", end, n.name, got)
				}
			}
		})
	}
}
