// SPDX-License-Identifier: Apache-2.0

package wire

import "errors"

// Errors of the parsers. All of them mean that the stream cannot be read on from here.
var (
	// ErrTooLong is returned when a length or count field is over its limit.
	ErrTooLong = errors.New("wire: frame too long")
	// ErrMalformed is returned when the bytes of a whole frame contradict each other.
	ErrMalformed = errors.New("wire: malformed frame")
	// ErrVersion is returned when the first byte of a frame, or the magic of a HELLO, is not the
	// expected one.
	ErrVersion = errors.New("wire: protocol version mismatch")
	// ErrMandatory is returned by ParseHello and ParseWelcome for an extension that this side
	// does not know and that the other calls mandatory.
	ErrMandatory = errors.New("wire: unknown mandatory extension")
)
