// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"strconv"

	"github.com/kvorum/kvorum/fsm"
)

const (
	// positionBits of a SCAN cursor are the position within the slot; the slot is above them.
	positionBits = 48
	// maxScanRounds bounds the rounds of one SCAN; the reply then has what was found.
	maxScanRounds = 16
	// maxScanLook bounds the keys that one round of a SCAN may look at, over all runs of slots.
	maxScanLook = 20_000
	// maxScanRuns bounds the runs of slots that one round asks for.
	maxScanRuns = 4096
	// scanGrowth is how many times more runs the next round asks for when one found too little.
	scanGrowth = 4
)

// errUncovered is the cause of a failure when slots moved under a whole-keyspace command until its
// time was over.
var errUncovered = errors.New("slots moved meanwhile: no answer covered each of them once")

// whole runs a command that concerns every slot.
func (k *call) whole(s *fsm.Spec, cmd *fsm.Command, reply *Reply) {
	parts := k.parts
	k.parts = false
	defer func() { k.parts = parts }()
	if s.Join == fsm.JoinCursor {
		k.scan(s, cmd, reply)
		return
	}
	for {
		news := *k.r.news.Load()
		m := k.r.m.Load()
		parts := k.askOwners(m, s, cmd)
		if joinFailures(s, parts, reply) {
			return
		}
		if res, ok := joinCovered(s.Join, parts); ok {
			if reply.Result = res; s.Join == fsm.JoinConcat && fsm.ReplySize(&res) > fsm.MaxReply {
				reply.Result = fsm.Error(fsm.CodeTooBig, fsm.TextReplyTooBig)
			}
			return
		}
		if !k.rest(maxMovePause, news) {
			break
		}
	}
	kind := KindTimeout
	if s.Write {
		kind = KindUnknown
	}
	reply.Err = &Error{Kind: kind, Op: s.Name, Err: errUncovered}
}

// askOwners runs cmd on every group that owns a slot in m.
func (k *call) askOwners(m *Map, s *fsm.Spec, cmd *fsm.Command) []*Reply {
	parts := make([]*Reply, len(m.owners))
	k.items = k.items[:0]
	for i, o := range m.owners {
		parts[i] = new(Reply)
		k.items = append(k.items, item{cmd: cmd, reply: parts[i], spec: s, slot: o.slot})
	}
	k.run()
	k.items = k.items[:0]
	return parts
}

// joinCovered joins answers that cover each slot exactly once; false when they do not.
func joinCovered(j fsm.Join, parts []*Reply) (fsm.Result, bool) {
	var all fsm.Cover
	covered := 0
	values := make([]fsm.Result, 0, len(parts))
	for _, r := range parts {
		w, ok := fsm.ParseWhole(&r.Result)
		if !ok {
			return r.Result, r.Result.IsError()
		}
		covered += w.Cover.Len()
		for i, b := range w.Cover.Bits {
			all.Bits[i] |= b
		}
		values = append(values, w.Value)
	}
	if covered != SlotCount || all.Len() != SlotCount {
		return fsm.Result{}, false
	}
	if j == fsm.JoinRandom {
		return fsm.RandomOf(values), true
	}
	return joinValues(j, func(yield func(*fsm.Result)) {
		for i := range values {
			yield(&values[i])
		}
	}), true
}

// scan runs a SCAN. A group answers for a run of slots that it owns, from the cursor on; one round
// asks for several runs at once, in the order of slots, and takes the answers as long as each goes on
// where the one before ended and fewer keys than COUNT were found.
func (k *call) scan(s *fsm.Spec, cmd *fsm.Command, reply *Reply) {
	cursor, count := scanStart(cmd.Args)
	want, runs := count, 1
	var keys []fsm.Result
	size := int64(0)
	for range maxScanRounds {
		parts := k.askRuns(s, cmd, cursor, runs)
		start := cursor
		for i, r := range parts {
			if i > 0 && cursor != r.at {
				break
			}
			next, found, ok := scanAnswer(&r.Reply)
			if !ok {
				if cursor == start && len(keys) == 0 {
					*reply = r.Reply
					return
				}
				*reply = scanReply(cursor, keys)
				return
			}
			cursor = next
			keys = append(keys, found...)
			for i := range found {
				size += fsm.ReplySize(&found[i])
			}
			if cursor == 0 || len(keys) >= want || size >= scanBytes {
				*reply = scanReply(cursor, keys)
				return
			}
		}
		if k.ended() {
			break
		}
		runs = min(runs*scanGrowth, maxScanRuns, max(1, maxScanLook/count))
	}
	*reply = scanReply(cursor, keys)
}

// scanPart is one run of slots in a round of a SCAN, beginning at cursor at.
type scanPart struct {
	Reply
	at uint64
}

// askRuns asks for up to n runs of slots with one owner each, from the cursor on.
func (k *call) askRuns(s *fsm.Spec, cmd *fsm.Command, cursor uint64, n int) []scanPart {
	m := k.r.m.Load()
	parts := make([]scanPart, 0, min(n, 64))
	for slot := int(cursor >> positionBits); slot < SlotCount && len(parts) < n; {
		parts = append(parts, scanPart{at: cursor})
		owner := m.Slots[slot]
		for slot < SlotCount && m.Slots[slot] == owner {
			slot++
		}
		cursor = uint64(slot) << positionBits
	}
	k.items = k.items[:0]
	for i := range parts {
		p := &parts[i]
		args := append([][]byte{strconv.AppendUint(nil, p.at, 10)}, cmd.Args[1:]...)
		k.items = append(k.items, item{
			cmd: &fsm.Command{Op: cmd.Op, Args: args}, reply: &p.Reply, spec: s, slot: uint16(p.at >> positionBits),
		})
	}
	k.run()
	k.items = k.items[:0]
	return parts
}

// scanStart reads the cursor and COUNT of a SCAN that passed Check.
func scanStart(args [][]byte) (cursor uint64, count int) {
	cursor, _ = strconv.ParseUint(string(args[0]), 10, 64)
	count = 10
	for i := 1; i+1 < len(args); i += 2 {
		if len(args[i]) == len("COUNT") && (args[i][0]|0x20) == 'c' {
			count, _ = strconv.Atoi(string(args[i+1]))
		}
	}
	return cursor, min(max(count, 1), maxScanLook)
}

func scanAnswer(r *Reply) (next uint64, keys []fsm.Result, ok bool) {
	if r.Err != nil || r.Result.Kind != fsm.KindArray || len(r.Result.Elems) != 2 {
		return 0, nil, false
	}
	next, err := strconv.ParseUint(string(r.Result.Elems[0].Str), 10, 64)
	return next, r.Result.Elems[1].Elems, err == nil
}

func scanReply(cursor uint64, keys []fsm.Result) Reply {
	if keys == nil {
		keys = []fsm.Result{}
	}
	return Reply{Result: fsm.Array([]fsm.Result{
		fsm.Bulk(strconv.AppendUint(nil, cursor, 10)), fsm.Array(keys),
	})}
}
