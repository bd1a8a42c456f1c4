// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

import "time"

// Busy runs f and tells how long that took.
func Busy(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
