// SPDX-License-Identifier: Apache-2.0

package logstoretest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
)

// Power is a disk whose power can be cut: every byte and name that was not synced is lost, or kept at
// random, and whatever a process does afterwards fails.
type Power interface {
	// Arm cuts the power at a moment soon, which may come in the middle of any call. cut is true from
	// just before.
	Arm(rng *rand.Rand) (cut *atomic.Bool)
	// Later makes the cuts to come later ones: this one came before any log was open.
	Later()
	// Exact tells that a cut is one moment to all calls. Without it a call that returns behind the cut
	// returns to nobody: a machine without power answers no one, so what it says does not count.
	Exact() bool
	// Cut cuts the power now, unless that has happened.
	Cut() error
	// Restore gives the disk back as a machine that starts finds it. All stores on it are closed.
	Restore() error
}

const (
	// cutEntries bounds the entries of a log under PowerCuts, so that each check is quick.
	cutEntries = 400
	// cutCalls bounds the calls of one life, for a Power that is slow to cut.
	cutCalls = 5000
)

// PowerCuts lets every log of one disk work by itself, from its making on, and cuts the power; over and
// over, cuts times, on the same logs. A cut may come in the middle of any call, the opening included.
// Every log must then hold what its calls made that returned without an error, and the call in flight
// wholly or not at all; what was read once is not lost to a later cut.
func PowerCuts(t *testing.T, power Power, subs []Subject, cuts int, seed uint64) {
	lives := make([]*life, len(subs))
	for i, sub := range subs {
		b := &bench{sub: sub, m: newModel()}
		lives[i] = &life{b: b, exact: power.Exact(), may: []*model{b.m}}
	}
	var sum tally
	for cut := range cuts {
		rng := rand.New(rand.NewPCG(seed, uint64(cut)))
		off := power.Arm(rng)
		var wg sync.WaitGroup
		for _, l := range lives {
			l.rng, l.off, l.tally = rand.New(rand.NewPCG(rng.Uint64(), 0)), off, tally{}
			wg.Go(l.run)
		}
		wg.Wait()
		opened := false
		for i, l := range lives {
			if l.bad != nil {
				t.Fatalf("life %d, log %d: %v", cut, i, l.bad)
			}
			sum.add(l.tally)
			opened = opened || l.opening == 0
		}
		if !opened {
			power.Later()
		}
		restart(t, power, lives)
	}
	for i, l := range lives {
		l.off = new(atomic.Bool)
		if err := l.open(); err != nil {
			t.Fatalf("in the end, log %d: %v", i, err)
		}
		l.b.settle(t)
		l.b.close(t)
	}
	t.Logf("%d power cuts of a disk with %d logs: %d in an opening, %d in another call; %d calls acknowledged, none lost",
		cuts, len(subs), sum.opening, sum.inFlight, sum.acked)
	if sum.inFlight < cuts/4 || sum.acked < cuts {
		t.Errorf("most cuts came while nothing was going on: they prove little")
	}
}

// restart cuts the power, if it is not cut, and brings it back.
func restart(t *testing.T, power Power, lives []*life) {
	t.Helper()
	if err := power.Cut(); err != nil {
		t.Fatalf("cut the power: %v", err)
	}
	for _, l := range lives {
		if l.b.s != nil {
			_ = l.b.sub.Close(l.b.s) // its disk is gone
			l.b.s = nil
		}
	}
	if err := power.Restore(); err != nil {
		t.Fatalf("restore the disk: %v", err)
	}
}

// tally counts what the cuts met.
type tally struct{ acked, inFlight, opening int }

func (a *tally) add(b tally) {
	a.acked += b.acked
	a.inFlight += b.inFlight
	a.opening += b.opening
}

// life is one log from one power cut to the next. It belongs to one goroutine at a time.
type life struct {
	tally
	b     *bench
	rng   *rand.Rand
	off   *atomic.Bool
	exact bool     // see Power
	may   []*model // what the log may hold
	bad   error    // what went wrong while there was power
}

func (l *life) run() {
	if err := l.open(); err != nil {
		l.opening++
		l.fail("", err)
		return
	}
	for range cutCalls {
		if l.off.Load() {
			return
		}
		o := l.draw()
		after, err := o.run(l.b)
		if err != nil || !l.exact && l.off.Load() {
			l.inFlight++
			l.may = append(l.may, after)
			l.fail(o.name+": ", err)
			return
		}
		l.acked++
		l.b.m = after
		l.may = []*model{after}
	}
}

// fail notes an error that no power cut explains.
func (l *life) fail(what string, err error) {
	if !l.off.Load() {
		l.bad = fmt.Errorf("%s%w", what, err)
	}
}

// open opens the log; what it holds then is what it must hold from now on.
func (l *life) open() error {
	s, err := l.b.sub.Open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	l.b.s = s
	var errs []error
	for _, m := range l.may {
		err := m.diff(s)
		if err == nil {
			l.b.m = m
			if l.exact || !l.off.Load() {
				l.may = []*model{m}
			}
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("the log holds neither what was acknowledged nor that and the call in flight: %w", errors.Join(errs...))
}

// draw keeps the log short enough to be checked often.
func (l *life) draw() op {
	m, rng := l.b.m, l.rng
	held := uint64(len(m.entries))
	switch k := rng.IntN(20); {
	case held > cutEntries:
		return opDelete(0, uint64(rng.IntN(cutEntries/4)))
	case k < 15 || held == 0:
		sizes := []int{0, 30, 100, 400, 1000, 5000}
		return opAppend(1+rng.IntN(6), sizes[rng.IntN(len(sizes))], 1+rng.Uint64N(300))
	case k == 15:
		return opReopen()
	case k < 18:
		return opDelete(rng.Uint64N(held), 0)
	default:
		return opDelete(0, rng.Uint64N(held))
	}
}

// MemPower is the power of an in-memory disk; it keeps a random part of what was not synced. It is cut
// at one of the next steps that the stores on it take.
type MemPower struct {
	Disk *host.MemFS
	// Steps bounds how far away a cut is.
	Steps int

	policy host.CrashPolicy
	cut    *armed
}

var _ Power = (*MemPower)(nil)

// Arm implements Power.
func (p *MemPower) Arm(rng *rand.Rand) *atomic.Bool {
	p.policy = host.CrashPolicy{Survive: []float64{0, 0.3, 0.7, 1}[rng.IntN(4)]}
	p.cut = arm(p.Disk, 1+rng.Int64N(int64(p.Steps)), p.policy)
	return p.cut.Bool
}

// Later implements Power: steps do not depend on how fast the machine is.
func (p *MemPower) Later() {}

// Exact implements Power.
func (p *MemPower) Exact() bool { return true }

// Cut implements Power.
func (p *MemPower) Cut() error {
	if !p.cut.disarm(p.Disk) {
		p.cut.Store(true)
		p.Disk.Crash(p.policy)
	}
	return nil
}

// Restore implements Power.
func (p *MemPower) Restore() error {
	p.cut = &armed{Bool: new(atomic.Bool)}
	return nil
}
