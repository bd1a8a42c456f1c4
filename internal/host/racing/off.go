// SPDX-License-Identifier: Apache-2.0

//go:build !race

package racing

// Detector tells whether the race detector is on.
const Detector = false
