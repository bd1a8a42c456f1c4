// SPDX-License-Identifier: Apache-2.0

package logstoretest

import (
	"bytes"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
)

// Subject is one empty log under test.
type Subject struct {
	// Open opens the log, again after Close or a crash.
	Open func() (raft.LogStore, error)
	// Close shuts an open log down in good order.
	Close func(raft.LogStore) error
	// Disk is the in-memory disk of the log; nil when it lives elsewhere and cannot crash.
	Disk *host.MemFS
}

// Fresh makes a Subject whose log is empty.
type Fresh func(tb testing.TB) Subject

// model is the log as it must be: entries by index, without a gap.
type model struct {
	first, last uint64 // 0, 0 = empty
	entries     map[uint64]*raft.Log
	made        uint64 // entries ever made: each is unlike all others
}

func newModel() *model { return &model{entries: make(map[uint64]*raft.Log)} }

func (m *model) clone() *model {
	c := *m
	c.entries = maps.Clone(m.entries)
	return &c
}

// batch makes n entries behind the last one, or from start on when the log is empty.
func (m *model) batch(n, size int, start uint64) []*raft.Log {
	next := start
	if m.last != 0 {
		next = m.last + 1
	}
	logs := make([]*raft.Log, n)
	for i := range logs {
		m.made++
		data := bytes.Repeat([]byte{byte(m.made), byte(m.made >> 8), 0, byte(size)}, size/4+1)[:size]
		logs[i] = &raft.Log{
			Index: next + uint64(i), Term: 1 + m.made/7, Type: raft.LogType(m.made % 3), Data: data,
			AppendedAt: time.Unix(1_700_000_000+int64(m.made), int64(m.made)).UTC(),
		}
		if m.made%5 == 0 {
			logs[i].Extensions = []byte{byte(m.made), 1, 2}
		}
	}
	return logs
}

func (m *model) store(logs []*raft.Log) {
	if m.last == 0 {
		m.first = logs[0].Index
	}
	for _, l := range logs {
		c := *l
		m.entries[l.Index], m.last = &c, l.Index
	}
}

func (m *model) delete(lo, hi uint64) {
	for i := max(lo, m.first); i <= min(hi, m.last); i++ {
		delete(m.entries, i)
	}
	switch {
	case len(m.entries) == 0:
		m.first, m.last = 0, 0
	case lo <= m.first:
		m.first = max(m.first, hi+1)
	case hi >= m.last:
		m.last = min(m.last, lo-1)
	}
}

// diff compares a store with the model: bounds, every entry, and the misses around them.
func (m *model) diff(s raft.LogStore) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	if first != m.first || last != m.last {
		return fmt.Errorf("bounds %d..%d, want %d..%d", first, last, m.first, m.last)
	}
	for i := m.first; i <= m.last && m.last != 0; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil {
			return fmt.Errorf("entry %d of %d..%d: %w", i, m.first, m.last, err)
		}
		if err := sameEntry(&l, m.entries[i]); err != nil {
			return fmt.Errorf("entry %d of %d..%d: %w", i, m.first, m.last, err)
		}
	}
	for _, i := range []uint64{0, m.first - 1, m.last + 1, m.last + 1000} {
		if m.entries[i] != nil {
			continue
		}
		// raft compares with ==.
		if err := s.GetLog(i, new(raft.Log)); err != raft.ErrLogNotFound { //nolint:errorlint // see above
			return fmt.Errorf("entry %d, which is not there: %w", i, err)
		}
	}
	return nil
}

func sameEntry(got, want *raft.Log) error {
	switch {
	case got.Index != want.Index || got.Term != want.Term || got.Type != want.Type:
		return fmt.Errorf("index %d term %d type %d, want %d %d %d", got.Index, got.Term, got.Type, want.Index, want.Term, want.Type)
	case !bytes.Equal(got.Data, want.Data):
		return fmt.Errorf("%d bytes of data, want %d others", len(got.Data), len(want.Data))
	case !bytes.Equal(got.Extensions, want.Extensions):
		return fmt.Errorf("extensions %q, want %q", got.Extensions, want.Extensions)
	case !got.AppendedAt.Equal(want.AppendedAt):
		return fmt.Errorf("appended at %v, want %v", got.AppendedAt, want.AppendedAt)
	}
	return nil
}
