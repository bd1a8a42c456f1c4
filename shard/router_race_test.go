// SPDX-License-Identifier: Apache-2.0

//go:build race

package shard

// raceDetector is on: pools forget at random, so allocations cannot be counted.
const raceDetector = true
