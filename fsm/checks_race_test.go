// SPDX-License-Identifier: Apache-2.0

//go:build race

package fsm

// randomChecks is how many cases a test of random ones makes, unless -rapid.checks says so: one goroutine runs them,
// so the race detector has nothing to find, and makes them ten times as slow.
const randomChecks = "8"
