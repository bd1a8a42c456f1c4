// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"path"
	"strings"
	"testing"
)

// TestLogLost: a follower that ran before and has no log any more does not start with an empty one: it
// would have forgotten what it acknowledged, and the leader may have nobody else who knows.
func TestLogLost(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		n := b.others(nodes[0])[0]
		n.crash()
		if err := b.world.Host(n.name).FS.RemoveAll(path.Join(n.group.dir, walName)); err != nil {
			t.Fatal(err)
		}
		again := b.open(n.name)
		_, err := again.node.StartGroup(GroupConfig{Group: testGroup, Replica: replicaOf(n.name), Machine: again.machineOnly()})
		if !errors.Is(err, ErrDataLost) || !strings.Contains(err.Error(), "join it as a new node") {
			t.Errorf("started: %v", err)
		}
		again.close()
	})
}
