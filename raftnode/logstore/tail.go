// SPDX-License-Identifier: Apache-2.0

package logstore

import "github.com/hashicorp/raft"

// tail is the newest entries of a log: always its last ones without a gap, possibly none. Its owner
// locks.
type tail struct {
	limit int64 // of bytes
	bytes int64
	next  uint64 // index the next entry gets; the oldest held is next - held()
	// array[head:] are the entries. The places before them are used again once they are a third of the array.
	array []tailEntry
	head  int
}

type tailEntry struct {
	log  raft.Log // shares Data and Extensions with the entry that was stored
	size int64
}

// tailCost is what an entry takes in memory beside its bytes in the log: its place in the array, that of a
// free one now and then, and what the allocation of its data is rounded up by.
const tailCost = 192

func (t *tail) held() int { return len(t.array) - t.head }

// reset empties the tail before the entry next.
func (t *tail) reset(next uint64) {
	t.array, t.head, t.bytes, t.next = nil, 0, 0, next
}

// push appends the entry t.next, which takes size bytes in the log.
func (t *tail) push(l *raft.Log, size int64) {
	if len(t.array) == cap(t.array) && 3*t.head > len(t.array) {
		n := copy(t.array, t.array[t.head:])
		clear(t.array[n:])
		t.array, t.head = t.array[:n], 0
	}
	t.array = append(t.array, tailEntry{*l, size + tailCost})
	t.bytes += size + tailCost
	t.next++
	t.trim()
}

// trim drops the oldest beyond the limit.
func (t *tail) trim() {
	for t.bytes > t.limit && t.held() > 1 {
		t.dropFirst()
	}
}

func (t *tail) dropFirst() {
	t.bytes -= t.array[t.head].size
	t.array[t.head] = tailEntry{}
	t.head++
}

// get is nil when the entry is not held. The result is valid while the lock is held.
func (t *tail) get(index uint64) *raft.Log {
	first := t.next - uint64(t.held())
	if index < first || index >= t.next {
		return nil
	}
	return &t.array[t.head+int(index-first)].log
}

// dropBelow forgets the entries below index.
func (t *tail) dropBelow(index uint64) {
	for t.held() > 0 && t.next-uint64(t.held()) < index {
		t.dropFirst()
	}
}

// dropFrom forgets the entries from index on, which becomes the next.
func (t *tail) dropFrom(index uint64) {
	for t.held() > 0 && t.next > index {
		last := len(t.array) - 1
		t.bytes -= t.array[last].size
		t.array[last] = tailEntry{}
		t.array = t.array[:last]
		t.next--
	}
	t.next = index
}
