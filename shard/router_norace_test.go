// SPDX-License-Identifier: Apache-2.0

//go:build !race

package shard

const raceDetector = false
