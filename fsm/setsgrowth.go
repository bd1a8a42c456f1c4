// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// combines tells whether a command makes its first key of the others: what it adds depends on what they hold.
func (s *Spec) combines() bool {
	switch s.Op {
	case OpSInterStore, OpSUnionStore, OpSDiffStore, OpZUnionStore, OpZInterStore, OpZDiffStore, OpZRangeStore:
		return true
	}
	return false
}

// combined bounds what an entry's commands make of other keys. A key may hold what it holds now and what the
// commands before add to it.
func (k *Keyspace) combined(subs []*Sub) (total int64) {
	h := holdings{k: k, bytes: make(map[string]int64)}
	var cmd Command
	for _, sub := range subs {
		body := sub.Body
		for range sub.Writes {
			n, err := parseCommand(body, &cmd)
			if err != nil {
				break // the entry stops the replica
			}
			body = body[n:]
			total += h.add(&cmd)
		}
	}
	return total
}

// add notes what a command makes of its keys, and tells what it may add by combining others.
func (h *holdings) add(cmd *Command) (total int64) {
	s := h.k.table.Spec(cmd.Op)
	switch {
	case s == nil:
	case s.Op == OpExec:
		tx, _ := parseTransaction(s, cmd.Args)
		var in Command
		for _, body := range tx.cmds {
			if _, ok := h.k.table.inTransaction(body, &in); ok {
				total += h.add(&in)
			}
		}
	case s.Categories&(CatSet|CatSortedSet) == 0:
	case s.combines():
		return h.combine(s, cmd.Args)
	default:
		more := s.growth(cmd.Args)
		for _, key := range s.Keys(cmd.Args) {
			h.bytes[string(key)] = h.of(key) + more
		}
	}
	return total
}

// holdings are bounds of the logical bytes of sets and sorted sets.
type holdings struct {
	k     *Keyspace
	bytes map[string]int64
}

func (h *holdings) of(key []byte) int64 {
	if n, ok := h.bytes[string(key)]; ok {
		return n
	}
	slot := store.SlotOf(key)
	h.k.st.RLock(slot)
	defer h.k.st.RUnlock(slot)
	ref, found := h.k.st.Get(slot, key, 0)
	if !found || ref.Type() != store.TypeSet && ref.Type() != store.TypeZSet {
		return 0
	}
	return ref.LogicalBytes()
}

// combine bounds what a command puts into its first key, but for the key itself.
func (h *holdings) combine(s *Spec, args [][]byte) int64 {
	var to []byte
	sum, least, first := int64(0), int64(0), int64(0)
	n := 0
	for _, key := range s.Keys(args) {
		if n++; n == 1 {
			to = key
			continue
		}
		held := h.of(key)
		if sum += held; n == 2 {
			least, first = held, held
		}
		least = min(least, held)
	}
	switch s.Op {
	case OpSInterStore, OpZInterStore:
		sum = least
	case OpSDiffStore, OpZDiffStore, OpZRangeStore:
		sum = first
	}
	if s.Categories&CatSortedSet != 0 { // of sets, maybe
		sum += sum * (store.ScoreOverhead - store.MemberOverhead) / store.MemberOverhead
	}
	h.bytes[string(to)] = max(h.of(to), sum+s.growth(args))
	return sum
}
