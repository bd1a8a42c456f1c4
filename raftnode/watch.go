// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"time"

	"github.com/hashicorp/raft"
)

const (
	// startRetry is how long a leader waits before it proposes the entry that opens its term again.
	startRetry = 20 * time.Millisecond
	// observations is the room for raft's news; what does not fit is not missed, since the watcher
	// looks at the state itself.
	observations = 16
)

// watched is what the watcher saw last.
type watched struct {
	hint Hint
	// term is the term this replica leads, 0 when it does not.
	term    uint64
	leading bool
	vacancy vacancy
}

// watch follows leadership: it opens each own term with an entry, stands for election when a leader's
// process is gone, and tells the events.
func (in *instance) watch() {
	news := make(chan raft.Observation, observations)
	o := raft.NewObserver(news, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	in.raft.RegisterObserver(o)
	defer in.raft.DeregisterObserver(o)
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	var w watched
	in.standAlone()
	for {
		if in.observe(&w) {
			retry.Reset(startRetry)
		} else if in.succeed(&w.vacancy) {
			retry.Reset(vacancyTick)
		}
		select {
		case <-in.raft.LeaderCh():
		case <-news:
		case <-in.poke:
		case <-retry.C:
		case <-in.stop:
			in.lost(&w)
			return
		}
	}
}

// observe compares raft's state with what was seen last. It returns true when it must be called again
// soon.
func (in *instance) observe(w *watched) (again bool) {
	g := in.g
	term := in.raft.CurrentTerm()
	if in.raft.State() != leader {
		term = 0
	}
	if w.term != 0 && w.term != term {
		in.lost(w)
	}
	if term != 0 && w.term != term {
		w.term = term
		g.n.yield("raftnode.lead")
		g.prop.lead()
		in.starting.Store(false)
	}
	if hint := g.Leader(); hint != w.hint {
		w.hint = hint
		g.log.Debug("leader changed", "leader", hint.Node, "term", hint.Term)
		g.each(func(e *Events) {
			if e.LeaderChanged != nil {
				e.LeaderChanged(g.id, hint)
			}
		})
	}
	if w.term == 0 || w.leading {
		return false
	}
	if _, applied := g.machine.Applied(); applied != w.term {
		if in.starting.CompareAndSwap(false, true) {
			g.prop.requestStart()
		}
		return true
	}
	w.leading = true
	in.tellLeading(true)
	g.changed.notify()
	return false
}

// lost ends a leadership.
func (in *instance) lost(w *watched) {
	if w.term == 0 {
		return
	}
	was := w.leading
	w.term, w.leading = 0, false
	if was {
		in.tellLeading(false)
	}
	if !in.closing.Load() {
		in.g.prop.failQueue(ErrNotLeader{Hint: in.g.Leader()})
	}
	in.g.changed.notify()
}

func (in *instance) tellLeading(leading bool) {
	in.g.each(func(e *Events) {
		if e.Leading != nil {
			e.Leading(in.g.id, leading)
		}
	})
}
