// SPDX-License-Identifier: Apache-2.0

// Package native speaks Kvorum's own TCP protocol, versions 1 and 2, on one port. The bytes are
// described in client/wire; this package turns them into router calls and replies.
//
// Invariants. Every request that was read gets exactly one answer, or the connection ends. Replies
// of version 1, and of version 2 without the concurrent feature, come in the order of the requests.
// With it, requests that carry the ordered flag run in the order they were sent, all others at the
// same time as anything else; at most MaxInFlight of them are unanswered, beyond that the socket is
// not read. An answer never says "not applied" of a command that may have been applied.
//
// Replies are not collected: at most flushAt bytes of small ones are gathered before they are written, and
// a large one is written from where it is, without a copy. What the router hands over is written, or its
// connection has failed, when it is told that the memory is free again.
//
// A session belongs to its connection's goroutine; with the concurrent feature it owns worker
// goroutines, which Close joins. A Handler may be used by any number of servers and goroutines.
//
// The package refuses to know groups beyond their number, consensus and storage: one call to the
// Router per batch, one function from outcomes to bytes (appendResult, appendV1Outcome), one from
// delivery errors (failureOf).
package native
