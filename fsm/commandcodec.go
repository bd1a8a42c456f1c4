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

// maxArgsPrealloc bounds the arguments that room is made for before they are seen.
const maxArgsPrealloc = 64

// CommandSize gives the length of what AppendCommand appends.
func CommandSize(c *Command) int {
	n := uvarintLen(uint64(c.Op)) + uvarintLen(uint64(len(c.Args)))
	for _, a := range c.Args {
		n += bytesLen(len(a))
	}
	if c.Token.IsZero() {
		return n + 1
	}
	body := len(c.Token.Client) + uvarintLen(c.Token.Seq)
	return n + bytesLen(1+bytesLen(body))
}

// AppendCommand appends c in log encoding. It copies the arguments.
func AppendCommand(dst []byte, c *Command) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Op))
	dst = binary.AppendUvarint(dst, uint64(len(c.Args)))
	for _, a := range c.Args {
		dst = appendBytes(dst, a)
	}
	if c.Token.IsZero() {
		return append(dst, 0)
	}
	body := len(c.Token.Client) + uvarintLen(c.Token.Seq)
	dst = binary.AppendUvarint(dst, uint64(1+bytesLen(body)))
	dst = append(dst, tagToken)
	dst = binary.AppendUvarint(dst, uint64(body))
	dst = append(dst, c.Token.Client[:]...)
	return binary.AppendUvarint(dst, c.Token.Seq)
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
	c.Token = Token{}
	c.Args = c.Args[:0]
	if cap(c.Args) < min(argc, maxArgsPrealloc) {
		c.Args = make([][]byte, 0, min(argc, maxArgsPrealloc))
	}
	for i := 0; i < argc && r.err == nil; i++ {
		c.Args = append(c.Args, r.bytes("argument"))
	}
	r.extensions("command extensions", func(tag uint64, body *reader) bool {
		if tag != tagToken {
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
// that other nodes sent, before proposing them: an entry that failed here would stop every replica.
func ValidateBody(t *Table, body []byte, n int) error {
	var c Command
	for i := range n {
		size, err := parseCommand(body, &c)
		if err != nil {
			return fmt.Errorf("command %d: %w", i, err)
		}
		body = body[size:]
		s := t.Spec(c.Op)
		if s == nil {
			return fmt.Errorf("fsm: validate: command %d: number %d: %w", i, c.Op, ErrUnknown)
		}
		if !s.Write {
			return fmt.Errorf("fsm: validate: command %d: %s is no write: %w", i, s.Name, ErrMalformed)
		}
	}
	if len(body) != 0 {
		return fmt.Errorf("fsm: validate: %d bytes behind %d commands: %w", len(body), n, ErrMalformed)
	}
	return nil
}
