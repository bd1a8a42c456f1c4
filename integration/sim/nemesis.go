// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"math/rand/v2"
	"time"
)

// nemesis breaks things, one after the other, and counts what it did.
type nemesis struct {
	c     *cluster
	opt   Options
	rng   *rand.Rand
	count map[string]int
}

func newNemesis(c *cluster, opt Options) *nemesis {
	return &nemesis{c: c, opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 7)), count: map[string]int{}}
}

type fault struct {
	name string
	on   bool
	f    func(ctx context.Context)
}

func (m *nemesis) faults() []fault {
	f := m.opt.Faults
	all := []fault{
		{"crash", f.Crash, m.crash},
		{"crash-all", f.CrashAll, m.crashAll},
		{"cut", f.Cut, m.cut},
		{"one-way", f.OneWay, m.oneWay},
		{"delay", f.Delay, m.delay},
		{"reset", f.Reset, m.reset},
		{"transfer", f.Transfer, m.transfer},
		{"clock", f.Clock, m.clock},
		{"slow-disk", f.SlowDisk, m.slowDisk},
		{"pause", f.Pause, m.pause},
		{"disk-error", f.DiskError, m.diskError},
		{"late-view", f.LateView, m.lateView},
	}
	var on []fault
	for _, x := range all {
		if x.on {
			on = append(on, x)
		}
	}
	return on
}

// run makes faults until ctx ends, then heals everything and starts every node that is down.
func (m *nemesis) run(ctx context.Context) error {
	on := m.faults()
	if len(on) == 0 { // one draw of some hundreds: a run without faults
		<-ctx.Done()
	}
	for ctx.Err() == nil {
		pause(ctx, m.some(m.opt.FaultGap/4, m.opt.FaultGap*2))
		if ctx.Err() != nil {
			break
		}
		x := on[m.rng.IntN(len(on))]
		m.count[x.name]++
		x.f(ctx)
	}
	return m.heal()
}

