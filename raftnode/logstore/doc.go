// SPDX-License-Identifier: Apache-2.0

// Package logstore keeps what one raft group must not forget: its log (Store) and its term and
// vote (VoteFile).
//
// Invariants.
//   - What a call acknowledged survives any crash; what it did not is there wholly or not at all,
//     and after an error that is not fatal not at all.
//   - The log is contiguous: an append goes behind the last entry, a deletion takes a prefix, a
//     suffix or everything.
//   - After a real I/O error nothing is trusted any more: the store is poisoned for the rest of the
//     process and says so once through Options.Fatal. Running out of space is no such error: the
//     refused append left nothing behind, and appends go on when there is space again.
//   - A torn tail, which only an append in flight can leave, is cut off by open. Any other damage
//     is refused with a DamageError that says what to do. One kind passes for a torn tail: rot within
//     the very last append, in bolt within the page that put the last call in force, while the process
//     is down.
//   - What open reads it makes durable before anybody acts on it: the cache may hold what a failed
//     sync never wrote.
//   - A vote and its term are one durable record.
//
// Every method of Store may be called from any goroutine at any time, as raft does: its main
// goroutine appends and cuts a suffix, the snapshot goroutine deletes a prefix meanwhile, and each
// replication goroutine reads. Writers wait for each other on channels, never on a mutex held over
// I/O, so that virtual-time tests can block on a slow disk.
//
// The package refuses to know what an entry means, which group it belongs to, and when to compact.
package logstore
