// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// read gives what a capture holds for a key.
func (b *bench) captured(n *testNode, c *Capture, key string) string {
	b.t.Helper()
	data, err := io.ReadAll(c)
	if err != nil || int64(len(data)) != c.Size {
		b.t.Fatalf("capture of %d bytes, %d read: %v", c.Size, len(data), err)
	}
	m := n.machineOnly()
	if err := m.Restore(bytes.NewReader(data)); err != nil {
		b.t.Fatal(err)
	}
	if index, term := m.Applied(); index != c.Index || term != c.Term {
		b.t.Errorf("capture at %d/%d holds %d/%d", c.Index, c.Term, index, term)
	}
	out := make([]fsm.Result, 1)
	m.Query([]fsm.Command{getCmd(key)}, out, 0, nil)
	return string(out[0].Str)
}

// TestCapture: a capture holds what was acknowledged before it, also when a snapshot was taken just
// before, and stays what it was.
func TestCapture(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		ctx := b.t.Context()
		b.write("k", "one")
		first, err := lead.group.Capture(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if err := lead.group.Snapshot(ctx); err != nil {
			t.Fatal(err)
		}
		for i := range 4 { // each takes a snapshot; the folder keeps two
			want := fmt.Sprint("value ", i)
			b.write("k", want)
			c, err := lead.group.Capture(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.captured(lead, c, "k"); got != want {
				t.Errorf("captured %q, want %q", got, want)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		again, err := lead.group.Capture(ctx) // nothing new
		if err != nil {
			t.Fatal(err)
		}
		if got := b.captured(lead, again, "k"); got != "value 3" {
			t.Errorf("captured %q", got)
		}
		again.Close()
		if got := b.captured(lead, first, "k"); got != "one" {
			t.Errorf("the first capture became %q", got)
		}
		if n := lead.group.snaps.readers.Load(); n != 0 {
			t.Errorf("%d snapshots count as being shipped", n)
		}
	})
}

// TestCaptureNeedsTheLeader: followers, and leaders that were deposed unawares, capture nothing.
func TestCaptureNeedsTheLeader(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		b.write("k", "one")
		for _, n := range b.others(lead) {
			_, err := n.group.Capture(b.t.Context())
			if nl, ok := errors.AsType[ErrNotLeader](err); !ok || nl.Hint.Node != lead.node.ID() {
				t.Errorf("%s, which follows: %v", n.name, err)
			}
		}
		for _, n := range b.others(lead) {
			b.world.Isolate(lead.name, n.name)
		}
		ctx, cancel := context.WithTimeout(b.t.Context(), 200*time.Millisecond)
		defer cancel()
		if c, err := lead.group.Capture(ctx); err == nil {
			c.Close()
			t.Error("a leader that reaches nobody was captured")
		}
		b.world.HealAll()
	})
}
