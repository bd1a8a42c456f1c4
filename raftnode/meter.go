// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/logstore"
)

// An append is overdue when it takes longer than overdueBase (or the heartbeat timeout, if longer)
// plus its size at overdueRate: then the disk is taken for hung, and the node stops sending
// AppendEntries so that its groups leave it together (W6).
const (
	overdueBase = time.Second
	overdueRate = 8 << 20 // bytes per second
)

// entryOverhead is what an entry is reckoned to take in the log beside its data, in bytes.
const entryOverhead = 64

// meter is a group's log store with its measures taken: appends, bytes since the last snapshot, and
// how long the present append takes. raft calls it from several goroutines.
type meter struct {
	logstore.Store
	n *Node
	g *Group

	calls atomic.Uint64
	// cut: a suffix was deleted and nothing has been appended since.
	cut atomic.Bool
	// due is when the append under way becomes overdue, in ns of the node's monotonic time; 0 when
	// none is under way.
	due atomic.Int64

	mu struct {
		sync.Mutex
		// loading: raft is reading its log at start; what lies behind base is counted.
		loading bool
		base    uint64
		// bytes were written to the log behind base.
		bytes int64
		// marks remembers the total at some indexes, oldest first, so that a snapshot at an index
		// takes off about what lies below it.
		marks []mark
		// total counts bytes since start.
		total int64
	}
}

type mark struct {
	index uint64
	total int64
}

// maxMarks bounds the marks; when there are too many every other one between the oldest and the newest
// goes. Without the newest a snapshot just below it would count as the end of the log.
const maxMarks = 256

// counting begins the start-up reading: entries behind the newest snapshot count as log bytes.
func (m *meter) counting(snapshot uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.loading, m.mu.base, m.mu.bytes, m.mu.marks = true, snapshot, 0, nil
}

func (m *meter) started() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.loading = false
}

// GetLog implements raft.LogStore.
func (m *meter) GetLog(index uint64, l *raft.Log) error {
	if err := m.Store.GetLog(index, l); err != nil {
		return m.g.guardGet(index, l, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.loading && index > m.mu.base {
		m.addLocked(index, int64(len(l.Data))+entryOverhead)
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (m *meter) StoreLog(l *raft.Log) error { return m.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (m *meter) StoreLogs(logs []*raft.Log) error {
	var bytes int64
	for _, l := range logs {
		bytes += int64(len(l.Data)) + entryOverhead
	}
	allowed := max(overdueBase, m.n.cfg.Heartbeat) + time.Duration(bytes)*time.Second/overdueRate
	m.due.Store(int64(m.n.uptime() + allowed))
	m.g.sendAhead(logs)
	err := m.Store.StoreLogs(logs)
	m.due.Store(0)
	m.calls.Add(1)
	if m.n.overdue.Load() {
		m.n.checkOverdue()
	}
	if errors.Is(err, logstore.ErrNoSpace) {
		m.n.reserve.exhausted()
	}
	if err != nil {
		if m.cut.Load() {
			m.g.wedge("an append failed behind a cut log")
		}
		if slices.ContainsFunc(logs, func(l *raft.Log) bool { return l.Type == raft.LogConfiguration }) {
			m.g.changeLost()
		}
		return err
	}
	m.cut.Store(false)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(logs) > 0 {
		m.addLocked(logs[len(logs)-1].Index, bytes)
	}
	return nil
}

// DeleteRange implements raft.LogStore. When raft deletes a suffix and then cannot append, it goes on
// believing in the suffix and refuses every further append; such a replica is restarted in place.
func (m *meter) DeleteRange(lo, hi uint64) error {
	last, err := m.LastIndex()
	if err != nil {
		return err
	}
	if hi >= last {
		m.cut.Store(true)
	}
	return m.Store.DeleteRange(lo, hi)
}

func (m *meter) addLocked(index uint64, bytes int64) {
	m.mu.bytes += bytes
	m.mu.total += bytes
	m.mu.marks = append(m.mu.marks, mark{index, m.mu.total})
	if len(m.mu.marks) > maxMarks {
		kept := m.mu.marks[:1]
		for i := 2; i < len(m.mu.marks)-1; i += 2 {
			kept = append(kept, m.mu.marks[i])
		}
		m.mu.marks = append(kept, m.mu.marks[len(m.mu.marks)-1])
	}
}

// snapshotted takes off what lies at or below index.
func (m *meter) snapshotted(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	total := m.mu.total
	i := 0
	for ; i < len(m.mu.marks) && m.mu.marks[i].index <= index; i++ {
		total = m.mu.marks[i].total
	}
	switch {
	case i == len(m.mu.marks):
		m.mu.bytes = 0
	case i > 0:
		m.mu.bytes = m.mu.total - total
	}
	m.mu.marks = append(m.mu.marks[:0], m.mu.marks[i:]...)
	m.mu.base = max(m.mu.base, index)
}

// logged tells the bytes behind the last snapshot.
func (m *meter) logged() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.bytes
}

// isOverdue tells whether the append under way takes too long.
func (m *meter) isOverdue() bool {
	due := m.due.Load()
	return due != 0 && int64(m.n.uptime()) > due
}

// uptime is monotonic time since the node was opened.
func (n *Node) uptime() time.Duration { return time.Since(n.opened) }

// checkOverdue looks whether any group's append is overdue.
func (n *Node) checkOverdue() {
	overdue := false
	for _, g := range n.running() {
		overdue = overdue || g.logs.isOverdue()
	}
	if n.overdue.Swap(overdue) != overdue {
		n.log.Warn("disk overdue", "overdue", overdue)
	}
}
