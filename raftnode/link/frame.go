// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// kind of a frame. The numbers are on the wire and never change.
type kind uint8

const (
	kindRequest  kind = 1  // dialer: u32 time left in ms (0 none), payload
	kindResponse kind = 2  // acceptor: payload
	kindError    kind = 3  // acceptor: u8 code, text
	kindCancel   kind = 4  // dialer: the caller gave the request up
	kindOpen     kind = 5  // dialer: as kindRequest; a body follows
	kindData     kind = 6  // dialer: bytes of a body
	kindEnd      kind = 7  // dialer: the body is complete
	kindCredit   kind = 8  // acceptor: u32 further body bytes allowed
	kindPing     kind = 9  // dialer
	kindPong     kind = 10 // acceptor

	maxKind = kindPong
)

// Codes of an error frame. errorHandler and errorExpired come from a handler, the others mean that
// none saw the request. The numbers are on the wire and never change.
const (
	errorHandler   = 1
	errorBusy      = 2
	errorNoHandler = 3
	errorExpired   = 4
)

const (
	// frameHeader is u32 length of what follows it, u8 kind, u64 id.
	frameHeader = 13
	// lengthBase is the part of the header that the length counts.
	lengthBase = 9
	// timeLeft is the size of the time field of a request.
	timeLeft = 4

	// streamWindow is how many body bytes may be under way unasked; later bytes need credit.
	streamWindow = 1 << 20
	// streamChunk bounds one data frame.
	streamChunk = 64 << 10

	// eagerAlloc bounds what is allocated on the word of a length field alone.
	eagerAlloc = 2 << 20
)

var errFrame = errors.New("malformed frame")

func putFrameHeader(dst []byte, k kind, id uint64, payload int) {
	binary.BigEndian.PutUint32(dst, uint32(lengthBase+payload))
	dst[4] = byte(k)
	binary.BigEndian.PutUint64(dst[5:], id)
}

// parseFrameHeader checks a header of frameHeader bytes; payload is at most maxPayload plus the
// fixed fields of its kind.
func parseFrameHeader(src []byte, maxPayload int) (k kind, id uint64, payload int, err error) {
	n := binary.BigEndian.Uint32(src)
	k = kind(src[4])
	if n < lengthBase || k == 0 || k > maxKind {
		return 0, 0, 0, fmt.Errorf("%w: kind %d, length %d", errFrame, k, n)
	}
	limit, least := int64(0), int64(0)
	switch k {
	case kindRequest, kindOpen:
		limit, least = int64(maxPayload)+timeLeft, timeLeft
	case kindResponse:
		limit = int64(maxPayload)
	case kindError:
		limit, least = 1+maxErrorText, 1
	case kindData:
		limit = streamChunk
	case kindCredit:
		limit, least = 4, 4
	}
	size := int64(n) - lengthBase
	if size > limit || size < least {
		return 0, 0, 0, fmt.Errorf("%w: kind %d with %d bytes", errFrame, k, size)
	}
	return k, binary.BigEndian.Uint64(src[5:]), int(size), nil
}

// readFrame reads one frame. The payload is freshly allocated and belongs to the caller. head is
// scratch of frameHeader bytes.
func readFrame(r io.Reader, head []byte, maxPayload int) (k kind, id uint64, payload []byte, err error) {
	if _, err := io.ReadFull(r, head[:frameHeader]); err != nil {
		return 0, 0, nil, err
	}
	k, id, n, err := parseFrameHeader(head, maxPayload)
	if err != nil || n == 0 {
		return k, id, nil, err
	}
	payload, err = readPayload(r, n)
	return k, id, payload, err
}

// readPayload reads n bytes and allocates no more than eagerAlloc ahead of what has arrived.
func readPayload(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, min(n, eagerAlloc))
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, unexpected(err)
	}
	for len(buf) < n {
		next := make([]byte, min(n, 2*len(buf)))
		have := copy(next, buf)
		if _, err := io.ReadFull(r, next[have:]); err != nil {
			return nil, unexpected(err)
		}
		buf = next
	}
	return buf, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func appendErrorPayload(dst []byte, code byte, text string) []byte {
	dst = append(dst, code)
	return append(dst, text[:min(len(text), maxErrorText)]...)
}

// remoteFailure turns the payload of an error frame into the caller's error.
func remoteFailure(payload []byte) error {
	switch payload[0] {
	case errorBusy:
		return notSent(ErrBusy)
	case errorNoHandler:
		return notSent(ErrNoHandler)
	case errorExpired:
		return lost(errExpired)
	}
	return &RemoteError{Text: string(payload[1:])}
}
