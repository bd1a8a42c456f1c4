// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/snapshots"
)

// snapStore is a group's snapshots.Dir as raft sees it. It adds two rules: a snapshot that is not
// newer than the newest one is refused, when it is begun and when it ends, so that state never goes back;
// and a snapshot that came from another node is verified as a whole before it counts.
type snapStore struct {
	g   *Group
	dir *snapshots.Dir
	// readers counts open snapshots: while one is being shipped, the log behind it is kept.
	readers atomic.Int32
	// turn is held by the sink that ends, and kept for one of this node's own until settle: raft notes it as
	// its last one only behind Close, and would do so over a newer one that was installed in between.
	turn chan struct{}
	kept atomic.Bool

	mu struct {
		sync.Mutex
		// index, term and size are the newest snapshot's.
		index, term uint64
		size        int64
	}
}

var _ raft.SnapshotStore = (*snapStore)(nil)

// newest describes the newest snapshot; the zero value when there is none.
func (s *snapStore) newest() (raft.SnapshotMeta, error) {
	list, err := s.List()
	if err != nil || len(list) == 0 {
		return raft.SnapshotMeta{}, err
	}
	return *list[0], nil
}

// load reads what newest says into memory.
func (s *snapStore) load() error {
	m, err := s.newest()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.index, s.mu.term, s.mu.size = m.Index, m.Term, m.Size
	return nil
}

// local tells index and term of the newest snapshot without a look at the disk.
func (s *snapStore) local() (index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.index, s.mu.term
}

// size tells the bytes of the newest snapshot.
func (s *snapStore) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.size
}

// Create implements raft.SnapshotStore.
func (s *snapStore) Create(_ raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	s.g.n.yield("raftnode.snapshot")
	newest, err := s.newest()
	if err != nil {
		return nil, err
	}
	if index <= newest.Index {
		return nil, fmt.Errorf("raftnode: snapshot at %d is not newer than the one at %d", index, newest.Index)
	}
	cluster, _ := s.g.n.Cluster()
	p, err := s.dir.Create(snapshots.Meta{
		Index: index, Term: term, Group: s.g.id, Cluster: cluster,
		Configuration: raft.EncodeConfiguration(configuration), ConfigurationIndex: configurationIndex,
	})
	if err != nil {
		return nil, fmt.Errorf("raftnode: create snapshot: %w", err)
	}
	return &snapSink{store: s, pending: p, index: index, term: term}, nil
}

// List implements raft.SnapshotStore.
func (s *snapStore) List() ([]*raft.SnapshotMeta, error) {
	list, err := s.dir.List()
	if err != nil {
		return nil, fmt.Errorf("raftnode: list snapshots: %w", err)
	}
	cluster, _ := s.g.n.Cluster()
	out := make([]*raft.SnapshotMeta, 0, len(list))
	for i := range list {
		if list[i].Cluster != cluster || list[i].Group != s.g.id {
			return nil, fmt.Errorf("raftnode: snapshot %s: %w", list[i].ID, ErrOtherCluster)
		}
		out = append(out, raftMeta(&list[i]))
	}
	return out, nil
}

// settle lets the next snapshot end: raft has noted this node's own, or never will. It is called when
// raft.Snapshot has ended, which needs neither raft's main loop nor the next snapshot.
func (s *snapStore) settle() {
	if s.kept.Swap(false) {
		<-s.turn
	}
}

// Open implements raft.SnapshotStore.
func (s *snapStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, r, err := s.dir.Open(id)
	if err != nil {
		return nil, nil, fmt.Errorf("raftnode: open snapshot: %w", err)
	}
	if err := s.covered(m.Index); err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	s.readers.Add(1)
	meta := raftMeta(&m)
	return meta, &snapReader{ReadSeekCloser: r, store: s, meta: meta}, nil
}

// covered refuses, at start, to fall back to a snapshot from which the log does not lead to the newest
// one: the state would go back.
func (s *snapStore) covered(index uint64) error {
	newest, _ := s.local()
	if index >= newest || s.g.inst.Load() != nil {
		return nil
	}
	first, err := s.g.logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("raftnode: read log: %w", err)
	}
	last, err := s.g.logs.LastIndex()
	if err != nil {
		return fmt.Errorf("raftnode: read log: %w", err)
	}
	if first == 0 || first > index+1 || last < newest {
		return fmt.Errorf("%w: snapshot %d cannot be read, and entries %d to %d do not lead there from snapshot %d",
			ErrDataLost, newest, first, last, index)
	}
	return nil
}

