// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// maxIndex bounds the index an append may begin at, so that sums cannot overflow.
const maxIndex = 1 << 62

// lastVouched is the index up to which an append says what the log holds.
func lastVouched(a *raft.AppendEntriesRequest) uint64 {
	return a.PrevLogEntry + uint64(len(a.Entries))
}

// clampCommit lowers the commit index to what the append vouches for (W2): a follower commits up
// to min(commit index, its own last entry), and beyond the append's last entry its own entries may
// be a deposed leader's.
func clampCommit(a *raft.AppendEntriesRequest) {
	a.LeaderCommitIndex = min(a.LeaderCommitIndex, lastVouched(a))
}

// cutEntries shortens an append to MaxAppendBytes, but keeps one entry (W10). raft derives from
// a.Entries what was acknowledged and goes on from there.
func cutEntries(a *raft.AppendEntriesRequest) {
	size := 0
	for i, e := range a.Entries {
		size += len(e.Data) + len(e.Extensions) + entryOverhead
		if size > MaxAppendBytes && i > 0 {
			clear(a.Entries[i:])
			a.Entries = a.Entries[:i]
			return
		}
	}
}

// appendHeadSize is the room an append needs beside the Data it refers to.
func appendHeadSize(a *raft.AppendEntriesRequest) int {
	size := 64
	for _, e := range a.Entries {
		size += entryOverhead + len(e.Extensions)
		if len(e.Data) < referData {
			size += len(e.Data)
		}
	}
	return size
}

// checkEntries refuses an append that no sound leader sends: entries that do not follow one
// another, are of a later term than their sender's, or are of a type raft panics on.
func checkEntries(a *raft.AppendEntriesRequest) error {
	if a.PrevLogEntry > maxIndex || a.PrevLogTerm > a.Term {
		return fmt.Errorf("%w: append of term %d after entry %d of term %d", ErrMalformed, a.Term, a.PrevLogEntry, a.PrevLogTerm)
	}
	term := a.PrevLogTerm
	for i, e := range a.Entries {
		switch {
		case e.Index != a.PrevLogEntry+1+uint64(i):
			return fmt.Errorf("%w: entry %d where %d is due", ErrMalformed, e.Index, a.PrevLogEntry+1+uint64(i))
		case e.Term < term || e.Term > a.Term:
			return fmt.Errorf("%w: entry of term %d after %d in an append of %d", ErrMalformed, e.Term, term, a.Term)
		}
		term = e.Term
		switch e.Type {
		case raft.LogCommand, raft.LogNoop, raft.LogBarrier:
		case raft.LogConfiguration:
			if !readableConfiguration(e.Data) {
				return fmt.Errorf("%w: configuration entry", ErrMalformed)
			}
		default:
			return fmt.Errorf("%w: entry of type %d", ErrMalformed, e.Type)
		}
	}
	return nil
}

// raiseAppend makes an append that reaches below the local snapshot (index, term) begin at it
// (W11). Whatever is at or below the snapshot is committed and in the state machine here, so an
// append of a current leader can only repeat it. raft has no log to check that against any more:
// it would refuse, and the leader would go ever lower. The check is made here, against the
// snapshot, and raft is told that nothing precedes the first entry.
//
// The caller has clamped the commit index already.
func raiseAppend(a *raft.AppendEntriesRequest, index, term uint64) error {
	if index == 0 || a.PrevLogEntry > index || a.PrevLogEntry == 0 && len(a.Entries) == 0 {
		return nil
	}
	if a.PrevLogEntry == index && a.PrevLogTerm != term {
		return fmt.Errorf("%w: entry %d of term %d is of term %d in the snapshot", ErrMalformed, index, a.PrevLogTerm, term)
	}
	below := min(index-a.PrevLogEntry, uint64(len(a.Entries)))
	if a.PrevLogEntry+below == index && below > 0 && a.Entries[below-1].Term != term {
		return fmt.Errorf("%w: entry %d of term %d is of term %d in the snapshot", ErrMalformed, index, a.Entries[below-1].Term, term)
	}
	a.Entries = a.Entries[below:]
	a.PrevLogEntry, a.PrevLogTerm = 0, 0
	return nil
}
