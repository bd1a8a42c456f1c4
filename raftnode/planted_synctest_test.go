// SPDX-License-Identifier: Apache-2.0

//go:build planted

package raftnode

import "testing"

// TestPlanted plants the bugs that no random fault brings to light: the moment in which they matter is too short.
func TestPlanted(t *testing.T) {
	t.Setenv("KVORUM_PLANTED", "vouch-any")
	if !deposedTakesWord(t) {
		t.Error("a leader that takes anybody's word: not caught")
	}
}
