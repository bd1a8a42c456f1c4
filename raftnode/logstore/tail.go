// SPDX-License-Identifier: Apache-2.0

package logstore

import "github.com/hashicorp/raft"

// tail is the newest entries of a log: always its last ones without a gap, possibly none. Its owner
// locks.
type tail struct {
	limit   int64 // of bytes
	bytes   int64
	next    uint64 // index the next entry gets; the oldest held is next - len(entries)
	entries []tailEntry
}

type tailEntry struct {
	log  raft.Log // shares Data and Extensions with the entry that was stored
	size int64
}

// reset empties the tail before the entry next.
func (t *tail) reset(next uint64) {
	t.entries, t.bytes, t.next = nil, 0, next
}

// push appends the entry t.next.
func (t *tail) push(l *raft.Log, size int64) {
	t.entries = append(t.entries, tailEntry{*l, size})
	t.bytes += size
	t.next++
	t.trim()
}

// trim drops the oldest beyond the limit.
func (t *tail) trim() {
	for t.bytes > t.limit && len(t.entries) > 1 {
		t.dropFirst()
	}
}

// dropFirst leaves the front of the array to the next growth, which copies what is held alone.
func (t *tail) dropFirst() {
	t.bytes -= t.entries[0].size
	t.entries[0] = tailEntry{}
	t.entries = t.entries[1:]
}

// get is nil when the entry is not held. The result is valid while the lock is held.
func (t *tail) get(index uint64) *raft.Log {
	first := t.next - uint64(len(t.entries))
	if index < first || index >= t.next {
		return nil
	}
	return &t.entries[index-first].log
}

// dropBelow forgets the entries below index.
func (t *tail) dropBelow(index uint64) {
	for len(t.entries) > 0 && t.next-uint64(len(t.entries)) < index {
		t.dropFirst()
	}
}

// dropFrom forgets the entries from index on, which becomes the next.
func (t *tail) dropFrom(index uint64) {
	for len(t.entries) > 0 && t.next > index {
		last := len(t.entries) - 1
		t.bytes -= t.entries[last].size
		t.entries[last] = tailEntry{}
		t.entries = t.entries[:last]
		t.next--
	}
	t.next = index
}
