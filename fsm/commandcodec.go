// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"fmt"
	"math"
)

// tagToken is the extension that carries a Token. It is mandatory: who does not know it would execute a
// repeated request again.
const tagToken = 1

// tagRoom is the extension that carries Command.Room. It is mandatory: who does not know it would refuse
// what others execute.
const tagRoom = 3

// maxArgsPrealloc bounds the arguments that room is made for before they are seen.
const maxArgsPrealloc = 64

// CommandSize gives the length of what AppendCommand appends.
func CommandSize(c *Command) int {
	n := uvarintLen(uint64(c.Op)) + uvarintLen(uint64(len(c.Args)))
	for _, a := range c.Args {
		n += bytesLen(len(a))
	}
	return n + bytesLen(c.extensionsSize())
}

// extensionsSize gives the length of c's extensions without that of the area itself.
func (c *Command) extensionsSize() int {
	n := 0
	if !c.Token.IsZero() {
		n = 1 + bytesLen(len(c.Token.Client)+uvarintLen(c.Token.Seq))
	}
	if c.Room > 0 {
		n += 1 + bytesLen(uvarintLen(uint64(c.Room)))
	}
	return n
}

// AppendCommand appends c in log encoding. It copies the arguments.
func AppendCommand(dst []byte, c *Command) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Op))
	dst = binary.AppendUvarint(dst, uint64(len(c.Args)))
	for _, a := range c.Args {
		dst = appendBytes(dst, a)
	}
	dst = binary.AppendUvarint(dst, uint64(c.extensionsSize()))
	if !c.Token.IsZero() {
		dst = append(dst, tagToken)
		dst = binary.AppendUvarint(dst, uint64(len(c.Token.Client)+uvarintLen(c.Token.Seq)))
		dst = append(dst, c.Token.Client[:]...)
		dst = binary.AppendUvarint(dst, c.Token.Seq)
	}
	if c.Room > 0 {
		dst = append(dst, tagRoom)
		dst = binary.AppendUvarint(dst, uint64(uvarintLen(uint64(c.Room))))
		dst = binary.AppendUvarint(dst, uint64(c.Room))
	}
	return dst
}

// ParseCommand reads one command from the front of src and tells how many bytes it took. The arguments
// alias src.
func ParseCommand(src []byte) (c Command, n int, err error) {
	n, err = parseCommand(src, &c)
	return c, n, err
}

// parseCommand fills c; c.Args is reused when it has room.
func parseCommand(src []byte, c *Command) (int, error) {
	r := reader{src: src}
	c.Op = Op(r.uint(math.MaxUint16, "command number"))
	argc := r.count("argument count")
	c.Token, c.Room = Token{}, 0
	c.Args = c.Args[:0]
	if cap(c.Args) < min(argc, maxArgsPrealloc) {
		c.Args = make([][]byte, 0, min(argc, maxArgsPrealloc))
	}
	for i := 0; i < argc && r.err == nil; i++ {
		c.Args = append(c.Args, r.bytes("argument"))
	}
	r.extensions("command extensions", func(tag uint64, body *reader) bool {
		switch tag {
		case tagToken:
		case tagRoom:
			if c.Room = int64(body.uint(math.MaxInt64, "reply room")); body.err == nil && c.Room == 0 {
				body.fail(ErrMalformed, "reply room")
			}
			return true
		default:
			return false
		}
		copy(c.Token.Client[:], body.take(len(c.Token.Client), "token"))
		c.Token.Seq = body.uvarint("token sequence")
		if body.err == nil && c.Token.IsZero() {
			body.fail(ErrMalformed, "token")
		}
		return true
	})
	return r.off, r.err
}

// ValidateBody tells whether body holds exactly n writes of t in log encoding. Leaders call it on bodies
// that other nodes sent, before proposing them: an entry that failed here would stop every replica. room is
// what the replies of writes that answer with data may take, 0 when there are none.
func ValidateBody(t *Table, body []byte, n int) (room int64, err error) {
	var c Command
	for i := range n {
		size, err := parseCommand(body, &c)
		if err != nil {
			return 0, fmt.Errorf("command %d: %w", i, err)
		}
		body = body[size:]
		s := t.Spec(c.Op)
		if s == nil {
			return 0, fmt.Errorf("fsm: validate: command %d: number %d: %w", i, c.Op, ErrUnknown)
		}
		if !s.Write {
			return 0, fmt.Errorf("fsm: validate: command %d: %s is no write: %w", i, s.Name, ErrMalformed)
		}
		if s.Answers(c.Args) {
			room += min(max(c.Room, WriteReply), MaxReply)
		}
	}
	if len(body) != 0 {
		return 0, fmt.Errorf("fsm: validate: %d bytes behind %d commands: %w", len(body), n, ErrMalformed)
	}
	return min(room, MaxReply), nil
}
