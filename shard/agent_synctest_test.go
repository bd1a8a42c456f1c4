// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// soon fails the test unless ok holds within a second or two.
func (c *testCluster) soon(what string, ok func() bool) {
	c.t.Helper()
	began := time.Now()
	c.waitFor(what, func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
	if took := time.Since(began); took > 10*time.Second {
		c.t.Errorf("%s took %v", what, took)
	}
}

// TestSlowStartDelaysNothing: while one replica loads for minutes, the node publishes new maps, and
// starts, restarts and deletes its other replicas.
func TestSlowStartDelaysNothing(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		hosts := c.hooked()
		newTestCluster(c, 1, 4)
		m := c.open("n2")
		var loading atomic.Int32
		loading.Store(-1) // before the start
		hosts["n2"].on(func(op string, group uint32) error {
			if op == "start" && group == 1 {
				loading.Store(1)
				time.Sleep(2 * time.Minute) // what loading a large snapshot takes
				loading.Store(0)
			}
			return nil
		})
		if err := m.Join(c.ctx(30*time.Second), []string{"n1:7400"}); err != nil {
			t.Fatalf("join: %v", err)
		}
		runs := func(groups ...uint32) (n int) {
			for _, g := range groups {
				n += rank(m.local(g) != nil)
			}
			return n
		}
		c.soon("other replicas to start", func() bool { return loading.Load() == 1 && runs(2, 3, 4) == 3 })
		if err := c.nodes["n1"].Configure(c.ctx(time.Minute), func(s *Settings) { s.DefaultTTLMillis = 1000 }); err != nil {
			t.Fatalf("configure: %v", err)
		}
		want := c.nodes["n1"].View().Revision
		c.soon("a new map", func() bool { return m.Router().SlotMap() != nil && m.Router().SlotMap().Version >= want })
		old := m.local(2)
		old.restart.Store(true)
		m.kick()
		c.soon("a restart", func() bool { r := m.local(2); return r != nil && r != old })
		gone := make(chan error, 1)
		go func() { gone <- c.nodes["n1"].Leave(c.ctx(time.Hour), "n2") }()
		c.soon("other replicas to go", func() bool { return runs(2, 3, 4) == 0 })
		if loading.Load() != 1 || runs(1) != 0 {
			t.Error("the slow start ended too early to prove anything")
		}
		if err := <-gone; err != nil {
			t.Errorf("leave: %v", err)
		}
		c.waitFor("the load to end", func() error {
			if loading.Load() != 0 {
				return errors.New("still loading")
			}
			return nil
		})
		c.waitFor("n2 to end", m.hasLeft)
		if err := m.consistent(); err != nil || len(m.rn.Groups()) != 0 {
			t.Errorf("after the node left: %v, recorded %v", err, m.rn.Groups())
		}
	})
}

// TestStartsAreBounded: replicas start side by side, no more than maxStarts, and Close waits for those
// under way.
func TestStartsAreBounded(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		hosts := c.hooked()
		m := c.open("n1")
		var now, most atomic.Int32
		hosts["n1"].on(func(op string, group uint32) error {
			if op != "start" || group == controlGroup {
				return nil
			}
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(5 * time.Second)
			return nil
		})
		began := time.Now()
		initialised := make(chan error, 1)
		go func() { initialised <- m.Init(c.ctx(time.Hour), InitOptions{Groups: 3 * maxStarts}) }()
		c.waitFor("the second round of starts", func() error {
			if len(m.localReplicas()) <= 1 || now.Load() == 0 {
				return fmt.Errorf("%d starts under way", now.Load())
			}
			return nil
		})
		if err := m.Node.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if n := now.Load(); n != 0 {
			t.Errorf("%d starts go on after Close", n)
		}
		if err := <-initialised; err == nil {
			t.Error("a closed node was initialised")
		}
		if n := most.Load(); n != maxStarts {
			t.Errorf("%d starts at one time, want %d", n, maxStarts)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("two rounds of starts and Close took %v", took)
		}
	})
}
