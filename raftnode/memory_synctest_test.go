// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/kvorum/kvorum/fsm"
)

const (
	wideLimit = 16 << 20
	// wideWrite is the most that one wide command adds.
	wideWrite   = 256 << 10
	wideWriters = 12
	wideWrites  = 60
)

// wideCommand adds up to wideWrite to the state, mostly in far fewer bytes of log.
func wideCommand(r *rand.Rand) fsm.Command {
	key := func() []byte { return strconv.AppendInt([]byte("key:"), r.Int64N(1<<20), 10) }
	cmd := fsm.Command{Args: [][]byte{key()}}
	add := func(n int, args ...func() []byte) {
		for range n {
			for _, a := range args {
				cmd.Args = append(cmd.Args, a())
			}
		}
	}
	short := func() []byte { return []byte("x") }
	switch r.IntN(5) {
	case 0:
		cmd.Op = fsm.OpMSet
		add(1, short)
		add(2000, key, short)
	case 1:
		cmd.Op, cmd.Args[0] = fsm.OpHSet, append(cmd.Args[0], 'h')
		add(2000, key, short)
	case 2:
		cmd.Op, cmd.Args[0] = fsm.OpRPush, append(cmd.Args[0], 'l')
		add(6000, short)
	case 3:
		cmd.Op, cmd.Args[0] = fsm.OpAppend, append(cmd.Args[0], 'a')
		cmd.Args = append(cmd.Args, bytes.Repeat([]byte("v"), 1+r.IntN(100_000)))
	default:
		cmd.Op, cmd.Args[0] = fsm.OpSetRange, append(cmd.Args[0], 's')
		cmd.Args = append(cmd.Args, strconv.AppendInt(nil, r.Int64N(wideWrite-1000), 10), []byte("x"))
	}
	return cmd
}

// race lets writers submit wide commands at once. It tells the most memory that was used after any entry, and
// how many commands were refused for want of it.
func (n *testNode) race() (peak int64, refused int) {
	var mu sync.Mutex
	var writers sync.WaitGroup
	for w := range wideWriters {
		r := rand.New(rand.NewPCG(uint64(w), 1))
		writers.Go(func() {
			for range wideWrites {
				done := make(chan error, 1)
				n.group.Submit(pack(wideCommand(r)), func(s *fsm.Sub, err error) {
					mu.Lock()
					peak = max(peak, n.keys.Stats().LogicalBytes)
					for i := range s.Results {
						if s.Results[i].Code == fsm.CodeOOM {
							refused++
						} else if s.Results[i].IsError() {
							n.b.t.Errorf("%s", s.Results[i].Str)
						}
					}
					mu.Unlock()
					done <- err
				})
				if err := <-done; err != nil {
					n.b.t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	return peak, refused
}

// TestWideWritesUnderMemory: writes that add far more to the state than to the log race for memory. Whatever
// is reckoned with is evicted before it comes, but for victims that were written to after they were named: those
// stay until the next entry. So memory stays at its limit, give or take a few values, and nothing is refused.
// When nobody may be evicted writes are refused, one command beyond the limit at the latest.
func TestWideWritesUnderMemory(t *testing.T) {
	for _, c := range []struct {
		policy  string
		refuses bool
	}{
		{"allkeys-lru", false},
		{"noeviction", true},
	} {
		t.Run(c.policy, func(t *testing.T) {
			inWorld(t, func(b *bench) {
				n := b.open("n1").start(1, true)
				b.waitFor("a leader", n.group.IsLeader)
				policy, _ := fsm.ParsePolicy(c.policy)
				slots := make([]uint16, fsm.Slots)
				for i := range slots {
					slots[i] = uint16(i)
				}
				n.must(fsm.Own(1, slots), fsm.Limit(wideLimit, policy, 0))
				peak, refused := n.race()
				if peak < wideLimit*3/4 || peak > wideLimit+wideWrite {
					t.Errorf("%d bytes were used, the limit is %d", peak, wideLimit)
				}
				if (refused > 0) != c.refuses {
					t.Errorf("%d writes were refused", refused)
				}
				t.Logf("at most %d of %d bytes were used, %d writes refused", peak, wideLimit, refused)
			})
		})
	}
}
