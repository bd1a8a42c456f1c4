// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
	"github.com/kvorum/kvorum/raftnode/logstore/logstoretest"
)

// smallSegments makes rotations frequent.
const smallSegments = 4 << 10

func closeStore(s raft.LogStore) error { return s.(logstore.Store).Close() }

// walOn is a wal on a disk of its own; tail bounds its memory.
func walOn(segment int, tail int64) logstoretest.Fresh {
	return func(testing.TB) logstoretest.Subject {
		disk := host.NewMemFS(1)
		return logstoretest.Subject{
			Open: func() (raft.LogStore, error) {
				return logstore.OpenWAL(disk.FS(), "/group/log", logstore.Options{SegmentBytes: segment, TailBytes: tail})
			},
			Close: closeStore,
			Disk:  disk,
		}
	}
}

// walOnDisk is a wal on the real file system.
func walOnDisk(t testing.TB) logstoretest.Subject {
	dir := t.TempDir()
	return logstoretest.Subject{
		Open: func() (raft.LogStore, error) {
			return logstore.OpenWAL(host.Real().FS, dir+"/log", logstore.Options{})
		},
		Close: closeStore,
	}
}

func boltOnDisk(t testing.TB) logstoretest.Subject {
	dir := t.TempDir()
	return logstoretest.Subject{
		Open:  func() (raft.LogStore, error) { return logstore.OpenBolt(dir+"/log", logstore.Options{}) },
		Close: closeStore,
	}
}

func TestWALConformance(t *testing.T) {
	t.Run("one segment", func(t *testing.T) { logstoretest.Conformance(t, walOn(0, 0)) })
	t.Run("many segments", func(t *testing.T) { logstoretest.Conformance(t, walOn(smallSegments, 0)) })
	t.Run("short tail", func(t *testing.T) { logstoretest.Conformance(t, walOn(smallSegments, 1)) })
}

func TestWALConformanceOnDisk(t *testing.T) { logstoretest.Conformance(t, walOnDisk) }

func TestBoltConformance(t *testing.T) { logstoretest.Conformance(t, boltOnDisk) }

func TestWALCrashEveryStep(t *testing.T) { logstoretest.CrashEveryStep(t, walOn(smallSegments, 0)) }

func TestWALCrashRandom(t *testing.T) { logstoretest.CrashRandom(t, walOn(smallSegments, 1000)) }

func TestWALSyncErrorEveryStep(t *testing.T) {
	logstoretest.SyncErrorEveryStep(t, walOn(smallSegments, 0))
}

func BenchmarkWAL(b *testing.B)  { logstoretest.Benchmark(b, walOnDisk) }
func BenchmarkBolt(b *testing.B) { logstoretest.Benchmark(b, boltOnDisk) }
