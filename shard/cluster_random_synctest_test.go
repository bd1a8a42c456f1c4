// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
)

// randomSeeds is how many worlds TestClusterRandom walks through; KVORUM_TEST_SEEDS changes it and
// KVORUM_TEST_SEED picks the first.
const randomSeeds = 4

// randomWalk is one world of TestClusterRandom.
type randomWalk struct {
	*testCluster
	rng  *rand.Rand
	next int               // number of the next node
	down []string          // crashed, to be opened again
	gone map[string]bool   // told to leave
	acks map[string]string // acknowledged writes
	log  []string
	keys int
}

// Nodes crash, come back, are cut off, join and leave at random while keys are written through random
// routers. When all is healed the cluster reaches its goal, replicas agree, and every acknowledged
// write is there.
func TestClusterRandom(t *testing.T) {
	seeds, first := randomSeeds, 1
	if n, err := strconv.Atoi(os.Getenv("KVORUM_TEST_SEEDS")); err == nil {
		seeds = n
	}
	if n, err := strconv.Atoi(os.Getenv("KVORUM_TEST_SEED")); err == nil {
		first = n
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			inCluster(t, func(c *testCluster) {
				w := &randomWalk{
					testCluster: c, rng: rand.New(rand.NewPCG(uint64(seed), 7)), next: 4,
					gone: map[string]bool{}, acks: map[string]string{},
				}
				newTestCluster(c, 3, 1+w.rng.IntN(4))
				for range 25 {
					w.event()
					w.write()
				}
				w.finish()
				if t.Failed() {
					t.Log(w.log)
				}
			})
		})
	}
}

func (w *randomWalk) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *randomWalk) pick() string {
	names := w.names()
	return names[w.rng.IntN(len(names))]
}

func (w *randomWalk) event() {
	switch w.rng.IntN(9) {
	case 0, 1:
		if len(w.names()) > 1 {
			name := w.pick()
			w.note("crash %s", name)
			w.crash(name, host.CrashPolicy{Survive: w.rng.Float64()})
			w.down = append(w.down, name)
		}
	case 2, 3:
		if len(w.down) > 0 {
			i := w.rng.IntN(len(w.down))
			name := w.down[i]
			w.down = slices.Delete(w.down, i, i+1)
			w.note("open %s", name)
			w.open(name)
		}
	case 4:
		a, b := w.pick(), w.pick()
		if a != b {
			w.note("cut %s %s", a, b)
			w.world.Cut(a, b)
			if w.rng.IntN(2) == 0 {
				w.world.Cut(b, a)
			}
		}
	case 5:
		w.note("heal")
		w.world.HealAll()
	case 6:
		if w.next < 8 {
			name := fmt.Sprint("n", w.next)
			w.next++
			m := w.open(name)
			err := m.Join(w.ctx(10*time.Second), []string{w.pick() + ":7400", "n1:7400", "n2:7400", "n3:7400"})
			w.note("join %s: %v", name, err)
			if !m.Initialised() {
				w.stop(name)
			}
		}
	case 7:
		name, by := w.pick(), w.pick()
		if len(w.gone) < 2 && !w.gone[name] && w.nodes[by].View() != nil && w.nodes[name].Initialised() {
			v := w.nodes[by].View()
			if n, ok := v.Node(w.nodes[name].ID()); ok && !n.Leaving {
				err := w.nodes[by].Leave(w.ctx(time.Duration(w.rng.IntN(20))*time.Second), n.ID)
				w.note("leave %s: %v", name, err)
				w.gone[name] = true
			}
		}
	}
	time.Sleep(time.Duration(w.rng.IntN(4000)) * time.Millisecond)
}

// stayer is a node that was not told to leave.
func (w *randomWalk) stayer() *testMember {
	for _, name := range w.names() {
		if !w.gone[name] {
			return w.nodes[name]
		}
	}
	w.t.Fatal("everybody leaves")
	return nil
}

// write sends a few keys through a router.
func (w *randomWalk) write() {
	for range 4 {
		key := fmt.Sprint("k", w.keys)
		w.keys++
		m := w.nodes[w.pick()]
		out := make([]Reply, 1)
		m.Router().Do(w.ctx(2*time.Second), &Caller{Protocol: "internal", Timeout: 500 * time.Millisecond},
			[]fsm.Command{{Op: fsm.OpSet, Args: [][]byte{[]byte(key), []byte(key)}}}, out)
		if out[0].Err == nil && !out[0].Result.IsError() {
			w.acks[key] = key
		}
	}
}

// finish heals the world, lets those that leave end, and compares.
func (w *randomWalk) finish() {
	w.note("finish")
	w.world.HealAll()
	for _, name := range w.down {
		w.open(name)
	}
	// Leaves that were not recorded are asked for again, and so are joins that ended before the node
	// knew: members that are nobody. All are marked before any is waited for, since a leave may wait for one.
	w.waitFor("leaves to end", func() error {
		v := w.stayer().View()
		if v == nil {
			return ErrUninitialised
		}
		var errs []error
		for _, n := range v.Nodes {
			stays := slices.ContainsFunc(w.names(), func(name string) bool { return !w.gone[name] && w.nodes[name].ID() == n.ID })
			if !stays {
				errs = append(errs, w.stayer().Leave(w.ctx(3*time.Second), n.ID))
			}
		}
		return errors.Join(errs...)
	})
	for name := range w.gone {
		w.waitFor(name+" to learn that it left", func() error {
			select {
			case <-w.nodes[name].Left():
				return nil
			default:
				return errors.New("not yet")
			}
		})
		w.stop(name)
	}
	w.settled()
	m := w.nodes[w.names()[0]]
	for key, want := range w.acks {
		out := make([]Reply, 1)
		m.Router().Do(w.ctx(10*time.Second), &Caller{Protocol: "internal"}, []fsm.Command{{Op: fsm.OpGet, Args: [][]byte{[]byte(key)}}}, out)
		if out[0].Err != nil || string(out[0].Result.Str) != want {
			w.t.Errorf("%s: %q, %v; acknowledged as %q", key, out[0].Result.Str, out[0].Err, want)
		}
	}
	w.t.Logf("%d of %d writes acknowledged", len(w.acks), w.keys)
}
