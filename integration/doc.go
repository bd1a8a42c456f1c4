// SPDX-License-Identifier: Apache-2.0

// Package integration judges the whole: house rules, histories and their checkers, clusters in
// virtual time and clusters of real processes.
//
// Invariant: no product package imports anything below this folder, and nothing here reaches into
// a product package except through what it exports. A check that cannot decide has failed.
package integration
