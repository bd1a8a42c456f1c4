// SPDX-License-Identifier: Apache-2.0

//go:build race

package fsm

// modelChecks is how many logs TestModel makes, unless -rapid.checks says so: one goroutine runs them, so the race
// detector has nothing to find, and makes them ten times as slow.
const modelChecks = "25"
