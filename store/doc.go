// SPDX-License-Identifier: Apache-2.0

// Package store is the keyspace of one shard group: 16,384 slots of typed entries with deadlines,
// versions, memory accounting, client tokens and frozen views.
//
// Invariant: everything a caller can see, but recency, is a function of the write calls made so
// far and of Config.HashKey. No map order, address, allocator, clock or dice shows: two stores
// that saw the same writes answer alike, digest alike and encode sections that load alike, also
// after a section went through another store.
//
// # Memory
//
// A slot is a directory of segments by the keyed hash of the key (table.go); a segment is a sorted array
// of words, one a key (segment.go); a word leads to a node, which is header, key and value in one block
// of the arena (node.go, package arena). Strings and small collections live in their node, so that the
// garbage collector sees neither keys nor values; a large collection is an object of package
// collections, which the node numbers (objects.go). DESIGN.md has the reasons and the figures.
//
// # Goroutines and locks
//
// The caller takes the lock of a slot itself, with Lock or RLock, around the calls that say so;
// slices and handles (Ref, and the collections it gives) alias the store and are valid only while that
// lock is held. One goroutine writes (the group's apply goroutine), and only it calls the arena; any number
// read. The goroutine of a view captures segments under the slot's write lock and then reads nodes
// without any (view.go). Methods that do not mention a lock take what they need themselves and must be
// called with no slot lock held.
//
// Lock order: slots in ascending order, then the index of deadlines (dueIndex.mu). Nothing else is
// taken under either, but views.mu, garbage.mu and the parking of slots, which are leaves. The sampler's
// scratch lock is taken before any slot lock, and only by Sample.
//
// # Visible order
//
// Lists keep their order. Packed hashes and sets keep insertion order; past their limits (package
// collections) they turn large for good and iterate in order of the keyed hash of their fields. Keys of a
// slot are scanned in order of the keyed hash as well, and keys with one deadline die in that order. The
// keyed hash is SipHash-1-3 under Config.HashKey, which is cluster state.
//
// # Logical bytes
//
// An entry costs its key bytes + its value bytes + overhead, where
//
//	overhead = EntryOverhead
//	         + DeadlineOverhead          if it has a deadline
//	         + CollectionOverhead + n × ElementOverhead     for a list of n elements
//	         + CollectionOverhead + n × FieldOverhead       for a hash of n fields
//	         + CollectionOverhead + n × MemberOverhead      for a set of n members
//	         + CollectionOverhead + n × ScoreOverhead       for a sorted set of n members
//
// and value bytes are the bytes of the string, of all elements, or of all fields and values. A token
// record costs TokenOverhead + the bytes of its reply, and is counted by itself. The formula is part of the replicated state's
// meaning: it decides who is evicted and who is refused, so it is the same on every node.
//
// # What this package refuses to know
//
// Commands, logs, groups, time of day. A deadline is a number the caller compares with a number it
// passes; a version is a number the caller hands out.
package store
