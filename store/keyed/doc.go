// SPDX-License-Identifier: Apache-2.0

// Package keyed hashes keys, fields and members under the cluster's hash key, with SipHash-1-3.
//
// Invariant: for one key the result never changes, on any machine and in any release. It orders SCAN and
// the fields of large collections, so it is part of the replicated state.
//
// A Hasher is a value; any goroutine may use it. The package knows nothing of what is hashed.
package keyed
