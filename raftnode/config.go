// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// Defaults and limits of Config.
const (
	DefaultHeartbeat        = 400 * time.Millisecond
	DefaultMaxEntryBytes    = 256 << 10
	DefaultMaxEntryCommands = 8192
	DefaultMaxSubBytes      = 20 << 20
	DefaultQueueBytes       = 128 << 20
	DefaultMaxQueuedSubs    = 1 << 16
	DefaultSegmentBytes     = 16 << 20
	DefaultLogTailBytes     = 64 << 20
	DefaultSnapshotLogBytes = 64 << 20
	DefaultSnapshotRate     = 64 << 20
	DefaultSnapshotRetain   = 2
	DefaultDiskReserve      = 256 << 20

	minHeartbeat = 20 * time.Millisecond
)

// Log stores by name.
const (
	LogStoreWAL  = "wal"
	LogStoreBolt = "bolt"
)

// Config holds the settings of a Node. Start from DefaultConfig.
type Config struct {
	// Dir is the data folder; it belongs to one node for ever.
	Dir string
	// Listen is the host:port of the peer link; port 0 picks one.
	Listen string
	// Advertise is the host:port that peers dial; empty means the listener's own address.
	Advertise string
	// LogStore is LogStoreWAL or LogStoreBolt.
	LogStore string
	// Heartbeat is heartbeat, election and lease timeout in one.
	Heartbeat time.Duration
	// MaxEntryBytes and MaxEntryCommands bound a log entry; a larger Sub is an entry of its own.
	MaxEntryBytes, MaxEntryCommands int
	// MaxSubBytes bounds one Sub's Body.
	MaxSubBytes int
	// QueueBytes bounds the bytes of Subs queued or outstanding over all groups of the node; a Sub
	// is always accepted when nothing else is.
	QueueBytes int64
	// MaxQueuedSubs bounds the number of Subs queued in one group.
	MaxQueuedSubs int
	// SegmentBytes is the size of one segment file of the wal store.
	SegmentBytes int
	// LogTailBytes bounds the newest log entries held in memory, over all groups of the node, from which
	// leaders replicate without reading their disk. No group has less than 1 MiB, and each its newest
	// entry.
	LogTailBytes int64
	// SnapshotLogBytes is how much log a group writes before the node takes its next snapshot; a
	// group whose last snapshot is larger waits for as many bytes as that.
	SnapshotLogBytes int64
	// SnapshotRate is how many bytes of snapshots the node writes a second, 0 for as many as it can.
	SnapshotRate int64
	// SnapshotRetain is how many snapshots a group keeps, at least 2.
	SnapshotRetain int
	// DiskReserve is the free space, in bytes, below which the node counts as low on disk.
	DiskReserve uint64
	// Logger is required.
	Logger *slog.Logger
	Events Events

	// wrapStores lets tests stand between raft and the stores.
	wrapStores func(g *Group, s stores) stores
}

// DefaultConfig returns the settings a node runs with when nothing else is said. Dir, Listen and
// Logger remain to be set.
func DefaultConfig() Config {
	return Config{
		LogStore:         LogStoreWAL,
		Heartbeat:        DefaultHeartbeat,
		MaxEntryBytes:    DefaultMaxEntryBytes,
		MaxEntryCommands: DefaultMaxEntryCommands,
		MaxSubBytes:      DefaultMaxSubBytes,
		QueueBytes:       DefaultQueueBytes,
		MaxQueuedSubs:    DefaultMaxQueuedSubs,
		SegmentBytes:     DefaultSegmentBytes,
		LogTailBytes:     DefaultLogTailBytes,
		SnapshotLogBytes: DefaultSnapshotLogBytes,
		SnapshotRate:     DefaultSnapshotRate,
		SnapshotRetain:   DefaultSnapshotRetain,
		DiskReserve:      DefaultDiskReserve,
	}
}

// Validate reports all faults of c at once.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Dir != "", "data folder is not set")
	check(c.Listen != "", "peer address is not set")
	check(c.Logger != nil, "logger is not set")
	check(c.LogStore == LogStoreWAL || c.LogStore == LogStoreBolt,
		"log store %q is neither %q nor %q", c.LogStore, LogStoreWAL, LogStoreBolt)
	check(c.Heartbeat >= minHeartbeat, "heartbeat %v is below %v", c.Heartbeat, minHeartbeat)
	check(c.MaxEntryBytes > 0 && c.MaxEntryCommands > 0 && c.MaxSubBytes >= c.MaxEntryBytes,
		"entry limits must be positive and no larger than the limit of one sub-batch")
	check(c.QueueBytes > 0 && c.MaxQueuedSubs > 0, "queue limits must be positive")
	check(c.SegmentBytes > 0 && c.SnapshotLogBytes > 0 && c.LogTailBytes > 0, "segment, snapshot and tail sizes must be positive")
	check(c.SnapshotRate >= 0, "snapshot rate is negative")
	check(c.SnapshotRetain >= 2, "at least 2 snapshots must be kept")
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("raftnode: config: %w", err)
	}
	return nil
}

// GroupConfig starts one replica.
type GroupConfig struct {
	// Group and Replica name the replica; replica numbers start at 1 and are never reused within a
	// group.
	Group   uint32
	Replica uint64
	// Machine is the group's state machine, empty; it belongs to the Group from now on.
	Machine Machine
	// Bootstrap is set on the one founder of the group: it starts the group with itself as the only
	// voter, exactly once, however often it is called.
	Bootstrap bool
	// Grows tells whether a Sub may make the data grow; used only while the disk is low. Nil means
	// that DenyOOM of the commands' rows decides when the Machine has a Table, and otherwise that every
	// Sub may. Any goroutine.
	Grows func(sub *fsm.Sub) bool
	// ClusterVersion is written into entry headers; nil means 0.
	ClusterVersion func() uint32
	// Events of this group are told to it besides Config.Events.
	Events Events
}

// Machine is the replicated state machine that a group drives; *fsm.Machine is one. Apply, Advance,
// View and Restore are called by one goroutine at a time, all else by any goroutine.
type Machine interface {
	// Apply applies the committed entry data. subs is nil, or, when this replica proposed the entry, its own Subs in
	// order, which may be none: their Status and results are filled in. data is never changed by either side afterwards, and the
	// machine keeps no part of it.
	Apply(index, term uint64, data []byte, subs []*fsm.Sub)
	// Advance notes an entry without data for the machine.
	Advance(index, term uint64)
	// Query answers reads from the present state, as many as room has room for; due asks for a tick.
	Query(cmds []fsm.Command, out []fsm.Result, wall int64, room *fsm.Room) (due bool)
	// View freezes the state in constant time.
	View() (*fsm.View, error)
	// Restore verifies the whole stream, then replaces the state. An error that is
	// fsm.ErrRestoreBroken means that the old state is gone as well.
	Restore(r io.Reader) error
	// Applied is the index and term of the last entry applied or restored.
	Applied() (index, term uint64)
	// Clock is the log clock, in ms.
	Clock() int64
	// NextDeadline is when the next key is due, in ms; 0 when none is.
	NextDeadline() int64
	// GrowthBound is the most that an entry of these Subs may add to the state as it is now, 0 while
	// nobody may be evicted.
	GrowthBound(subs []*fsm.Sub) int64
	// PlanEvictions names victims for an entry: growth is what outstanding entries, this one
	// included, will add. Those named before count as gone.
	PlanEvictions(growth int64) []fsm.Victim
	// Sessions lists the open sessions.
	Sessions() []uint64
}

var _ Machine = (*fsm.Machine)(nil)
