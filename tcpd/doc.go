// SPDX-License-Identifier: Apache-2.0

// Package tcpd accepts stream connections and runs one loop for each: read, hand all complete
// commands to the protocol's Session, let it write its replies in one go, read again. The protocols
// live in the folders below.
//
// Invariants. A connection is served by exactly one goroutine, which calls Session.Serve one call
// at a time. Memory for unread bytes is bounded: up to BaseBuffer a connection, beyond that by a
// Budget that all connections share, taken for a whole command before any of it is kept. A peer
// that stops in the middle of a command, or stops reading its replies, is disconnected after
// StallTimeout; it never holds up another connection. When Shutdown or Close returned, every
// goroutine that this package started has ended.
//
// Server's methods may be called from any goroutine; what a Conn allows is said at its methods.
//
// The package refuses to know what the bytes mean and where listeners come from.
package tcpd
