// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// move takes slots from one group to another: the source stops to own them, the target owns them
// later, and the routers learn of it last.
func (w *fakeWorld) move(from, to uint32, gap time.Duration, slots ...uint16) {
	m := *w.m
	m.Epoch++
	m.Version++
	for _, s := range slots {
		m.Slots[s] = to
	}
	w.m = &m
	w.rafts[from].run(fsm.Drop(m.Epoch, slots))
	time.Sleep(gap)
	w.rafts[to].run(fsm.Own(m.Epoch, slots))
	time.Sleep(gap)
	for _, n := range w.nodes {
		mine := m
		n.router.setMap(&mine)
	}
}

// inSlots gives n keys in slots of group g, in the order of their numbers.
func inSlots(g uint32, groups, n int) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		key := fmt.Sprint("k", i)
		if fsm.SlotOf([]byte(key))%uint16(groups) == uint16(g-1) {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestMovedSlot: commands that meet a slot on the move wait for its new owner, in program order, and
// split commands are split anew.
func TestMovedSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 2, nil)
		defer w.close()
		w.delay = time.Millisecond
		keys := inSlots(1, 2, 4)
		for _, n := range w.nodes {
			n.do(time.Second, cmd(fsm.OpSet, keys[0], "v"), cmd(fsm.OpGet, inSlots(2, 2, 1)[0]))
		}
		moved := []uint16{fsm.SlotOf([]byte(keys[1])), fsm.SlotOf([]byte(keys[2]))}
		w.rafts[1].run(fsm.Drop(2, moved)) // what is there is gone: this test moves no data
		var wg sync.WaitGroup
		for i, n := range w.nodes {
			wg.Go(func() {
				out := n.do(10*time.Second,
					cmd(fsm.OpMSet, keys[0], "0", keys[1], "1", keys[2], "2", keys[3], "3"),
					cmd(fsm.OpSet, keys[1], "later"),
					cmd(fsm.OpMGet, keys[3], keys[2], keys[1], keys[0]),
					cmd(fsm.OpDel, keys[2], keys[3]),
					cmd(fsm.OpExists, keys...))
				got := fmt.Sprint(text(out[0]), " ", text(out[1]), " ", text(out[2]))
				if got != "OK OK [3 2 later 0]" || out[3].Err != nil || out[4].Err != nil {
					t.Errorf("%s: %s %s %s", n.id, got, text(out[3]), text(out[4]))
				}
			})
			if i == 0 {
				time.Sleep(50 * time.Millisecond)
				w.move(1, 2, 100*time.Millisecond, moved...)
				wg.Wait()
				w.nodes[0].do(time.Second, cmd(fsm.OpDel, keys...))
			}
		}
		wg.Wait()
	})
}

// TestGroupEnds: commands waiting for a group that is taken out of the map go to the new owners.
func TestGroupEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 2, nil)
		defer w.close()
		key := inSlots(2, 2, 1)[0]
		w.rafts[2].lead("")
		var out, read []Reply
		var wg sync.WaitGroup
		wg.Go(func() { out = w.nodes[0].do(10*time.Second, cmd(fsm.OpSet, key, "v")) })
		wg.Go(func() { read = w.nodes[1].do(10*time.Second, cmd(fsm.OpType, key)) })
		time.Sleep(time.Second)
		m := *w.m
		m.Epoch, m.Version = 2, 2
		m.Groups = map[uint32]GroupPlace{1: m.Groups[1]}
		var slots []uint16
		for s := range m.Slots {
			if m.Slots[s] == 2 {
				slots = append(slots, uint16(s))
			}
			m.Slots[s] = 1
		}
		w.rafts[1].run(fsm.Own(2, slots))
		for _, n := range w.nodes {
			mine := m
			n.router.setMap(&mine)
		}
		wg.Wait()
		if text(out[0]) != "OK" || read[0].Err != nil {
			t.Errorf("%s %s", text(out[0]), text(read[0]))
		}
	})
}
