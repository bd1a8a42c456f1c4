// SPDX-License-Identifier: Apache-2.0

//go:build planted

package shard

import "testing"

// TestPlantedScripts: effects that are applied whatever the keys hold by then, and reads whose marks nobody compares, are
// found out.
func TestPlantedScripts(t *testing.T) {
	for _, bug := range []string{"effect-unguarded", "script-unchecked-read"} {
		t.Run(bug, func(t *testing.T) {
			t.Setenv("KVORUM_PLANTED", bug)
			findsOut(t, func(t *testing.T, seed uint64) int { return len(playScripts(t, seed)) })
		})
	}
}
