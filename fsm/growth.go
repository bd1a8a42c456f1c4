// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

const (
	// keyGrowth is what a new key costs beside its bytes, with a deadline.
	keyGrowth = store.EntryOverhead + store.DeadlineOverhead
	// numberGrowth is the longest number that a counter may become.
	numberGrowth = 20
)

// GrowthBound implements State: the sum over the commands of what each may add at most. What writes far into a
// string may add more than its own bytes; how much depends on the value that it finds, so that is looked at.
// Several on one key add what the farthest does.
func (k *Keyspace) GrowthBound(subs []*Sub) int64 {
	if set := k.settings.Load(); set.maxMemory == 0 || set.policy == store.NoEviction {
		return 0
	}
	g := growth{k: k, limit: int64(k.settings.Load().limits.MaxValue)}
	for _, s := range subs {
		body := s.Body
		for range s.Writes {
			n, err := parseCommand(body, &g.cmd)
			if err != nil {
				break // the entry stops the replica
			}
			body = body[n:]
			g.add()
		}
	}
	if g.combining {
		g.total += k.combined(subs)
	}
	for _, far := range g.ends {
		g.total += far
	}
	return g.total
}

// growth adds up what an entry's commands may add. ends has, for each key whose value a command reaches behind,
// how far it does so.
type growth struct {
	k     *Keyspace
	limit int64 // of values
	cmd   Command
	total int64
	ends  map[string]int64
	// gone are the keys whose value another one has now.
	gone map[string]bool
	// combining: what some command adds depends on what keys hold.
	combining bool
}

func (g *growth) add() {
	s := g.k.table.Spec(g.cmd.Op)
	if s == nil || s.Internal || !s.arityFits(len(g.cmd.Args)) {
		return // while an import goes on nobody is evicted
	}
	if s.Op == OpExec || s.Op == OpEffect {
		g.addBundle(s)
		return
	}
	g.combining = g.combining || s.combines()
	g.total += s.growth(g.cmd.Args)
	if s.Op == OpRename || s.Op == OpRenameNX {
		g.carriedOff(g.cmd.Args[0])
	}
	if far := s.farthest(g.cmd.Args, g.limit); far > 0 {
		g.reach(g.cmd.Args[0], far)
	}
}

// addBundle adds what the commands of a transaction may add.
func (g *growth) addBundle(s *Spec) {
	cmd := g.cmd
	tx, _ := bundleOf(s, cmd.Args)
	g.cmd = Command{}
	for _, body := range tx.cmds {
		if _, ok := g.k.table.inTransaction(body, &g.cmd); ok {
			g.add()
		}
	}
	g.cmd = cmd
}

// farthest is how much of a string a command may fill with zeros, or write beyond its own bytes; 0 for none, and
// for a command that is refused.
func (s *Spec) farthest(args [][]byte, limit int64) int64 {
	switch s.Op {
	case OpSetRange:
		if offset, ok := parseInt(args[1]); ok && len(args[2]) > 0 && offset >= 0 && offset <= limit-int64(len(args[2])) {
			return offset
		}
	case OpSetBit:
		if offset, ok := bitOffset(args[1], 0, limit); ok {
			return offset/8 + 1
		}
	case OpBitField:
		if ops, text := parseBitField(args, longestBits); text == "" && ops.end() <= limit {
			return ops.end()
		}
	case OpPFAdd, OpPFMerge:
		return hllDenseBytes
	}
	return 0
}

// reach notes how far a command reaches behind the value that is there.
func (g *growth) reach(key []byte, far int64) {
	slot := store.SlotOf(key)
	g.k.st.RLock(slot)
	if ref, found := g.k.st.Get(slot, key, 0); found && !g.gone[string(key)] && ref.Type() == store.TypeString {
		far -= int64(len(ref.Bytes()))
	}
	g.k.st.RUnlock(slot)
	if far <= g.ends[string(key)] {
		return
	}
	if g.ends == nil {
		g.ends = make(map[string]int64)
	}
	g.ends[string(key)] = far
}

// carriedOff notes that what a key holds stays, but no more there.
func (g *growth) carriedOff(key []byte) {
	g.total += g.ends[string(key)]
	delete(g.ends, string(key))
	if g.gone == nil {
		g.gone = make(map[string]bool)
	}
	g.gone[string(key)] = true
}

// growth bounds the logical bytes that a command adds to any state, but for what farthest and combined reckon
// with.
func (s *Spec) growth(args [][]byte) int64 {
	switch {
	case s.Op == OpRename || s.Op == OpRenameNX:
		return int64(len(args[1])) // which is longer than the other key, maybe
	case !s.DenyOOM && s.Op != OpSMove:
		return store.DeadlineOverhead
	}
	n := int64(0)
	for _, a := range args {
		n += int64(len(a))
	}
	first, end, step := s.KeyRange(len(args))
	n += int64((end-first+step-1)/step) * keyGrowth
	switch others := int64(len(args) - 1); {
	case s.Categories&CatList != 0:
		n += store.CollectionOverhead + others*store.ElementOverhead
	case s.Categories&CatHash != 0:
		n += store.CollectionOverhead + (others+1)/2*store.FieldOverhead + numberGrowth
	case s.Categories&CatString != 0:
		n += numberGrowth
	case s.Categories&CatHyperLogLog != 0: // see farthest
	default:
		n += store.CollectionOverhead + others*store.ScoreOverhead // the dearest
	}
	return n
}
