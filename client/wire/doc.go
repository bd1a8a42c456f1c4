// SPDX-License-Identifier: Apache-2.0

// Package wire is the native TCP protocol as bytes: the frame of version 1, the frames of
// version 2, the numbers of commands, kinds and codes, and the slot of a key. DESIGN.md beside
// this file holds the byte tables.
//
// Invariant: every codec is a pure pair AppendX(dst, …) []byte and ParseX(src) (x, n, err), and
// ParseX(AppendX(nil, x)) gives x back. A parser never reads past src, never panics, and never
// makes more memory than a small multiple of the bytes it was given: counts are checked against
// the bytes that remain before anything is made for them. n == 0 with a nil error means that src
// does not hold a whole frame yet.
//
// Parsed values alias src unless said otherwise. All functions may be called from any goroutine.
//
// The package imports the standard library only, knows no socket, no time and no server, so that
// client and server share one description of the bytes. Numbers never change their meaning.
package wire
