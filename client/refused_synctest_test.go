// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// Goal: a refusal before execution leaves no token behind, so after an unknown try, which may yet be
// applied, it settles nothing. Method: the node loses the first try and refuses the second.
func TestRefusalAfterUnknown(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cl := newCluster(t, 1)
			defer cl.close()
			c := cl.dial()
			defer c.Close()
			var seen atomic.Int64
			cl.nodes[0].set(func(*fsm.Command) (shard.Reply, bool) {
				if seen.Add(1) == 1 && lost {
					return fail(shard.KindUnknown), true
				}
				return shard.Reply{Result: fsm.Error(fsm.CodeOOM, fsm.TextOOM)}, true
			})
			_, err := c.Incr(t.Context(), "k")
			if errors.Is(err, client.ErrUnknown) != lost || errors.Is(err, client.ErrOutOfMemory) == lost {
				t.Errorf("lost=%v: %v", lost, err)
			}
		})
	}
}
