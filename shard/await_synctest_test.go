// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"crypto/rand"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestDoAwaitsFirstMap: a member that has just started makes its callers wait for its first Map, as
// long as their time allows; a node without cluster answers at once.
func TestDoAwaitsFirstMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		member := false
		r := newRouter(routerConfig{Self: "n1", Table: fsm.Data(), Rand: rand.Reader, Member: func() bool { return member }})
		defer r.close()
		ask := func() (Kind, time.Duration) {
			out := make([]Reply, 1)
			began := time.Now()
			r.Do(t.Context(), &Caller{Timeout: time.Second}, []fsm.Command{{Op: fsm.OpGet, Args: [][]byte{[]byte("k")}}}, out)
			e, ok := errors.AsType[*Error](out[0].Err)
			if !ok {
				t.Fatalf("reply %+v", out[0])
			}
			return e.Kind, time.Since(began)
		}
		if kind, took := ask(); kind != KindUninitialised || took != 0 {
			t.Errorf("outside a cluster: %v after %v", kind, took)
		}
		member = true
		if kind, took := ask(); kind != KindUninitialised || took != time.Second {
			t.Errorf("no Map in time: %v after %v", kind, took)
		}
		m := &Map{Epoch: 1, Version: 1, Groups: map[uint32]GroupPlace{1: {}}}
		for i := range m.Slots {
			m.Slots[i] = 1
		}
		time.AfterFunc(300*time.Millisecond, func() { r.setMap(m) })
		if kind, took := ask(); kind == KindUninitialised || took < 300*time.Millisecond {
			t.Errorf("Map after 300 ms: %v after %v", kind, took)
		}
	})
}
