// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
	"github.com/kvorum/kvorum/raftnode/logstore/logstoretest"
)

// walsIn are wals beside each other on one disk of the given file system, which changes with every
// life of it.
func walsIn(fs func() host.FS, dir string, n int) []logstoretest.Subject {
	var subs []logstoretest.Subject
	for i := range n {
		subs = append(subs, logstoretest.Subject{
			Open: func() (raft.LogStore, error) {
				return logstore.OpenWAL(fs(), fmt.Sprintf("%s/%d", dir, i), logstore.Options{SegmentBytes: smallSegments, TailBytes: 1000})
			},
			Close: closeStore,
		})
	}
	return subs
}

// TestWALPowerCuts: one thousand random power cuts on an in-memory disk that keeps what was synced and,
// of the rest, a random part of its sectors and names.
func TestWALPowerCuts(t *testing.T) {
	for _, c := range []struct{ logs, steps, cuts int }{{1, 60, 1000}, {3, 200, 200}} {
		t.Run(fmt.Sprintf("logs=%d", c.logs), func(t *testing.T) {
			disk := host.NewMemFS(1)
			power := &logstoretest.MemPower{Disk: disk, Steps: c.steps}
			logstoretest.PowerCuts(t, power, walsIn(disk.FS, "", c.logs), c.cuts, 1)
		})
	}
}
