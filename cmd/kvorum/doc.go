// SPDX-License-Identifier: Apache-2.0

// Command kvorum is the whole product in one binary: a node, a loopback cluster for a first look,
// and the tools of an operator.
//
// Invariant: this package holds flags, wiring, signals and the order of starting and stopping; it
// knows no protocol and decides nothing about data. Exit codes: 0 success, 1 the operation failed
// and was definitely not applied, 2 wrong usage or configuration, 3 the outcome is unknown, 4 the
// key does not exist, 5 a check found damage.
package main
