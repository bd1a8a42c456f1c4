// SPDX-License-Identifier: Apache-2.0

// Package logstoretest is the suite every raft.LogStore of Kvorum must pass: Conformance and Benchmark on
// any disk; PowerCuts on any whose power can be cut, in memory or real; CrashEveryStep, CrashRandom and
// SyncErrorEveryStep on an in-memory one, which can be stopped and failed at each step.
//
// Invariant under test: at every moment the store holds exactly what its acknowledged calls made,
// after a crash too, where the one call in flight is there wholly or not at all, and what was once
// read after a crash is not lost by the next.
//
// The package refuses to know how a store keeps its log.
package logstoretest
