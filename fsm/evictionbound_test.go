// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
)

// used gives the logical bytes of a machine.
func (tm *testMachine) used() int64 {
	tm.t.Helper()
	res := tm.do("KV.STATS")
	w, ok := ParseWhole(&res)
	if !ok {
		tm.t.Fatalf("KV.STATS: %s", show(res))
	}
	return w.Value.Elems[3].Int
}

// fullEntry is an entry of as many new keys as one may hold.
func fullEntry(from int) *Sub {
	s := &Sub{}
	for i := range 8192 {
		c := Command{Op: OpSet, Args: bytesOf("key:"+strconv.Itoa(from+i), pad("v", 20))}
		s.Body = AppendCommand(s.Body, &c)
		s.Writes++
	}
	return s
}

// TestHeavyEvictionKeepsUp: evictions keep up with entries that are full of new keys, and bring memory back when
// the limit is lowered, while such entries go on.
func TestHeavyEvictionKeepsUp(t *testing.T) {
	racing.Heavy(t)
	t.Parallel()
	for _, name := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random"} {
		t.Run(name, func(t *testing.T) {
			tm := newOwner(t)
			policy, _ := ParsePolicy(name)
			n := 0
			run := func(entries int) {
				for range entries {
					s := fullEntry(n)
					n += s.Writes
					tm.clock += 20
					tm.entry(Header{Evict: tm.m.PlanEvictions(tm.m.GrowthBound([]*Sub{s}))}, s)
					for i := range s.Results {
						if s.Results[i].IsError() {
							t.Fatalf("write %d of %d: %s", i, s.Writes, show(s.Results[i]))
						}
					}
				}
			}
			limit := int64(4 << 20)
			tm.must(Limit(limit, policy, 0))
			for range 12 {
				run(1)
				if used := tm.used(); used > limit {
					t.Fatalf("%d bytes are used, the limit is %d", used, limit)
				}
			}
			limit = 3 << 20
			tm.must(Limit(limit, policy, 0))
			run(5)
			if used := tm.used(); used > limit {
				t.Errorf("%d bytes are used, the limit is %d now", used, limit)
			}
		})
	}
}

// TestHeavyEvictionKeepsUpWithWideWrites: also when few commands make many keys, an entry of the usual length of
// them after the other, the next one planned before the last is applied.
func TestHeavyEvictionKeepsUpWithWideWrites(t *testing.T) {
	racing.Heavy(t)
	t.Parallel()
	const limit, entryBytes = 8 << 20, 256 << 10
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(limit, policy, 0))
	n := 0
	full := func() *Sub {
		s := &Sub{}
		for len(s.Body) < entryBytes {
			c := Command{Op: OpMSet}
			for range 1000 {
				c.Args = append(c.Args, strconv.AppendInt(nil, int64(n), 36), nil)
				n++
			}
			s.Body = AppendCommand(s.Body, &c)
			s.Writes++
		}
		return s
	}
	type planned struct {
		s      *Sub
		h      Header
		growth int64
	}
	plan := func(outstanding int64) planned {
		p := planned{s: full()}
		p.growth = tm.m.GrowthBound([]*Sub{p.s})
		p.h.Evict = tm.m.PlanEvictions(outstanding + p.growth)
		return p
	}
	next := plan(0)
	for range 12 {
		p := next
		next = plan(p.growth)
		tm.clock += 20
		p.h.Clock = tm.clock
		tm.entry(p.h, p.s)
		for i := range p.s.Results {
			if p.s.Results[i].IsError() {
				t.Fatalf("after %d keys: %s", n, show(p.s.Results[i]))
			}
		}
		if used := tm.used(); used > limit {
			t.Fatalf("%d bytes are used after %d keys, the limit is %d", used, n, limit)
		}
	}
}

// TestEvictionHeader: what an entry says about its victims is bounded, however long the keys are, and still
// memory comes back.
func TestEvictionHeader(t *testing.T) {
	tm := newOwner(t)
	for i := range 100 {
		tm.do("SET", pad(strconv.Itoa(i), 60_000), "v")
	}
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(1000, policy, 0))
	for i := 0; tm.used() > 1000; i++ {
		h := Header{Evict: tm.m.PlanEvictions(0)}
		if size := len(entryOf(h)); size > maxVictimBytes+MaxKeyBytes+1000 || i > 20 {
			t.Fatalf("entry %d: %d victims in %d bytes", i, len(h.Evict), size)
		}
		tm.entry(h)
	}
}

// TestMemoryCeiling: commands that add far more than their bytes in the log cannot go far beyond the limit,
// whatever the policy is, and however many of them one entry holds.
func TestMemoryCeiling(t *testing.T) {
	const limit, value = 16 << 20, 4 << 20
	for _, name := range []string{"allkeys-lru", "volatile-lru", "noeviction"} {
		t.Run(name, func(t *testing.T) {
			tm := newOwner(t)
			policy, _ := ParsePolicy(name)
			tm.must(Limit(limit, policy, value))
			refused := 0
			for round := range 5 {
				s := packSub(Command{Op: OpSet, Args: bytesOf(fmt.Sprint("timed", round), "v", "EX", "1000")})
				for i := range 30 {
					c := Command{Op: OpSetRange, Args: bytesOf(fmt.Sprint("wide", round, i), strconv.Itoa(value-1), "x")}
					s.Body = AppendCommand(s.Body, &c)
					s.Writes++
				}
				tm.entry(Header{Evict: tm.m.PlanEvictions(tm.m.GrowthBound([]*Sub{s}))}, s)
				for i := range s.Results {
					if s.Results[i].Code == CodeOOM {
						refused++
					}
				}
				if used := tm.used(); used > limit+limit/8+2*value+1000 {
					t.Fatalf("round %d: %d bytes are used, the limit is %d", round, used, limit)
				}
			}
			if refused == 0 {
				t.Error("nothing was refused")
			}
			tm.script("DEL nope => 0\nGET nope => nil")
		})
	}
}