func (m *nemesis) heal() error {
	m.c.world.HealAll()
	for _, a := range m.c.nodes {
		m.c.world.FS(a.name).SetSyncDelay(0)
		for _, b := range m.c.nodes {
			if a != b {
				m.c.world.SetDelay(a.name, b.name, 200*time.Microsecond, 300*time.Microsecond)
			}
		}
	}
	for _, n := range m.c.nodes {
		if n.shard() == nil {
			if err := m.c.start(n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *nemesis) some(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(m.rng.Int64N(int64(hi-lo)+1))
}

func (m *nemesis) node() *node { return m.c.nodes[m.rng.IntN(len(m.c.nodes))] }

func (m *nemesis) pair() (a, b *node) {
	i := m.rng.IntN(len(m.c.nodes))
	j := (i + 1 + m.rng.IntN(len(m.c.nodes)-1)) % len(m.c.nodes)
	return m.c.nodes[i], m.c.nodes[j]
}

func (m *nemesis) crash(ctx context.Context) {
	n := m.node()
	m.c.crash(n, m.rng)
	pause(ctx, m.some(100*time.Millisecond, 3*time.Second))
	m.restart(n)
}

func (m *nemesis) restart(n *node) {
	if err := m.c.start(n); err != nil {
		m.c.fatal(err)
	}
}

func (m *nemesis) crashAll(ctx context.Context) {
	for _, n := range m.c.nodes {
		m.c.crash(n, m.rng)
	}
	pause(ctx, m.some(50*time.Millisecond, time.Second))
	for _, i := range m.rng.Perm(len(m.c.nodes)) {
		m.restart(m.c.nodes[i])
		pause(ctx, m.some(0, 500*time.Millisecond))
	}
}

func (m *nemesis) cut(ctx context.Context) {
	n := m.node()
	for _, other := range m.c.nodes {
		if other != n {
			m.c.world.Isolate(n.name, other.name)
		}
	}
	pause(ctx, m.some(200*time.Millisecond, 4*time.Second))
	m.c.world.HealAll()
}

func (m *nemesis) oneWay(ctx context.Context) {
	a, b := m.pair()
	m.c.world.Cut(a.name, b.name)
	pause(ctx, m.some(200*time.Millisecond, 4*time.Second))
	m.c.world.HealAll()
}

// delay makes one direction slow. Leaders that change meanwhile learn of their successor late.
func (m *nemesis) delay(ctx context.Context) {
	a, b := m.pair()
	m.c.world.SetDelay(a.name, b.name, m.some(0, 100*time.Millisecond), m.some(0, 200*time.Millisecond))
	if m.opt.Faults.Transfer {
		m.transfer(ctx)
	}
	pause(ctx, m.some(500*time.Millisecond, 3*time.Second))
	m.c.world.SetDelay(a.name, b.name, 200*time.Microsecond, 300*time.Microsecond)
}

func (m *nemesis) reset(context.Context) {
	a, b := m.pair()
	m.c.world.ResetConns(a.name, b.name)
}

// transfer asks for a burst of leader changes: the read path breaks under dense ones.
func (m *nemesis) transfer(ctx context.Context) {
	for range 1 + m.rng.IntN(5) {
		from, to := m.pair()
		sn := from.shard()
		if sn == nil {
			continue
		}
		group := uint32(m.rng.IntN(m.opt.Groups + 1))
		tctx, cancel := context.WithTimeout(ctx, time.Second)
		if dest := to.shard(); dest != nil {
			// A refusal is fine: the nemesis asks for things that cannot be.
			_ = sn.TransferLeader(tctx, group, dest.ID())
		}
		cancel()
		pause(ctx, m.some(50*time.Millisecond, 300*time.Millisecond))
	}
}

// clock steps one node's time of day; it may go back.
func (m *nemesis) clock(context.Context) {
	n := m.node()
	m.c.world.SetWallOffset(n.name, m.some(-5*time.Second, 5*time.Second))
	m.c.world.SetWallRate(n.name, m.rng.Int64N(2000)-1000)
}

func (m *nemesis) slowDisk(ctx context.Context) {
	n := m.node()
	m.c.world.FS(n.name).SetSyncDelay(m.some(5*time.Millisecond, 300*time.Millisecond))
	pause(ctx, m.some(500*time.Millisecond, 3*time.Second))
	m.c.world.FS(n.name).SetSyncDelay(0)
}

// pause holds one node's goroutines at a yield point for a while, as a stopped process would be.
func (m *nemesis) pause(ctx context.Context) {
	n := m.node()
	points := m.opt.PausePoints
	if points == nil {
		points = yieldPoints
	}
	point := points[m.rng.IntN(len(points))]
	hold := m.some(100*time.Millisecond, 2*time.Second)
	m.c.world.Faults(n.name).Arm(point, func(string) error {
		pause(ctx, hold)
		return nil
	})
	switch point {
	case "raftnode.lead":
		m.transfer(ctx)
	case "raftnode.apply":
		m.handTo(ctx, n)
	}
	pause(ctx, hold)
	m.count["held at "+point] += int(m.c.world.Faults(n.name).Hits(point))
	m.c.world.Faults(n.name).Disarm(point)
}

// handTo asks that a node lead all data.
func (m *nemesis) handTo(ctx context.Context, n *node) {
	to := n.shard()
	if to == nil {
		return
	}
	for group := range uint32(m.opt.Groups) {
		tctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_ = to.TransferLeader(tctx, group+1, to.ID()) // may be refused, as in transfer
		cancel()
	}
}

// lateView lets the snapshots of one node wait between the entry at which they stand and their first byte:
// what is written meanwhile belongs to none of them.
func (m *nemesis) lateView(ctx context.Context) {
	const point = "raftnode.snapshot"
	n := m.node()
	f := m.c.world.Faults(n.name)
	f.Arm(point, func(string) error {
		pause(ctx, time.Second)
		return nil
	})
	pause(ctx, m.some(500*time.Millisecond, 3*time.Second))
	m.count["held at "+point] += int(f.Hits(point))
	f.Disarm(point)
}

// yieldPoints are the named fault points at which a pause is most dangerous.
var yieldPoints = []string{
	"raftnode.fence.passed", "raftnode.apply", "raftnode.propose", "raftnode.lead", "raftnode.answer",
}
