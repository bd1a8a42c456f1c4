// SPDX-License-Identifier: Apache-2.0

//go:build planted

package transport

import "testing"

// TestPlanted plants the bugs that take a failing write and an election in one moment to matter.
func TestPlanted(t *testing.T) {
	t.Setenv("KVORUM_PLANTED", "ahead-any")
	if wrongTake() == nil {
		t.Error("an append that is answered by whatever was sent ahead: not caught")
	}
	t.Setenv("KVORUM_PLANTED", "ahead-more")
	if wrongAwait() == nil {
		t.Error("an answer that counts for more entries than were sent: not caught")
	}
}
