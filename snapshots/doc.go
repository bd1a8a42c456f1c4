// SPDX-License-Identifier: Apache-2.0

// Package snapshots writes and reads snapshot files: a stream of checked, compressed sections, and
// a folder of complete streams with atomic creation and retention. DESIGN.md has the bytes.
//
// Invariant: a reader never returns a byte that its writer did not write. Every bit is under a
// checksum, a stream ends in a footer or is refused, and a file appears in a folder complete and
// durable or not at all.
//
// A Writer, Reader or Pending belongs to one goroutine; a Dir may be called from any.
//
// The package refuses to know what sections mean, who takes snapshots when, and Raft beyond the
// numbers in Meta.
package snapshots
