// SPDX-License-Identifier: Apache-2.0

// Package client talks to a Kvorum cluster over its native TCP protocol.
//
// Dial returns a Client that any number of goroutines share. It keeps connections to the nodes, knows
// which node leads which slot and sends each command straight there; any node answers any key, so a
// client that knows nothing, or knows it wrongly, loses a hop and no more.
//
// Invariants. A command whose call returned without a delivery error was applied exactly once. An
// error that matches ErrNotApplied says that the command was not applied and never will be; one that
// matches ErrUnknown says that it may have been, or may be later. The Client tries again by itself
// only where that cannot apply a command twice: reads, whatever was certainly not applied, and writes
// of one slot, which carry a token that the servers remember. Any other write is never sent again
// once its outcome is unknown.
//
// Three ways to call: the methods of Client wait for the answer; Client.Go returns a Future at once,
// with the same care for retries and no promise about order; a Pipeline returns Futures whose
// commands on one key run in the order they were issued, and never tries again. A Conn is one bare
// connection for one goroutine, without retries, as cheap as the protocol allows.
//
// Client, Future and Pipeline may be used by any goroutine; a Conn by one at a time. Close ends every
// goroutine that the Client started.
//
// The package knows the wire and nothing of the server's inside; it imports the standard library and
// client/wire only.
package client
