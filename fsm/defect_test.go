// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"testing"
	"time"

	"github.com/kvorum/kvorum/store"
)

// TestReadDefectLetsGo: a panic in the middle of a walk through all keys, which only its read fails by, leaves no slot
// locked: the next write would hold up the applying goroutine for ever.
func TestReadDefectLetsGo(t *testing.T) {
	tm := newOwner(t)
	tm.must(incr("k"))
	x := &execution{k: tm.k, ctx: &Ctx{m: tm.m}}
	c := new(Cover)
	slot := store.SlotOf([]byte("k"))
	c.Add(slot)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panicked")
			}
		}()
		x.eachKey(c, func([]byte, store.Ref) bool { panic("a defect") })
	}()
	locked := make(chan struct{})
	go func() {
		tm.k.st.Lock(slot)
		tm.k.st.Unlock(slot)
		close(locked)
	}()
	select {
	case <-locked:
	case <-time.After(10 * time.Second):
		t.Fatal("the slot stays locked")
	}
}
