// SPDX-License-Identifier: Apache-2.0

// Package collections holds the values of lists, hashes, sets and sorted sets, each in one of two forms:
// packed, bytes that stand in the store's node, and large, an object of its own.
//
// Invariant: all that can be read of a collection, its Sum and its encoding are a function of the changes
// made to it and of the cluster's hash key. No address, map order, clock or dice shows.
//
// # Reading and writing
//
// List, Hash, Set and ZSet are read by value, without allocating, from either form; what they return aliases
// the bytes or the object and is valid while those stand still. ListEdit, HashEdit, SetEdit and ZSetEdit
// change a collection: an edit begins on packed bytes, on a large object or on nothing, and ends as one
// form or as nothing. One goroutine owns an edit and reuses it; it keeps nothing that End returned but its
// scratch, which the next Begin writes over. Arguments of a change are copied; they must not alias what is
// edited, but may be what the edit's last pop returned.
//
// # Forms
//
// A list is packed up to ListSmallElements elements and ListSmallBytes bytes, a sorted set up to
// SmallFields members of SmallBytes. Both show the same in either form, may return to packed when they
// shrink, and have the same Sum in both: the form is no part of the logical state. A hash or set is packed
// while it never had more than SmallFields fields or members nor one, nor a value, longer than SmallBytes.
// Packed it keeps insertion order; large it is in the order of the keyed hash. That shows, so large is for
// good, Sum differs between the forms, and the encoding tells the form.
//
// # Goroutines
//
// A large object has one writer at a time, and no reader while it is written. Fork makes a second object of
// the same content, which shares pages with the first until either changes them: a change copies what it
// touches. So one goroutine may read an object, without a lock, while another writes its fork. Fork counts
// as a read of the object for readers, and as a write for writers.
//
// # Sums
//
// Sum is a fingerprint against mistakes, not against forgers. Both ends of a comparison must run the same
// formulas: the hash of an item, the layout of packed hashes and sets (packed.go), and the polynomial of
// lists (polynomial.go) never change.
//
// # What this package refuses to know
//
// Keys, slots, versions, deadlines, commands, the arena, what a byte costs.
package collections
