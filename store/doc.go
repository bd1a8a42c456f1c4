// SPDX-License-Identifier: Apache-2.0

// Package store is the keyspace of one shard group: 16,384 slots of typed entries with deadlines,
// versions, memory accounting, client tokens and frozen views.
//
// Invariant: everything a caller can see, but recency, is a function of the write calls made so
// far and of Config.HashKey. No map order, address, allocator, clock or dice shows: two stores
// that saw the same writes answer alike, digest alike and encode sections that load alike, also
// after a section went through another store.
//
// # Goroutines and locks
//
// The caller takes the lock of a slot itself, with Lock or RLock, around the calls that say so;
// slices and handles (Ref, List, Hash) alias the store and are valid only while that lock is held.
// One goroutine writes (the group's apply goroutine); any number read. Methods that do not mention
// a lock take what they need themselves and must be called with no slot lock held.
//
// Lock order: slots in ascending order, then the index of deadlines (dueIndex.mu). Nothing else is
// taken under either, but views.mu, which is a leaf. The sampler's scratch lock is taken before any
// slot lock, and only by Sample.
//
// # Visible order
//
// Lists keep their order. Small hashes keep insertion order; past HashSmallFields fields, or with a
// field or value over HashSmallBytes, a hash turns large for good and iterates in order of the keyed
// hash of its fields. Keys of a slot are scanned in order of the keyed hash as well. The keyed hash
// is SipHash-1-3 under Config.HashKey, which is cluster state.
//
// # Logical bytes
//
// An entry costs its key bytes + its value bytes + overhead, where
//
//	overhead = EntryOverhead
//	         + DeadlineOverhead          if it has a deadline
//	         + CollectionOverhead + n × ElementOverhead     for a list of n elements
//	         + CollectionOverhead + n × FieldOverhead       for a hash of n fields
//
// and value bytes are the bytes of the string, of all elements, or of all fields and values. A token
// record costs TokenOverhead + the bytes of its reply. The formula is part of the replicated state's
// meaning: it decides who is evicted and who is refused, so it is the same on every node.
//
// # What this package refuses to know
//
// Commands, logs, groups, time of day. A deadline is a number the caller compares with a number it
// passes; a version is a number the caller hands out.
package store
