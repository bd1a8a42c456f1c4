// SPDX-License-Identifier: Apache-2.0

//go:build !race

package store

const raceBytes = 0
