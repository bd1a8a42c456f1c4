// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"sync"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestSubmitLetsGo: a Sub belongs to its owner again once done ran, also while Submit has not returned.
func TestSubmitLetsGo(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.cluster("n1")[0]
		id := n.must(fsm.OpenSession())[0].Int
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 200 {
					sub := pack(setCmd("k", "v"))
					sub.Session = uint64(id)
					done := make(chan struct{})
					n.group.Submit(sub, func(s *fsm.Sub, _ error) { s.Session = 0; close(done) })
					<-done
				}
			})
		}
		wg.Wait()
	})
}

// TestNoTickWhileHeld: a wish for a tick waits for the end of a leadership transfer without a spin.
func TestNoTickWhileHeld(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.cluster("n1")[0]
		b.sleep(time.Second)
		p, in := &n.group.prop, n.group.inst.Load()
		p.hold(true)
		p.requestTick()
		if d := p.untilTick(in); d < tickGap {
			t.Errorf("held, it looks again after %v", d)
		}
		at := n.group.Applied()
		b.sleep(time.Second)
		p.hold(false)
		b.waitFor("the tick", func() bool { return n.group.Applied() > at })
	})
}
