// SPDX-License-Identifier: Apache-2.0

// Package httpd is the HTTP edge: keys as resources, every command as JSON, the cluster's
// administration, health and metrics.
//
// Invariants: a request becomes commands for the Router, or one call of the Node, and nothing else;
// this package knows no group, log or store. Exactly one function maps outcomes to statuses
// (writeOutcome) and one maps delivery failures (writeFailure), so a failed request always says
// whether it was applied. Keys are taken from the escaped path as they are: no cleaning, no
// redirects. The handler may be called from any goroutine; bodies are bounded before they are read, and
// replies that may be large are written piece by piece while the router still counts their memory.
package httpd
