// SPDX-License-Identifier: Apache-2.0

// Package rdb reads and writes values as DUMP and RESTORE of Redis have them: version 10 of its file format, which
// Redis 7.0 writes, and the encodings of older versions. Streams and modules are not among them.
//
// Invariants. A reader is total: whatever the payload, it ends with items or an error, never looks outside of the
// payload, and takes no more memory than the payload has bytes times lzfMost, nor more than Limits allow. Every item that
// it gives was checked before, but for being given twice. What Append functions make, Read takes, and so does Redis.
//
// Functions are pure; a Codec never changes, and any goroutine may use it. The package knows nothing of keys, deadlines
// and the store.
package rdb
