// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bytes"
	"fmt"
)

// Limits of a request, worded and numbered as in Redis.
const (
	// maxInline is how many bytes a line may have, of an inline command or of a length.
	maxInline = 64 << 10
	// maxMultibulk is how many arguments a command may have, its name counted.
	maxMultibulk = 1 << 20
	// guardedMultibulk and guardedBulk hold until the connection is authenticated, where that is
	// asked for.
	guardedMultibulk = 10
	guardedBulk      = 16 << 10
	// bulkSlack is how much longer than the longest value a bulk may be: such an argument is refused
	// by its command, a longer one by the parser, which ends the connection.
	bulkSlack = 1 << 20
	// keepSpans is the most arguments whose room a parser keeps.
	keepSpans = 1 << 10
)

// protocolError is a fault that ends the connection; its text follows "ERR Protocol error: ".
type protocolError string

func (e protocolError) Error() string { return "resp: protocol error: " + string(e) }

const (
	errMultibulkLength  = protocolError("invalid multibulk length")
	errGuardedMultibulk = protocolError("unauthenticated multibulk length")
	errBulkLength       = protocolError("invalid bulk length")
	errGuardedBulk      = protocolError("unauthenticated bulk length")
	errMultibulkLine    = protocolError("too big mbulk count string")
	errBulkLine         = protocolError("too big bulk count string")
	errInline           = protocolError("too big inline request")
	errQuotes           = protocolError("unbalanced quotes in request")
	errTooLong          = protocolError("command exceeds maximum allowed size")
)

// span is an argument's place, counted from the first byte of its command.
type span struct{ from, to uint32 }

// parser finds the commands of one stream. What it learnt of an unfinished command it keeps, so that
// bytes are looked at once however they are split. It belongs to one goroutine.
type parser struct {
	// maxBulk bounds one argument, maxBytes all arguments of a command together.
	maxBulk, maxBytes int
	// guarded: the peer is not authenticated yet.
	guarded bool

	// Of the command under way. pos is how far it was looked at; left counts the arguments to come, 0
	// before their number is known; bulk is the length of the present one, -1 before it is known.
	pos, left, bulk, total int
	spans                  []span
}

func newParser(maxBulk, maxBytes int) parser {
	return parser{maxBulk: maxBulk, maxBytes: maxBytes, bulk: -1}
}

// next looks for a command at the front of in, which begins where the last command ended. With size > 0
// there is one, args behind it in room aliasing in; no args are an empty line, which is nothing to
// answer. With size 0 there is none yet: need is how many bytes there must be for another look, 0 when
// any more will do. After an error the stream is of no use.
func (p *parser) next(in []byte, room [][]byte) (args [][]byte, size, need int, err error) {
	if len(in) == 0 {
		return nil, 0, 0, nil
	}
	if in[0] != '*' {
		return p.inline(in, room)
	}
	if p.left == 0 {
		n, ok, err := p.line(in, 0, errMultibulkLine)
		if err != nil || !ok {
			return nil, 0, 0, err
		}
		count, ok := parseLength(in[1:n])
		switch {
		case !ok || count > maxMultibulk:
			return nil, 0, 0, errMultibulkLength
		case p.guarded && count > guardedMultibulk:
			return nil, 0, 0, errGuardedMultibulk
		case count <= 0:
			p.reset()
			return nil, n + 2, 0, nil
		}
		p.left, p.pos = count, n+2
	}
	for p.left > 0 {
		if need, ok, err := p.argument(in); err != nil || !ok {
			return nil, 0, need, err
		}
	}
	args, size = p.args(in, room), p.pos
	p.reset()
	return args, size, 0, nil
}

// line finds the end of a line that begins at from: the index of its CR, with another byte behind it.
func (p *parser) line(in []byte, from int, long protocolError) (end int, ok bool, err error) {
	rest := in[from:]
	i := bytes.IndexByte(rest[:min(len(rest), maxInline)], '\r')
	if i < 0 {
		if len(rest) > maxInline {
			return 0, false, long
		}
		return 0, false, nil
	}
	return from + i, i+1 < len(rest), nil
}

// argument goes on with the present one; ok when it is complete.
func (p *parser) argument(in []byte) (need int, ok bool, err error) {
	if p.bulk < 0 {
		end, ok, err := p.line(in, p.pos, errBulkLine)
		if err != nil || !ok {
			return 0, false, err
		}
		if c := in[p.pos]; c != '$' {
			if c == '\r' || c == '\n' {
				c = ' '
			}
			return 0, false, protocolError(fmt.Sprintf("expected '$', got '%s'", []byte{c}))
		}
		n, ok := parseLength(in[p.pos+1 : end])
		switch {
		case !ok || n < 0 || n > p.maxBulk:
			return 0, false, errBulkLength
		case p.guarded && n > guardedBulk:
			return 0, false, errGuardedBulk
		case p.total+n > p.maxBytes:
			return 0, false, errTooLong
		}
		p.bulk, p.pos = n, end+2
	}
	end := p.pos + p.bulk
	if len(in) < end+2 {
		return end + 2, false, nil
	}
	p.spans = append(p.spans, span{uint32(p.pos), uint32(end)})
	p.total += p.bulk
	p.pos, p.bulk = end+2, -1
	p.left--
	return 0, true, nil
}

// args gives the arguments found, behind room.
func (p *parser) args(in []byte, room [][]byte) [][]byte {
	from := len(room)
	for _, s := range p.spans {
		room = append(room, in[s.from:s.to:s.to])
	}
	return room[from:]
}

func (p *parser) reset() {
	p.pos, p.left, p.bulk, p.total = 0, 0, -1, 0
	if p.spans = p.spans[:0]; cap(p.spans) > keepSpans {
		p.spans = nil
	}
}

// inline looks for a line and takes it apart as a shell would.
func (p *parser) inline(in []byte, room [][]byte) (args [][]byte, size, need int, err error) {
	i := bytes.IndexByte(in[p.pos:min(len(in), maxInline)], '\n')
	if i < 0 {
		if len(in) > maxInline {
			return nil, 0, 0, errInline
		}
		p.pos = len(in)
		return nil, 0, 0, nil
	}
	end := p.pos + i
	p.reset()
	from := len(room)
	room, ok := splitLine(room, bytes.TrimSuffix(in[:end], []byte{'\r'}))
	if !ok {
		return nil, 0, 0, errQuotes
	}
	return room[from:], end + 1, 0, nil
}

// parseLength reads a number of at most ten digits as Redis does: no plus, no leading zeros.
func parseLength(b []byte) (n int, ok bool) {
	digits := b
	if len(b) > 1 && b[0] == '-' {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 10 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if len(digits) < len(b) {
		n = -n
	}
	return n, true
}
