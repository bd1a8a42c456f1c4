// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

const (
	// keyGrowth is what a new key costs beside its bytes, with a deadline.
	keyGrowth = store.EntryOverhead + store.DeadlineOverhead
	// numberGrowth is the longest number that a counter may become.
	numberGrowth = 20
)

// GrowthBound implements State: the sum over the commands of what each may add at most. SETRANGE alone may
// add more than its own bytes; how much depends on the value that it finds, so that is looked at. Several on
// one key add what the farthest does.
func (k *Keyspace) GrowthBound(subs []*Sub) int64 {
	if set := k.settings.Load(); set.maxMemory == 0 || set.policy == store.NoEviction {
		return 0
	}
	g := growth{k: k}
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

// growth adds up what an entry's commands may add. ends has, for each key of a SETRANGE that reaches behind
// its value, how far it does so.
type growth struct {
	k     *Keyspace
	cmd   Command
	total int64
	ends  map[string]int64
	// combining: some command makes a key of others.
	combining bool
}

func (g *growth) add() {
	s := g.k.table.Spec(g.cmd.Op)
	if s == nil || s.Internal {
		return // while an import goes on nobody is evicted
	}
	if s.Op == OpExec {
		g.addBundle()
		return
	}
	g.combining = g.combining || s.combines()
	if g.total += s.growth(g.cmd.Args); s.Op == OpSetRange {
		g.reach(g.cmd.Args)
	}
}

// addBundle adds what the commands of a transaction may add.
func (g *growth) addBundle() {
	cmd := g.cmd
	tx, _ := parseTransaction(g.k.table.Spec(OpExec), cmd.Args)
	g.cmd = Command{}
	for _, body := range tx.cmds {
		if _, ok := g.k.table.inTransaction(body, &g.cmd); ok {
			g.add()
		}
	}
	g.cmd = cmd
}

// reach notes how far a SETRANGE reaches behind the value that is there.
func (g *growth) reach(args [][]byte) {
	offset, ok := parseInt(args[1])
	if limit := int64(g.k.settings.Load().limits.MaxValue); !ok || len(args[2]) == 0 || offset < 0 || offset > limit-int64(len(args[2])) {
		return // it is refused
	}
	slot := store.SlotOf(args[0])
	g.k.st.RLock(slot)
	if ref, found := g.k.st.Get(slot, args[0], 0); found && ref.Type() == store.TypeString {
		offset -= int64(len(ref.Bytes()))
	}
	g.k.st.RUnlock(slot)
	if offset <= g.ends[string(args[0])] {
		return
	}
	if g.ends == nil {
		g.ends = make(map[string]int64)
	}
	g.ends[string(args[0])] = offset
}

// growth bounds the logical bytes that a command adds to any state, but for the zeros that SETRANGE puts
// before its bytes and what combined reckons with.
func (s *Spec) growth(args [][]byte) int64 {
	if !s.DenyOOM && s.Op != OpSMove {
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
	default:
		n += store.CollectionOverhead + others*store.ScoreOverhead // the dearest
	}
	return n
}
