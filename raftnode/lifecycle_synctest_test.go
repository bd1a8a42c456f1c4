// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestDataFolder: one process at a time, one cluster for ever, one id for ever, an incarnation a start.
func TestDataFolder(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.open("n1")
		cfg := n.node.cfg
		cfg.Listen = ":7500"
		if _, err := Open(b.world.Host("n1"), cfg); !errors.Is(err, ErrInUse) {
			t.Errorf("second process: %v", err)
		}
		if err := n.node.SetCluster("cluster-b"); !errors.Is(err, ErrOtherCluster) {
			t.Errorf("another cluster: %v", err)
		}
		if err := n.node.PutMeta("peers", []byte("here")); err != nil {
			t.Fatal(err)
		}
		id, inc := n.node.ID(), n.node.Incarnation()
		if len(id) != 40 || strings.Trim(id, "0123456789abcdef") != "" {
			t.Errorf("node id %q", id)
		}
		n.crash()
		n = b.open("n1")
		if n.node.ID() != id || n.node.Incarnation() != inc+1 {
			t.Errorf("%s/%d became %s/%d", id, inc, n.node.ID(), n.node.Incarnation())
		}
		if got, err := n.node.GetMeta("peers"); err != nil || string(got) != "here" {
			t.Errorf("meta: %q, %v", got, err)
		}
		if got, _ := n.node.Cluster(); got != "cluster-a" {
			t.Errorf("cluster %q", got)
		}
		n.close()
	})
}

// TestFounderOnce: a founder founds once; a founder whose files are gone does not found again.
func TestFounderOnce(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.open("n1").start(1, true)
		b.waitFor("lead", n.group.IsLeader)
		n.must(fsm.Own(1, allSlots()))
		n.must(setCmd("k", "v"))
		n.crash()
		n = b.open("n1").start(1, true)
		b.waitFor("lead", n.group.IsLeader)
		if got := n.local("k"); got != "v" {
			t.Errorf("founding again lost the data: %q", got)
		}
		n.crash()
		n = b.open("n1")
		if err := b.world.Host("n1").FS.RemoveAll(n.node.newGroup(GroupConfig{Group: testGroup, Replica: 1}).dir); err != nil {
			t.Fatal(err)
		}
		_, err := n.node.StartGroup(GroupConfig{Group: testGroup, Replica: 1, Machine: n.machineOnly(), Bootstrap: true})
		if !errors.Is(err, ErrDataLost) {
			t.Errorf("a founder without its files: %v", err)
		}
		_, err = n.node.StartGroup(GroupConfig{Group: testGroup, Replica: 2, Machine: n.machineOnly()})
		if !errors.Is(err, ErrExists) {
			t.Errorf("another replica number: %v", err)
		}
		n.close()
	})
}

// TestVoteLost: a replica that ran before and has no vote file any more does not start.
func TestVoteLost(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		n := b.others(nodes[0])[0]
		n.crash()
		if err := b.world.Host(n.name).FS.Remove(path.Join(n.group.dir, voteName)); err != nil {
			t.Fatal(err)
		}
		again := b.open(n.name)
		_, err := again.node.StartGroup(GroupConfig{Group: testGroup, Replica: replicaOf(n.name), Machine: again.machineOnly()})
		if !errors.Is(err, ErrDataLost) {
			t.Errorf("started: %v", err)
		}
		again.close()
	})
}

// TestCloseAnswersAll: whatever is queued or on its way is answered when a node closes, each Sub once.
func TestCloseAnswersAll(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.MaxEntryCommands = 4 }
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		for _, n := range b.others(lead) {
			b.world.Isolate(lead.name, n.name)
		}
		var answers [200]atomic.Int32
		for i := range answers {
			lead.group.Submit(pack(setCmd("k", fmt.Sprint(i))), func(_ *fsm.Sub, err error) {
				answers[i].Add(1)
				if err == nil {
					t.Error("a leader without a majority acknowledged")
				}
			})
		}
		lead.close()
		for i := range answers {
			if got := answers[i].Load(); got != 1 {
				t.Errorf("sub %d was answered %d times", i, got)
			}
		}
		err := lead.submit(pack(setCmd("k", "v")))
		if !errors.Is(err, ErrClosed) {
			t.Errorf("submit to a closed group: %v", err)
		}
		if _, err := lead.group.Fence(b.t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("fence of a closed group: %v", err)
		}
		if err := lead.group.WaitApplied(b.t.Context(), 1<<40); !errors.Is(err, ErrClosed) {
			t.Errorf("wait in a closed group: %v", err)
		}
	})
}

