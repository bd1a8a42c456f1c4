// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
)

const (
	// DefaultSegmentBytes is the size of a log segment when Options name none.
	DefaultSegmentBytes = 16 << 20
	// DefaultTailBytes is how many bytes of newest entries stay in memory when Options name none.
	DefaultTailBytes = 32 << 20
	// MaxEntryBytes bounds the data and extensions of one entry.
	MaxEntryBytes = 60 << 20
	// MaxSegmentBytes bounds Options.SegmentBytes.
	MaxSegmentBytes = 1 << 30
)

// Options of OpenWAL and OpenBolt. The zero value is usable.
type Options struct {
	// SegmentBytes is the size at which a wal segment is closed, reserved on disk beforehand; 0 =
	// DefaultSegmentBytes. The last append may pass it. bolt has no segments.
	SegmentBytes int
	// TailBytes bounds the newest entries held in memory, from which a leader replicates without
	// reading its disk; 0 = DefaultTailBytes. The newest entry is held whatever its size. SetTailBytes
	// changes it.
	TailBytes int64
	// MustExist makes the opening of a log that is not there fail with a DamageError instead of making
	// it: for a replica that is known to have been here before.
	MustExist bool
	// Fatal is called once when the store is poisoned: the process should stop. It runs on the
	// goroutine that met the error and must be quick; nil = none.
	Fatal func(error)
	// Rand supplies the tag of a new wal; nil = the real one.
	Rand io.Reader
	// Logger takes what the store mends or leaves behind; nil = discard.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < 0 || o.SegmentBytes > MaxSegmentBytes {
		return o, fmt.Errorf("logstore: segment size %d is not in 1..%d", o.SegmentBytes, MaxSegmentBytes)
	}
	if o.TailBytes == 0 {
		o.TailBytes = DefaultTailBytes
	}
	if o.Fatal == nil {
		o.Fatal = func(error) {}
	}
	if o.Rand == nil {
		o.Rand = host.Real().Rand
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Store is the log of one group. Entries given to it must not be changed afterwards: the newest
// are kept in memory as they are, and GetLog hands out slices of them.
type Store interface {
	raft.LogStore
	// IsMonotonic tells raft that the log is contiguous: always true.
	IsMonotonic() bool
	// Bytes is what the entries held take in the log; space reserved but unused does not count.
	Bytes() uint64
	// StoreCalls counts appends that reached the disk, one sync each.
	StoreCalls() uint64
	// DiskReads counts entries that GetLog read from the disk, since memory no longer held them.
	DiskReads() uint64
	// SetTailBytes changes Options.TailBytes, and frees at once what is too much.
	SetTailBytes(bytes int64)
	// TailLimit tells the limit in force, in bytes.
	TailLimit() int64
	// Newest tells how many of the newest entries take at most so many bytes together.
	Newest(bytes uint64) (entries uint64)
	// Running describes the append that has waited longest for the disk, if any is under way.
	Running() (since time.Time, bytes int64, ok bool)
	// Overdue tells whether that append takes longer than grace plus its size at OverdueRate.
	Overdue(grace time.Duration) bool
	// Err is ErrPoisoned with its cause once the store is poisoned, else nil.
	Err() error
	// Close waits for calls under way; every later call returns ErrClosed.
	Close() error
}

// backend is a log on disk. Writers are called one at a time; get may run beside anything. An
// error that is not ErrNoSpace means the disk's content is unknown.
type backend interface {
	// load tells the bounds (0, 0 = empty) and the size of each entry between them.
	load() (first, last uint64, sizes []uint32, err error)
	get(index uint64, l *raft.Log) error
	// append takes a non-empty contiguous batch behind the last entry, durably.
	append(logs []*raft.Log) error
	// remove deletes a prefix, a suffix or everything; [lo, hi] lies within the bounds.
	remove(lo, hi uint64) error
	// entrySize is what load would tell of an entry.
	entrySize(l *raft.Log) int
	close() error
}

// store is what both backends share: order, bounds, the tail in memory, failure and measures.
type store struct {
	b    backend
	opts Options

	// turn holds one token: its owner may write.
	turn chan struct{}

	mu struct {
		sync.RWMutex // never held across I/O
		first, last  uint64
		sizes        []uint32 // of the entries first..last
		bytes        uint64   // sum of sizes
		tail         tail
		removals     uint64 // deletions begun
		closed       bool
	}
	poison  atomic.Pointer[error]
	calls   atomic.Uint64
	reads   atomic.Uint64
	running runList
}

var _ Store = (*store)(nil)

func newStore(b backend, opts Options) (*store, error) {
	s := &store{b: b, opts: opts, turn: make(chan struct{}, 1)}
	first, last, sizes, err := b.load()
	if err != nil {
		return nil, err
	}
	s.mu.first, s.mu.last, s.mu.sizes = first, last, sizes
	for _, n := range sizes {
		s.mu.bytes += uint64(n)
	}
	s.mu.tail.limit = opts.TailBytes
	s.mu.tail.reset(last + 1)
	return s, nil
}

// poisonWith gives the store up and reports the first cause.
func (s *store) poisonWith(cause error) error {
	err := fmt.Errorf("%w: %w", ErrPoisoned, cause)
	if s.poison.CompareAndSwap(nil, &err) {
		s.opts.Fatal(err)
	}
	return s.Err()
}

func (s *store) Err() error {
	if p := s.poison.Load(); p != nil {
		return *p
	}
	return nil
}

// usable needs mu.
func (s *store) usable() error {
	if s.mu.closed {
		return ErrClosed
	}
	return s.Err()
}

// enter takes the turn to write.
func (s *store) enter() error {
	s.turn <- struct{}{}
	s.mu.RLock()
	err := s.usable()
	s.mu.RUnlock()
	if err != nil {
		<-s.turn
	}
	return err
}

func (s *store) leave() { <-s.turn }

func (s *store) IsMonotonic() bool { return true }

func (s *store) StoreCalls() uint64 { return s.calls.Load() }

func (s *store) DiskReads() uint64 { return s.reads.Load() }

func (s *store) SetTailBytes(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.tail.limit = bytes
	s.mu.tail.trim()
}

func (s *store) TailLimit() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mu.tail.limit
}

