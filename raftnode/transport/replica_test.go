// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// logStore is raft's in-memory log with a slow, failing or hanging disk.
type logStore struct {
	*raft.InmemStore
	delay atomic.Int64 // nanoseconds per StoreLogs; set in virtual time alone
	fails atomic.Int64 // further StoreLogs that fail
	// busySince is the time in nanoseconds at which the running StoreLogs began, 0 for none.
	busySince atomic.Int64

	mu struct {
		sync.Mutex
		hang chan struct{}
	}
}

var errDisk = errors.New("disk fails")

func (s *logStore) StoreLogs(logs []*raft.Log) error {
	s.busySince.Store(time.Now().UnixNano())
	defer s.busySince.Store(0)
	s.slow()
	s.mu.Lock()
	hang := s.mu.hang
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if s.fails.Load() > 0 {
		s.fails.Add(-1)
		return errDisk
	}
	return s.InmemStore.StoreLogs(logs)
}

func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// hang makes StoreLogs wait until release is called.
func (s *logStore) hang() (release func()) {
	c := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.hang = c
	return func() {
		s.mu.Lock()
		s.mu.hang = nil
		s.mu.Unlock()
		close(c)
	}
}

func (s *logStore) overdue() bool {
	since := s.busySince.Load()
	return since != 0 && time.Now().UnixNano()-since > int64(time.Second)
}

// stableStore records the terms written and can hold one write back.
type stableStore struct {
	*raft.InmemStore
	mu struct {
		sync.Mutex
		terms []uint64
		hold  map[uint64]chan struct{}
	}
}

func (s *stableStore) SetUint64(key []byte, v uint64) error {
	if string(key) == "CurrentTerm" {
		s.mu.Lock()
		hold := s.mu.hold[v]
		s.mu.Unlock()
		if hold != nil {
			<-hold
		}
		s.mu.Lock()
		s.mu.terms = append(s.mu.terms, v)
		s.mu.Unlock()
	}
	return s.InmemStore.SetUint64(key, v)
}

// holdTerm makes the write of this term wait until release is called.
func (s *stableStore) holdTerm(term uint64) (release func()) {
	c := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.hold = map[uint64]chan struct{}{term: c}
	return func() { close(c) }
}

func (s *stableStore) terms() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]uint64(nil), s.mu.terms...)
}

// machine records what was applied: entry i of the state is the data of the i-th command.
type machine struct {
	applied atomic.Uint64
	// changed has room for one token: something was applied or restored.
	changed chan struct{}

	mu struct {
		sync.Mutex
		State   []string
		indexes []uint64
		// restored lists the length of the state at each restore, before and after.
		restored []string
	}
}

func (m *machine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.State = append(m.mu.State, fmt.Sprintf("%d:%.16s", l.Index, l.Data))
	m.mu.indexes = append(m.mu.indexes, l.Index)
	m.applied.Store(l.Index)
	m.wake()
	return nil
}

func (m *machine) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(m.mu.State)
	return frozen(b), err
}

func (m *machine) Restore(r io.ReadCloser) error {
	var state []string
	if err := json.NewDecoder(r).Decode(&state); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.restored = append(m.mu.restored, fmt.Sprintf("%d->%d", len(m.mu.State), len(state)))
	m.mu.State = state
	var index uint64
	if len(state) > 0 {
		_, _ = fmt.Sscanf(state[len(state)-1], "%d:", &index)
	}
	m.applied.Store(index)
	m.wake()
	return nil
}

func (m *machine) state() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.mu.State...)
}

func (m *machine) restores() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.mu.restored...)
}

type frozen []byte

func (f frozen) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(f); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (f frozen) Release() {}

// snapStore keeps complete snapshots, newest first.
type snapStore struct {
	mu struct {
		sync.Mutex
		kept []*snapSink
	}
}

type snapSink struct {
	bytes.Buffer
	store *snapStore
	meta  raft.SnapshotMeta
}

func (s *snapStore) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, cIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &snapSink{store: s, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, time.Now().UnixNano()),
		Index: index, Term: term, Configuration: c, ConfigurationIndex: cIndex,
	}}, nil
}

func (s *snapStore) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*raft.SnapshotMeta
	for _, k := range s.mu.kept {
		out = append(out, &k.meta)
	}
	return out, nil
}

func (s *snapStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.mu.kept {
		if k.meta.ID == id {
			return &k.meta, io.NopCloser(bytes.NewReader(k.Bytes())), nil
		}
	}
	return nil, nil, errors.New("no such snapshot")
}

func (s *snapStore) newest() (index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.kept) == 0 {
		return 0, 0
	}
	return s.mu.kept[0].meta.Index, s.mu.kept[0].meta.Term
}

func (k *snapSink) ID() string    { return k.meta.ID }
func (k *snapSink) Cancel() error { return nil }

