// SPDX-License-Identifier: Apache-2.0

//go:build !planted

package transport

// planted tells whether a bug is planted to prove that a test of this package sees it. It
// is always false here, so nothing of a bug is in the program; with -tags planted the environment
// names one.
func planted(string) bool { return false }
