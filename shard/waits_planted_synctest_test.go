// SPDX-License-Identifier: Apache-2.0

//go:build planted

package shard

import (
	"testing"
	"testing/synctest"
)

// TestPlantedWaits: a registry that does not look at the keys of those whom it registers is found out.
func TestPlantedWaits(t *testing.T) {
	t.Setenv("KVORUM_PLANTED", "wait-blind")
	findsOut(t, func(t *testing.T, seed uint64) int { return len(playWaits(t, seed)) })
}

// findsOut wants a bug to be found in the play of some seed.
func findsOut(t *testing.T, play func(t *testing.T, seed uint64) (found int)) {
	t.Helper()
	const seeds = 20
	for seed := range uint64(seeds) {
		found := 0
		synctest.Test(t, func(t *testing.T) { found = play(t, seed) })
		if found > 0 {
			t.Logf("found with seed %d", seed)
			return
		}
	}
	t.Errorf("not found in %d seeds", seeds)
}
