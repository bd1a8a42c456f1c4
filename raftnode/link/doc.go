// SPDX-License-Identifier: Apache-2.0

// Package link is the peer link: the one connection-oriented protocol nodes of a cluster speak
// with one another, on one listener per node.
//
// Invariants:
//
//   - Every (dialing node, target node, class) is at most one multiplexed connection. Requests
//     travel from the dialer to the acceptor only; the way back is a connection of its own.
//   - No request is handed to a handler before both sides agreed on cluster, recovery epoch,
//     class and on who each of them is.
//   - A call ends exactly once: with the answer to this very request, with an error that matches
//     ErrNotSent (no handler anywhere will ever see the request), with one that matches ErrLost
//     (a handler may have seen it), or with a RemoteError (the handler ran and refused).
//     Request ids are never used twice on a connection.
//   - A handler sees only complete requests.
//
// All methods may be called from any goroutine; handlers run on goroutines of their own, a
// bounded number per connection. Close joins every goroutine the link started, handlers
// included, so a handler must return soon after its context ends.
//
// The package refuses to know what the payloads mean, who is a member of the cluster, and
// whether a request may be repeated.
package link
