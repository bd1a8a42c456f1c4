// SPDX-License-Identifier: Apache-2.0

package fsm

// SubStatus tells what Apply did with a Sub.
type SubStatus uint8

// The statuses of a Sub.
const (
	// SubPending: not applied yet.
	SubPending SubStatus = iota
	// SubApplied: executed by this entry, or executed earlier and answered from the session's
	// cache; Results is complete. A command's own result has CodeReplyDropped when its cached reply
	// was not kept.
	SubApplied
	// SubGap: nothing executed; the session expects Next. The frontend resends from there.
	SubGap
	// SubExpired: nothing executed now, and the session is unknown: the outcome of earlier tries
	// of this Sub can no longer be learnt.
	SubExpired
	// SubStale: Seq is below the session's lowest kept number: the frontend had already
	// acknowledged it. Nothing executed.
	SubStale
)

// AttachedRead is a read that follows writes of its own connection. It is never written to the
// log: it runs on the leader when the entry is applied there, behind the first After writes of its
// Sub.
type AttachedRead struct {
	After int
	Cmd   Command
}

// Sub is one frontend's ordered run of commands for one group on its way through that group's
// leader: the unit of exactly-once. Owned by the submitter until Submit, then by the group until
// the done callback.
type Sub struct {
	// Session is the frontend's session in this group: the log index of the entry that opened it;
	// 0 for a Sub outside any session (applied as often as it is proposed: leader's own upkeep).
	Session uint64
	// Seq numbers the Subs of a session from 1. Low: every number below it is acknowledged, and
	// its cached reply may be forgotten.
	Seq, Low uint64
	// Writes counts the commands in Body.
	Writes int
	// Body holds the writes in log encoding, as AppendCommand made them.
	Body []byte
	// Reads in ascending order of After. Their arguments stay valid until done.
	Reads []AttachedRead
	// Room bounds the replies of Reads; nil means MaxBatchReply.
	Room *Room

	// Status and below are filled by Apply.
	Status SubStatus
	// Next is the number the session expects, set with SubGap.
	Next uint64
	// Results has one result a write. It and ReadResults may be given with room of an earlier Sub, which is used again.
	Results []Result
	// ReadResults has one result a read, of KindNone where the read did not run (the Sub was
	// answered from the cache): it is then to be retried as an ordinary read.
	ReadResults []Result
}

// ResultRoom gives n empty results, in the room of old where that is large enough. Nothing may refer to old any more.
func ResultRoom(old []Result, n int) []Result {
	if cap(old) < n || old == nil {
		return make([]Result, n)
	}
	old = old[:n]
	clear(old)
	return old
}