func (s *store) Newest(bytes uint64) (entries uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, n := range slices.Backward(s.mu.sizes) {
		if uint64(n) > bytes {
			break
		}
		bytes -= uint64(n)
		entries++
	}
	return entries
}

func (s *store) Bytes() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mu.bytes
}

func (s *store) FirstIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mu.first, s.usable()
}

func (s *store) LastIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mu.last, s.usable()
}

// GetLog answers from memory where it can. A read from disk that fails while a deletion runs
// beside it is judged by the bounds afterwards.
func (s *store) GetLog(index uint64, l *raft.Log) error {
	for {
		s.mu.RLock()
		err, removals := s.usable(), s.mu.removals
		if err == nil && (s.mu.last == 0 || index < s.mu.first || index > s.mu.last) {
			err = raft.ErrLogNotFound
		}
		if e := s.mu.tail.get(index); err == nil && e != nil {
			*l = *e
			s.mu.RUnlock()
			return nil
		}
		s.mu.RUnlock()
		if err != nil {
			return err
		}
		s.reads.Add(1)
		err = s.b.get(index, l)
		if err == nil && l.Index != index {
			err = fmt.Errorf("entry %d was found at %d", l.Index, index)
		}
		if err == nil {
			return nil
		}
		s.mu.RLock()
		again := s.mu.removals != removals || s.mu.closed
		s.mu.RUnlock()
		if !again {
			return s.poisonWith(fmt.Errorf("read entry %d: %w", index, err))
		}
	}
}

func (s *store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return s.Err()
	}
	var bytes int64
	for i, l := range logs {
		if n := len(l.Data) + len(l.Extensions); n > MaxEntryBytes {
			return fmt.Errorf("%w: entry %d has %d bytes", ErrTooLarge, l.Index, n)
		}
		if l.Index == 0 || l.Index != logs[0].Index+uint64(i) {
			return fmt.Errorf("%w: append of %d at place %d of a batch from %d", ErrGap, l.Index, i, logs[0].Index)
		}
		bytes += int64(s.b.entrySize(l))
	}
	run := s.running.begin(bytes)
	defer s.running.end(run)
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if last := s.mu.last; last != 0 && logs[0].Index != last+1 { // only writers change last
		return fmt.Errorf("%w: append of %d behind %d", ErrGap, logs[0].Index, last)
	}
	s.calls.Add(1)
	if err := s.b.append(logs); errors.Is(err, ErrNoSpace) {
		return err
	} else if err != nil {
		return s.poisonWith(fmt.Errorf("append: %w", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.last == 0 {
		s.mu.first = logs[0].Index
		s.mu.tail.reset(logs[0].Index)
	}
	s.mu.last = logs[len(logs)-1].Index
	s.mu.bytes += uint64(bytes)
	for _, l := range logs {
		n := s.b.entrySize(l)
		s.mu.sizes = append(s.mu.sizes, uint32(n))
		s.mu.tail.push(l, int64(n))
	}
	return nil
}

// DeleteRange narrows the bounds before it touches the disk, so that no reader goes for what is on
// its way out, and puts them back when the disk refused.
func (s *store) DeleteRange(lo, hi uint64) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	first, last := s.mu.first, s.mu.last
	if lo > hi || last == 0 || hi < first || lo > last {
		return nil
	}
	lo, hi = max(lo, first), min(hi, last)
	if lo != first && hi != last {
		return fmt.Errorf("%w: deletion of %d..%d from %d..%d", ErrGap, lo, hi, first, last)
	}
	sizes, bytes := s.mu.sizes, s.mu.bytes
	gone := sum(sizes[lo-first : hi+1-first])
	s.mu.Lock()
	s.mu.removals++
	switch {
	case lo == first && hi == last:
		s.mu.first, s.mu.last, s.mu.sizes = 0, 0, nil
		s.mu.tail.reset(last + 1)
	case lo == first:
		s.mu.first, s.mu.sizes = hi+1, sizes[hi+1-first:]
		s.mu.tail.dropBelow(hi + 1)
	default:
		s.mu.last, s.mu.sizes = lo-1, sizes[:lo-first]
		s.mu.tail.dropFrom(lo)
	}
	s.mu.bytes = bytes - gone
	s.mu.Unlock()
	err := s.b.remove(lo, hi)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	s.mu.removals++
	s.mu.first, s.mu.last, s.mu.sizes, s.mu.bytes = first, last, sizes, bytes
	if hi == last {
		s.mu.tail.reset(last + 1)
	}
	s.mu.Unlock()
	if errors.Is(err, ErrNoSpace) {
		return err
	}
	return s.poisonWith(fmt.Errorf("delete: %w", err))
}

func sum(sizes []uint32) (total uint64) {
	for _, n := range sizes {
		total += uint64(n)
	}
	return total
}

func (s *store) Close() error {
	s.turn <- struct{}{}
	defer s.leave()
	s.mu.Lock()
	was := s.mu.closed
	s.mu.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	return s.b.close()
}
