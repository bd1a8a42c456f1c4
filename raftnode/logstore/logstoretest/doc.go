// SPDX-License-Identifier: Apache-2.0

// Package logstoretest is the suite every raft.LogStore of Kvorum must pass: Conformance on any
// disk, CrashEveryStep and CrashRandom on an in-memory disk, and Benchmark.
//
// Invariant under test: at every moment the store holds exactly what its acknowledged calls made,
// after a crash too, where the one call in flight is there wholly or not at all, and what was once
// read after a crash is not lost by the next.
//
// The package refuses to know how a store keeps its log.
package logstoretest
