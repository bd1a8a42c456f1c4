// SPDX-License-Identifier: Apache-2.0

//go:build !race

package fsm

const randomChecks = "100"
