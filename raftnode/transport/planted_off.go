// SPDX-License-Identifier: Apache-2.0

//go:build !planted

package transport

// planted tells whether a bug is planted to prove that the checkers of integration/sim see it. It
// is always false here, so nothing of a bug is in the program; with -tags planted the environment
// names one.
func planted(string) bool { return false }
