// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"io"
	"math/rand/v2"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/store"
)

// Options are one run's configuration, wholly made from its seed by Swarm.
type Options struct {
	Seed   uint64
	Nodes  int
	Groups int
	// Load is how long clients and faults run, in virtual time.
	Load time.Duration
	// Clients of each kind of workload.
	Clients int
	// Keys that are live at a time for each workload.
	Keys int
	// SaveGap is the mean time between two saves of the whole cluster; 0 takes none.
	SaveGap time.Duration
	// AuditGap is the mean time between two comparisons of all replicas while the load runs; 0 makes none.
	AuditGap time.Duration
	// MaxMemory is the limit of the whole cluster in logical bytes; 0 has none, and no crowd then. Policy is
	// what happens at the limit.
	MaxMemory uint64
	Policy    fsm.Policy
	// SnapshotLogBytes makes snapshots frequent when small.
	SnapshotLogBytes int64
	Faults           Faults
	// PausePoints are those at which Pause holds a node; nil means all.
	PausePoints []string
	// FaultGap is the mean time between two faults.
	FaultGap time.Duration
	// Log receives the nodes' logs; nil discards them.
	Log io.Writer
}

// Faults says which kinds a run makes.
type Faults struct {
	Crash, CrashAll, Cut, OneWay, Delay, Reset, Transfer, Clock, SlowDisk, Pause, DiskError, LateView bool
}

// Swarm draws a configuration: each run has its own subset of faults and its own sizes, since rare
// combinations are found by omitting what would hide them (Groce et al., "Swarm testing", ISSTA
// 2012).
func Swarm(seed uint64) Options {
	rng := rand.New(rand.NewPCG(seed, 0x6b766f72756d))
	coin := func() bool { return rng.IntN(2) == 0 }
	o := Options{
		Seed: seed, Nodes: 3, Groups: 1 + rng.IntN(2), Load: 20 * time.Second, Clients: 2 + rng.IntN(3), Keys: 3 + rng.IntN(5),
		SnapshotLogBytes: []int64{8 << 10, 64 << 10, 64 << 20}[rng.IntN(3)],
		FaultGap:         []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second}[rng.IntN(3)],
		Faults: Faults{
			Crash: coin(), CrashAll: rng.IntN(4) == 0, Cut: coin(), OneWay: coin(), Delay: coin(), Reset: coin(),
			Transfer: coin(), Clock: coin(), SlowDisk: rng.IntN(3) == 0, Pause: coin(),
		},
	}
	o.Faults.DiskError = rng.IntN(3) == 0 // drawn last: what older seeds stand for stays what it was
	o.SaveGap = []time.Duration{0, 300 * time.Millisecond, 3 * time.Second}[rng.IntN(3)]
	o.AuditGap = []time.Duration{0, time.Second, 3 * time.Second}[rng.IntN(3)]
	o.Faults.LateView = coin()
	if policies := []fsm.Policy{
		store.AllKeysLRU, store.AllKeysLFU, store.NoEviction, volatile[rng.IntN(len(volatile))],
	}; coin() {
		o.pressed(policies[rng.IntN(len(policies))])
	}
	return o
}

var volatile = [...]fsm.Policy{store.VolatileLRU, store.VolatileLFU, store.VolatileTTL, store.VolatileRandom}

// pressed puts the cluster under a limit of memory, which a crowd of keys meets within a second or two.
func (o *Options) pressed(p fsm.Policy) {
	o.Policy, o.MaxMemory = p, 256<<10
	if p.Volatile() { // the other workloads' keys stay
		o.MaxMemory = 192 << 10
	}
}
