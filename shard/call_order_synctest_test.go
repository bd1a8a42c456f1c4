// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// readableGroup is a manualGroup whose every read finds "new".
type readableGroup struct{ manualGroup }

func (g *readableGroup) Read(_ context.Context, cmds []fsm.Command, out []fsm.Result, _ *fsm.Room) error {
	for i := range cmds {
		out[i] = fsm.Bulk([]byte("new"))
	}
	return nil
}

// TestReadNotBehindItsWrite: a Sub that is answered from the session's cache runs no attached reads. A
// read with a write of its slot behind it in the call must not run later, where it would see that write;
// others may.
func TestReadNotBehindItsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 1, 1, nil)
		defer w.close()
		g := &readableGroup{}
		w.nodes[0].router.attach(1, g)
		got := make(chan []Reply)
		go func() {
			got <- w.nodes[0].do(time.Minute, cmd(fsm.OpGet, "k"), cmd(fsm.OpSet, "k", "new"), cmd(fsm.OpGet, "k"), cmd(fsm.OpGet, "other"))
		}()
		g.take(t, " 0.0.0")[0].apply(fsm.Int(7))
		g.take(t, "k 7.1.1")[0].apply() // executed earlier: no read results
		replies := <-got
		if kindOf(replies[0]) != KindTimeout {
			t.Errorf("GET before SET: %s, kind %v", text(replies[0]), kindOf(replies[0]))
		}
		for i, want := range []string{"OK", "new", "new"} {
			if text(replies[i+1]) != want {
				t.Errorf("command %d: %s", i+1, text(replies[i+1]))
			}
		}
	})
}
