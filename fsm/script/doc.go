// SPDX-License-Identifier: Apache-2.0

// Package script runs Lua scripts as Redis 7.0 does: EVAL and its like. It compiles a script, runs it against a view of the
// keys that it declared, and tells what it would change; it changes nothing itself.
//
// Invariants. What a script reads is what its keys held at one moment, the one of Request.Look, or its caller finds out: who
// runs it compares the marks of all keys with those of Look before a reply leaves, or before the effects are applied
// (KV.EFFECT in package fsm). A script names all its keys in KEYS; a command with any other is refused. The first write to a
// key makes a private copy of it (fsm.Trial), and from then on every command that touches the key runs there. Commands
// that changed something are the effects, in their order; what was drawn by chance is an effect without chance. The
// clock of a script stands still, and math.random draws the same numbers in each run.
//
// No script stops the node, or takes more of it than the limits in limits.go say. Time, memory and calls are metered at
// every instruction of the machine, and by what is written here: a loop in Go asks run.spend or run.work before each of its
// steps, which count as instructions by the bytes that they take or look at. No single step builds a string longer than
// maxString or fills more than maxArray elements: concatenation, dynamic indexes and tables that are filled with as many values
// as there are, are compiled as calls of guarded functions, and string.rep, string.format, gsub, table.concat, table.sort and
// the codecs are written here. What the interpreter does by itself in one step walks over one value at most, and the larger
// values are, the sooner the meter looks again. The Go stack is bounded by the depth of syntax and of calls. A defect of the
// engine ends the script without effects, and its interpreter is thrown away.
//
// A run belongs to the goroutine that called Engine.Run, which holds no lock meanwhile. Programs are immutable and may be shared.
//
// The package refuses to know groups, nodes, logs and protocols: what it needs of the keyspace is the interface Live.
package script
