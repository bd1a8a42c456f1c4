// SPDX-License-Identifier: Apache-2.0

//go:build race

package store

// raceBytes is what the race detector's shadow of the Go heap takes for a key, at most.
const raceBytes = 60
