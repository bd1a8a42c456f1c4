// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// combines tells whether what a command adds depends on what keys hold: it makes a key of others, or adds to a
// number whose text may be short for what it means.
func (s *Spec) combines() bool {
	switch s.Op {
	case OpSInterStore, OpSUnionStore, OpSDiffStore, OpZUnionStore, OpZInterStore, OpZDiffStore, OpZRangeStore, OpCopy, OpBitOp, OpSort, OpRestore:
		return true
	}
	return s.addsFloats()
}

func (s *Spec) addsFloats() bool { return s.Op == OpIncrByFloat || s.Op == OpHIncrByFloat }

// moves tells whether a command gives one key what another one holds, or some of it.
func (s *Spec) moves() bool {
	switch s.Op {
	case OpRename, OpRenameNX:
		return true
	}
	return s.movesElement()
}

// movesElement tells whether a command moves an element of one list to another.
func (s *Spec) movesElement() bool {
	switch s.Op {
	case OpLMove, OpRPopLPush, OpBLMove, OpBRPopLPush:
		return true
	}
	return false
}

// combined bounds what an entry's commands make of other keys. A key may hold what it holds now and what the
// commands before add to it.
func (k *Keyspace) combined(subs []*Sub) (total int64) {
	h := holdings{k: k, bytes: make(map[string]int64), texts: make(map[string]bool), pooled: make(map[string]bool)}
	var cmd Command
	for _, sub := range subs {
		body := sub.Body
		for range sub.Writes {
			n, err := parseCommand(body, &cmd)
			if err != nil {
				break // the entry stops the replica
			}
			body = body[n:]
			total += h.run(&cmd)
		}
	}
	return total
}

// run notes what a command makes of its keys, and tells what it may add beyond its own bytes.
func (h *holdings) run(cmd *Command) (total int64) {
	s := h.k.table.Spec(cmd.Op)
	switch {
	case s == nil || s.Internal || s.Whole || !s.arityFits(len(cmd.Args)):
	case s.Op == OpExec || s.Op == OpEffect:
		tx, _ := bundleOf(s, cmd.Args)
		var in Command
		for _, body := range tx.cmds {
			if _, ok := h.k.table.inTransaction(body, &in); ok {
				total += h.run(&in)
			}
		}
	case s.addsFloats():
		return h.addFloat(s, cmd.Args)
	case s.combines():
		return h.combine(s, cmd.Args)
	case s.DenyOOM || s.Op == OpSMove || s.moves():
		h.add(s, cmd.Args)
	}
	return total
}

// holdings are bounds of the logical bytes of keys.
type holdings struct {
	k     *Keyspace
	bytes map[string]int64
	// texts has the keys that were written: true when that may have been any text.
	texts map[string]bool
	// pool bounds what the lists hold together between which elements were moved: pooled are their keys.
	pool   int64
	pooled map[string]bool
}

func (h *holdings) of(key []byte) int64 {
	if n, ok := h.bytes[string(key)]; ok {
		return n
	}
	slot := store.SlotOf(key)
	h.k.st.RLock(slot)
	defer h.k.st.RUnlock(slot)
	ref, found := h.k.st.Get(slot, key, 0)
	if !found {
		return 0
	}
	return ref.LogicalBytes()
}

// put notes that a key holds at most n bytes, and any text.
func (h *holdings) put(key []byte, n int64) {
	if h.pooled[string(key)] {
		h.pool += max(n-h.of(key), 0)
	}
	h.bytes[string(key)], h.texts[string(key)] = n, true
}

// moveElement puts both lists into the pool: moving takes nothing that was not in one of them.
func (h *holdings) moveElement(from, to []byte, more int64) {
	for _, key := range [][]byte{from, to} {
		if !h.pooled[string(key)] {
			h.pool += h.of(key)
			h.pooled[string(key)] = true
		}
	}
	h.pool += more
	h.bytes[string(to)], h.texts[string(to)] = h.pool, true
}

// add reckons with a command that adds no more than its own bytes to the state.
func (h *holdings) add(s *Spec, args [][]byte) {
	more := s.growth(args)
	if s.moves() {
		if s.movesElement() {
			h.moveElement(args[0], args[1], more)
		} else {
			h.put(args[1], max(h.of(args[0]), h.of(args[1]))+more)
		}
		return
	}
	far := s.farthest(args, int64(h.k.settings.Load().limits.MaxValue))
	for _, key := range s.Keys(args) {
		h.put(key, max(h.of(key), far)+more)
	}
}

// combine bounds what a command puts into the key that it makes, but for the key itself.
func (h *holdings) combine(s *Spec, args [][]byte) int64 {
	switch s.Op {
	case OpSort:
		return h.sorted(s, args)
	case OpRestore:
		return h.restored(s, args)
	}
	if s.Op == OpCopy {
		n := h.of(args[0])
		h.put(args[1], max(h.of(args[1]), n+s.growth(args)))
		return n
	}
	var to []byte
	sum, least, most, first := int64(0), int64(0), int64(0), int64(0)
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
		least, most = min(least, held), max(most, held)
	}
	switch s.Op {
	case OpSInterStore, OpZInterStore:
		sum = least
	case OpSDiffStore, OpZDiffStore, OpZRangeStore:
		sum = first
	case OpBitOp:
		sum = most
	}
	if s.Categories&CatSortedSet != 0 { // of sets, maybe
		sum += sum * (store.ScoreOverhead - store.MemberOverhead) / store.MemberOverhead
	}
	h.put(to, max(h.of(to), sum+s.growth(args)))
	return sum
}

// sorted bounds what SORT stores. What patterns lead to is not looked at.
func (h *holdings) sorted(s *Spec, args [][]byte) int64 {
	o, _ := parseSort(args, false)
	if o.store == 0 {
		return 0
	}
	n := h.of(args[0]) * int64(max(len(o.gets), 1))
	for i := range o.gets {
		if string(o.gets[i].text) != "#" {
			n = maxSortedBytes
		}
	}
	n = min(n, maxSortedBytes)
	h.put(args[o.store], max(h.of(args[o.store]), n+s.growth(args)))
	return n
}

// restored bounds what RESTORE makes of a payload, which may stand for much more than it has bytes.
func (h *holdings) restored(s *Spec, args [][]byte) int64 {
	_, size, text := h.k.dumped(args[2], &h.k.settings.Load().limits)
	if text != "" {
		return 0
	}
	n := int64(size.Bytes) + int64(size.N)*store.ScoreOverhead
	h.put(args[0], max(h.of(args[0]), n+s.growth(args)))
	return n
}

// addFloat bounds by how much a sum may be longer than the numbers that it is of.
func (h *holdings) addFloat(s *Spec, args [][]byte) int64 {
	key, more := args[0], int64(0)
	any, written := h.texts[string(key)]
	if !written {
		any = h.longFloat(s, args)
	}
	if any || longFloat(args[len(args)-1]) {
		more = maxFloatText
	}
	h.bytes[string(key)] = h.of(key) + s.growth(args) + more
	if s.Op == OpIncrByFloat {
		h.texts[string(key)] = false
	}
	return more
}

// longFloat looks at the number that is there.
func (h *holdings) longFloat(s *Spec, args [][]byte) bool {
	slot := store.SlotOf(args[0])
	h.k.st.RLock(slot)
	defer h.k.st.RUnlock(slot)
	ref, found := h.k.st.Get(slot, args[0], 0)
	switch {
	case !found:
		return false
	case s.Op == OpHIncrByFloat && ref.Type() == store.TypeHash:
		v, _ := ref.Field(args[1])
		return longFloat(v)
	}
	return longFloat(ref.Bytes())
}
