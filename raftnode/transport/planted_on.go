// SPDX-License-Identifier: Apache-2.0

//go:build planted

package transport

import "os"

// planted tells whether $KVORUM_PLANTED names the bug.
func planted(bug string) bool { return os.Getenv("KVORUM_PLANTED") == bug }
