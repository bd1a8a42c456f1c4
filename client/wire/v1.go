// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// VersionV1 is the first byte of every version 1 frame, in both directions.
const VersionV1 = 0x01

// The commands of version 1.
const (
	V1Get    = 0x01 // key → value
	V1Set    = 0x02 // ttl (8 bytes, signed seconds, 0 for ever), key, value → empty
	V1Delete = 0x03 // key → empty
	V1Status = 0x04 // → {"count":N,"keySize":N,"valueSize":N}
	V1Nodes  = 0x05 // → ["host:port",…]
)

// The texts of version 1 that clients compare.
const (
	V1NotFound       = "not found"
	V1FewArguments   = "command needs more arguments"
	V1UnknownCommand = "failed to find a handler of command"
)

// The second byte of a version 1 reply.
const (
	v1OK    = 0x00
	v1Error = 0x01
)

const v1RequestHead, v1ReplyHead = 6, 6

// AppendV1Request appends a version 1 request.
func AppendV1Request(dst []byte, cmd uint8, args ...[]byte) []byte {
	dst = appendU32(append(dst, VersionV1, cmd), uint32(len(args)))
	for _, a := range args {
		dst = appendLong(dst, a)
	}
	return dst
}

// V1Request is one request of version 1.
type V1Request struct {
	Cmd uint8
	// Args alias the parsed bytes.
	Args [][]byte
}

// ParseV1Request reads one request off the front of src; its arguments are appended to args[:0].
// No frame of more than maxFrame bytes is taken. When src holds only part of a frame, n is 0 and
// need is how many bytes of src are required at least before another call can do better.
func ParseV1Request(src []byte, args [][]byte, maxFrame int) (q V1Request, n, need int, err error) {
	if len(src) > 0 && src[0] != VersionV1 {
		return q, 0, 0, ErrVersion
	}
	if len(src) < v1RequestHead {
		return q, 0, v1RequestHead, nil
	}
	count := binary.BigEndian.Uint32(src[2:])
	if count > MaxArgsV1 {
		return q, 0, 0, ErrTooLong
	}
	q.Cmd, q.Args = src[1], args[:0]
	at := v1RequestHead
	for left := int(count); left > 0; left-- {
		// What is still to come takes four bytes of length an argument at least.
		if at+4*left > maxFrame {
			return q, 0, 0, ErrTooLong
		}
		if len(src) < at+4 {
			return q, 0, at + 4*left, nil
		}
		size := uint64(binary.BigEndian.Uint32(src[at:]))
		end := uint64(at) + 4 + size
		if end+4*uint64(left-1) > uint64(maxFrame) {
			return q, 0, 0, ErrTooLong
		}
		if uint64(len(src)) < end {
			return q, 0, int(end) + 4*(left-1), nil
		}
		q.Args = append(q.Args, src[at+4:end:end])
		at = int(end)
	}
	return q, at, 0, nil
}

// AppendV1OK appends a successful version 1 reply.
func AppendV1OK(dst, body []byte) []byte {
	return appendLong(append(dst, VersionV1, v1OK), body)
}

// AppendV1OKHead is AppendV1OK without the body: n bytes of it must follow.
func AppendV1OKHead(dst []byte, n int) []byte {
	return appendU32(append(dst, VersionV1, v1OK), uint32(n))
}

// AppendV1Error appends a version 1 reply that carries an error text.
func AppendV1Error(dst []byte, text string) []byte {
	dst = appendU32(append(dst, VersionV1, v1Error), uint32(len(text)))
	return append(dst, text...)
}

// V1Reply is one reply of version 1.
type V1Reply struct {
	// OK is false when Body is an error text.
	OK bool
	// Body aliases the parsed bytes.
	Body []byte
}

// ParseV1Reply reads one reply off the front of src.
func ParseV1Reply(src []byte) (r V1Reply, n int, err error) {
	if len(src) > 0 && src[0] != VersionV1 {
		return r, 0, ErrVersion
	}
	if len(src) > 1 && src[1] > v1Error {
		return r, 0, ErrMalformed
	}
	if len(src) < v1ReplyHead {
		return r, 0, nil
	}
	size := binary.BigEndian.Uint32(src[2:])
	if size > MaxReply {
		return r, 0, ErrTooLong
	}
	end := v1ReplyHead + int(size)
	if len(src) < end {
		return r, 0, nil
	}
	return V1Reply{OK: src[1] == v1OK, Body: src[v1ReplyHead:end:end]}, end, nil
}