// TestOverload: the queue and the byte budget refuse at their limits, and what was accepted goes through.
func TestOverload(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) {
			c.MaxQueuedSubs, c.MaxEntryCommands = 100, 1
			c.QueueBytes = 1 << 20
			c.MaxSubBytes = 300 << 10
		}
		lead := b.cluster("n1")[0]
		release := lead.hang()
		var ok, refused atomic.Int32
		var wg sync.WaitGroup
		put := func(value string) {
			wg.Add(1)
			lead.group.Submit(pack(setCmd("k", value)), func(_ *fsm.Sub, err error) {
				defer wg.Done()
				switch {
				case err == nil:
					ok.Add(1)
				case errors.Is(err, ErrOverloaded):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		for range 150 {
			put("v")
		}
		b.sleep(time.Millisecond)
		if got := refused.Load(); got < 40 || got > 50 {
			t.Errorf("%d of 150 were refused by a queue of 100", got)
		}
		refused.Store(0)
		release()
		wg.Wait()
		release = lead.hang()
		for range 10 {
			put(strings.Repeat("v", 200<<10))
		}
		b.sleep(time.Millisecond)
		if got := refused.Load(); got != 5 {
			t.Errorf("%d of 10 Subs of 200 KiB were refused by a budget of 1 MiB", got)
		}
		release()
		wg.Wait()
		b.sleep(time.Millisecond) // an entry gives its bytes back behind its answers
		if used := lead.node.budget.used.Load(); used != 0 {
			t.Errorf("%d bytes of the budget were not given back", used)
		}
		if err := lead.submit(pack(setCmd("k", strings.Repeat("v", 300<<10)))); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	})
}

// TestBoundedWaits: on a hung disk queued Subs are answered as not applied and proposed ones as
// unknown, each after its bound.
func TestBoundedWaits(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.MaxEntryCommands = 1 }
		lead := b.cluster("n1")[0]
		release := lead.hang()
		start := time.Now()
		var unknown, not, applied atomic.Int32
		for range 10 {
			lead.group.Submit(pack(setCmd("k", "v")), func(_ *fsm.Sub, err error) {
				switch {
				case err == nil:
					applied.Add(1)
				case errors.Is(err, ErrUnknown):
					unknown.Add(1)
					if d := time.Since(start); d < pendingWait || d > pendingWait+2*time.Second {
						t.Errorf("unknown after %v", d)
					}
				case IsNotApplied(err):
					not.Add(1)
					if d := time.Since(start); d < queueWait || d > queueWait+2*time.Second {
						t.Errorf("not applied after %v", d)
					}
				}
			})
		}
		b.sleep(15 * time.Second)
		if not.Load() != 8 || unknown.Load() != 2 {
			t.Errorf("%d not applied, %d unknown", not.Load(), unknown.Load())
		}
		release()
		b.write("k", "w")
		if applied.Load() != 0 {
			t.Error("answered twice")
		}
	})
}

// TestHungDiskMovesLeadership: W6: a leader whose disk hangs stops keeping its followers, so that they
// elect another.
func TestHungDiskMovesLeadership(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		release := lead.hang()
		defer release()
		lead.group.Submit(pack(setCmd("k", "v")), nop)
		start := time.Now()
		rest := b.others(lead)
		b.waitFor("another leader", func() bool { return rest[0].group.IsLeader() || rest[1].group.IsLeader() })
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestExpiryTicks: a key expires without traffic, and a read that meets a due key brings it sooner.
func TestExpiryTicks(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		expire := func(key string, ms int) {
			lead.must(setCmd(key, "v"), fsm.Command{Op: fsm.OpPExpire, Args: [][]byte{[]byte(key), fmt.Append(nil, ms)}})
		}
		expire("quiet", 1500)
		before := lead.group.Status().StoreCalls
		b.sleep(4 * time.Second)
		for _, n := range b.live() {
			if got := n.local("quiet"); got != "" {
				t.Errorf("%s still has a key that expired 2.5 s ago", n.name)
			}
		}
		if calls := lead.group.Status().StoreCalls - before; calls > 4 {
			t.Errorf("%d entries in four idle seconds", calls)
		}
		expire("asked", 1000)
		b.sleep(1010 * time.Millisecond)
		for i := 0; ; i++ {
			got, err := lead.get(b.t.Context(), "asked")
			if err == nil && got == "" {
				break
			}
			if i == 10 {
				t.Fatal("ten reads over 50 ms did not bring the tick")
			}
			b.sleep(5 * time.Millisecond)
		}
	})
}

// TestOrderOfSession: Subs of one session are applied in the order of Submit, each once, through any
// number of entries.
func TestOrderOfSession(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.MaxEntryCommands = 3 }
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		session := uint64(lead.must(fsm.OpenSession())[0].Int)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Add(1)
			sub := pack(fsm.Command{Op: fsm.OpAppend, Args: [][]byte{[]byte("k"), fmt.Appendf(nil, "%d,", i)}})
			sub.Session, sub.Seq, sub.Low = session, uint64(i+1), 1
			lead.group.Submit(sub, func(s *fsm.Sub, err error) {
				defer wg.Done()
				if err != nil || s.Status != fsm.SubApplied {
					t.Errorf("sub %d: %v, status %d", i, err, s.Status)
				}
			})
		}
		wg.Wait()
		var want strings.Builder
		for i := range 100 {
			fmt.Fprintf(&want, "%d,", i)
		}
		if got := lead.local("k"); got != want.String() {
			t.Errorf("got %q", got)
		}
	})
}
