// SPDX-License-Identifier: Apache-2.0

//go:build planted

package sim

import (
	"strings"
	"testing"
)

// maxHunt is how many seeds a planted bug may hide for.
const maxHunt = 80

// TestPlanted plants one bug at a time and plays seeds until the checkers see it. A bug that is not
// seen is a hole in the bench. The seeds needed are the bench's sensitivity.
func TestPlanted(t *testing.T) {
	for _, bug := range []struct{ name, want string }{
		{"local-read", "a read without the fence"},
		{"no-sync", "an acknowledged append that was never synced"},
		{"no-dedupe", "a session that executes a repeated sub-batch"},
		{"fresh-retry", "a frontend that repeats an unknown sub-batch under a new number"},
		{"snapshot-without-sessions", "a snapshot that forgets the sessions"},
		{"local-clock", "reads that expire keys by the node's own clock"},
		{"wrong-fail", "an unknown outcome reported as definitely failed"},
		{"swapped-replies", "replies handed to the wrong callers"},
	} {
		t.Run(bug.name, func(t *testing.T) {
			t.Setenv("KVORUM_PLANTED", bug.name)
			for seed := uint64(1); seed <= maxHunt; seed++ {
				rep := Run(t, Swarm(seed))
				if rep.Failed() {
					t.Logf("%s: caught at seed %d: %.300s", bug.want, seed, strings.Join(rep.Findings, "; "))
					return
				}
			}
			t.Errorf("%s: not caught in %d seeds", bug.want, maxHunt)
		})
	}
}