func (k *snapSink) Close() error {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	k.meta.Size = int64(k.Len())
	kept := []*snapSink{k}
	for _, old := range k.store.mu.kept {
		if len(kept) < 2 {
			kept = append(kept, old)
		}
	}
	k.store.mu.kept = kept
	return nil
}

// replica is one raft instance with its stores.
type replica struct {
	id     raft.ServerID
	raft   *raft.Raft
	logs   *logStore
	stable *stableStore
	snaps  *snapStore
	fsm    *machine
	// sizes wraps the transport raft was given; ours is that transport, nil if it is raft's own.
	sizes *appendSizes
	ours  *Transport
}

func newReplica(id raft.ServerID) *replica {
	return &replica{
		id: id, logs: &logStore{InmemStore: raft.NewInmemStore()},
		stable: &stableStore{InmemStore: raft.NewInmemStore()},
		snaps:  &snapStore{}, fsm: &machine{changed: make(chan struct{}, 1)},
	}
}

func raftConfig(id raft.ServerID) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = id
	c.HeartbeatTimeout = 400 * time.Millisecond
	c.ElectionTimeout = c.HeartbeatTimeout
	c.LeaderLeaseTimeout = c.HeartbeatTimeout
	c.CommitTimeout = 50 * time.Millisecond
	c.SnapshotInterval, c.SnapshotThreshold = 24*time.Hour, 1<<62
	c.TrailingLogs = 2
	c.ShutdownOnRemove = false
	c.Logger = hclog.NewNullLogger()
	return c
}

func (r *replica) start(t *testing.T, trans raft.Transport) {
	t.Helper()
	var err error
	r.sizes = &appendSizes{Transport: trans}
	r.raft, err = raft.NewRaft(raftConfig(r.id), r.fsm, r.logs, r.stable, r.snaps, r.sizes)
	if err != nil {
		t.Fatal(err)
	}
	if tr, ok := trans.(*Transport); ok {
		r.ours = tr
		tr.Attach(r.hooks())
	}
}

func (r *replica) stop(t *testing.T) {
	t.Helper()
	if err := r.sizes.Close(); err != nil {
		t.Error(err)
	}
	if err := r.raft.Shutdown().Error(); err != nil {
		t.Error(err)
	}
}

// appendSizes notes the largest append that raft handed over, and the largest of several entries
// that was left of one when the call returned.
type appendSizes struct {
	raft.Transport
	mu struct {
		sync.Mutex
		given, sent int
		unpiped     bool
	}
}

func (s *appendSizes) AppendEntries(id raft.ServerID, addr raft.ServerAddress, a *raft.AppendEntriesRequest, r *raft.AppendEntriesResponse) error {
	given := entryBytes(a)
	err := s.Transport.AppendEntries(id, addr, a, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.given = max(s.mu.given, given)
	if len(a.Entries) > 1 {
		s.mu.sent = max(s.mu.sent, entryBytes(a))
	}
	return err
}

func entryBytes(a *raft.AppendEntriesRequest) (n int) {
	for _, e := range a.Entries {
		n += len(e.Data)
	}
	return n
}

// unpipe makes raft send all appends through AppendEntries from now on.
func (s *appendSizes) unpipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.unpiped = true
}

func (s *appendSizes) AppendEntriesPipeline(id raft.ServerID, addr raft.ServerAddress) (raft.AppendPipeline, error) {
	s.mu.Lock()
	unpiped := s.mu.unpiped
	s.mu.Unlock()
	if unpiped {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	return s.Transport.AppendEntriesPipeline(id, addr)
}

func (s *appendSizes) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, a *raft.RequestPreVoteRequest, r *raft.RequestPreVoteResponse) error {
	return s.Transport.(raft.WithPreVote).RequestPreVote(id, addr, a, r)
}

func (s *appendSizes) Close() error { return s.Transport.(raft.WithClose).Close() }

func (s *appendSizes) seen() (given, sent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.given, s.mu.sent
}

func (r *replica) hooks() Hooks {
	return Hooks{
		Term: r.raft.CurrentTerm,
		Leader: func() raft.ServerID {
			_, id := r.raft.LeaderWithID()
			return id
		},
		HasConfiguration: func() bool {
			return len(r.raft.GetConfiguration().Configuration().Servers) > 0
		},
		LocalSnapshot: r.snaps.newest,
		Applied:       r.raft.AppliedIndex,
		HasEntry: func(index, term uint64) bool {
			var l raft.Log
			return r.logs.GetLog(index, &l) == nil && l.Term == term
		},
	}
}

// servers is a configuration of voters.
func servers(ids ...raft.ServerID) raft.Configuration {
	var c raft.Configuration
	for _, id := range ids {
		c.Servers = append(c.Servers, raft.Server{ID: id, Address: raft.ServerAddress(id)})
	}
	return c
}
