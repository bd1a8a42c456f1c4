// SPDX-License-Identifier: Apache-2.0

// Package resp speaks the protocol of Redis 7, RESP2 and RESP3, so that its clients and tools work
// unchanged: it turns bytes into router calls and results into replies, and answers by itself the
// commands that concern connections and servers.
//
// Invariants. Every command that was read gets its one reply (or none, where CLIENT REPLY says so), in
// the order of the commands, or the connection ends. No limit of the parser is checked after memory was
// taken for what it limits; what a peer announces costs nothing, what it sends is bounded by
// Handler.MaxCommand. Any split of a stream into reads gives the same commands. A reply never says "not
// applied" of a command that may have been applied, and the connection stays open behind a reply that
// says neither. Replies and pushes never interleave: both go through the session's writer. At most
// flushAt bytes of small replies are gathered; a large one is written from where it is.
//
// A command takes one way: session.Serve parses it, session.command finds its row, checks who may run
// it when, and either answers in place (a connection command, behind everything that came before it) or
// puts it into the batch that one Router.Stream call runs. Whoever adds a state to a connection, such
// as one in which commands are queued, adds it to session.command.
//
// Messages of PUBLISH reach the subscribers of this node through its hub, which pushes them to their
// sessions, and those of other nodes through Config.Bus: at most once, and two of one connection never the
// other way round. Nobody gets a message of a channel before it was told that it is subscribed, nor after
// it was told that it no longer is.
//
// A session belongs to its connection's goroutine; what others may read of it is in its card, what they
// may send goes through writer.push and writer.share. A Handler may be used by any number of servers and goroutines.
//
// The package refuses to know groups beyond their numbers and leaders, consensus and storage. One
// function makes bytes of results (encoder.value), one makes words of delivery errors (failureText).
package resp