func raftMeta(m *snapshots.Meta) *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: m.ID, Index: m.Index, Term: m.Term,
		Configuration:      raft.DecodeConfiguration(m.Configuration),
		ConfigurationIndex: m.ConfigurationIndex, Size: m.Size,
	}
}

// snapSink is a snapshot being written, by one goroutine. What another node sent is verified on its
// way: raft puts it in place before the machine looks at it, and a damaged snapshot in the newest place
// would keep sound ones out.
type snapSink struct {
	store       *snapStore
	pending     *snapshots.Pending
	index, term uint64
	// own: this node's machine writes it, so there is nothing to verify.
	own   bool
	check *checker
	over  bool
}

// Write implements raft.SnapshotSink. It fails once the instance is closing, since raft's shutdown waits
// for whoever writes: the snapshot is given up, and raft cancels it.
func (s *snapSink) Write(p []byte) (int, error) {
	if in := s.store.g.inst.Load(); in != nil && in.closing.Load() {
		return 0, fmt.Errorf("raftnode: write snapshot: %w", ErrClosed)
	}
	if !s.own {
		if s.check == nil {
			s.check = newChecker()
		}
		if _, err := s.check.w.Write(p); err != nil {
			return 0, fmt.Errorf("raftnode: received snapshot: %w", err)
		}
	}
	return s.pending.Write(p)
}

// ID implements raft.SnapshotSink.
func (s *snapSink) ID() string { return s.pending.ID() }

// Close commits the snapshot; it is durable and listed when Close returns nil. It fails when a newer one was
// there first.
func (s *snapSink) Close() error {
	if s.over {
		return nil
	}
	s.over = true
	if !s.own {
		if err := s.check.close(nil); err != nil {
			return errors.Join(fmt.Errorf("raftnode: received snapshot: %w", err), s.pending.Abort())
		}
	}
	s.store.turn <- struct{}{}
	if s.own {
		s.store.kept.Store(true)
	} else {
		defer func() { <-s.store.turn }()
	}
	if newest, _ := s.store.local(); s.index <= newest {
		err := fmt.Errorf("raftnode: snapshot at %d was overtaken by the one at %d", s.index, newest)
		return errors.Join(err, s.pending.Abort())
	}
	size := s.pending.Size()
	if err := s.pending.Commit(); err != nil {
		return fmt.Errorf("raftnode: commit snapshot: %w", err)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.mu.index, s.store.mu.term, s.store.mu.size = s.index, s.term, size
	return nil
}

// Cancel implements raft.SnapshotSink.
func (s *snapSink) Cancel() error {
	if s.over {
		return nil
	}
	s.over = true
	_ = s.check.close(errCancelled)
	return s.pending.Abort()
}

var errCancelled = errors.New("cancelled")

// checker inspects a stream as it is written.
type checker struct {
	w    *io.PipeWriter
	done chan error
}

func newChecker() *checker {
	r, w := io.Pipe()
	c := &checker{w: w, done: make(chan error, 1)}
	go func() {
		_, err := snapshots.Inspect(r)
		_ = r.CloseWithError(err) // a nil err makes further writes fail: nothing may follow the footer
		c.done <- err
	}()
	return c
}

// close ends the stream, joins the goroutine and returns its verdict.
func (c *checker) close(err error) error {
	if c == nil {
		return snapshots.ErrCorrupt // nothing was written at all
	}
	_ = c.w.CloseWithError(err)
	return <-c.done
}

// snapReader is an open snapshot.
type snapReader struct {
	io.ReadSeekCloser
	store  *snapStore
	meta   *raft.SnapshotMeta
	closed atomic.Bool
}

// Close implements io.Closer.
func (r *snapReader) Close() error {
	if !r.closed.CompareAndSwap(false, true) {
		return nil
	}
	r.store.readers.Add(-1)
	return r.ReadSeekCloser.Close()
}

// unwrap finds the snapshot behind a reader that raft passes on, wrapped or not.
func unwrap(r io.ReadCloser) (*snapReader, bool) {
	for {
		switch v := r.(type) {
		case *snapReader:
			return v, true
		case raft.ReadCloserWrapper:
			r = v.WrappedReadCloser()
		default:
			return nil, false
		}
	}
}
