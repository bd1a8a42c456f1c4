// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"math"
	"strconv"

	"github.com/kvorum/kvorum/fsm"
)

// shape says how a reply is worded beyond its kinds.
type shape uint8

const (
	shapePlain shape = iota
	// shapeNullArray: what is not there is a null array in RESP2.
	shapeNullArray
	// shapePairs: what RESP2 has in a row is an array of pairs in RESP3.
	shapePairs
)

// shapeOf gives the shape of a reply to a command with these arguments.
func (c *command) shapeOf(args [][]byte, r *fsm.Result) shape {
	switch {
	case r.Kind == fsm.KindNull && (c.nullArray || c.nullArrayCounted && len(args) > 1):
		return shapeNullArray
	case r.Kind == fsm.KindArray && c.spec.InPairs(args, r):
		return shapePairs
	}
	return shapePlain
}

// nullArrays tells by name, so that a row of the table needs nothing here when it arrives, which commands
// answer with a null array; counted: only with an argument behind the key.
func nullArrays(name string) (always, counted bool) {
	switch name {
	case "LPOP", "RPOP":
		return false, true
	case "LMPOP", "ZMPOP", "BLPOP", "BRPOP", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "KV.EXEC":
		return true, false
	}
	return false, false
}

// encoder gathers replies in buf. A reply that is too large to gather goes through out piece by piece.
type encoder struct {
	proto int // 2 or 3
	buf   []byte
	// out writes bytes in the middle of a reply; they are the caller's again when it returns. After an
	// error it is not called again.
	out func(b []byte) error
	err error
}

// reply appends a command's whole reply.
func (e *encoder) reply(r *fsm.Result, sh shape) {
	switch {
	case sh == shapeNullArray && e.proto == 2:
		e.buf = append(e.buf, "*-1\r\n"...)
	case sh == shapePairs && e.proto == 3:
		e.head('*', len(r.Elems)/2)
		for i := 0; i+1 < len(r.Elems); i += 2 {
			e.head('*', 2)
			e.value(&r.Elems[i])
			e.value(&r.Elems[i+1])
		}
	default:
		e.value(r)
	}
}

// value is the one place where results become bytes.
func (e *encoder) value(r *fsm.Result) {
	switch r.Kind {
	case fsm.KindNull:
		e.null()
	case fsm.KindInt:
		e.number(':', r.Int)
	case fsm.KindDouble:
		e.double(r.Dbl)
	case fsm.KindBool:
		e.boolean(r.Int != 0)
	case fsm.KindBigNumber:
		if e.proto == 2 {
			e.bulk('$', r.Str)
		} else {
			e.line('(', r.Str)
		}
	case fsm.KindBulk:
		e.bulk('$', r.Str)
	case fsm.KindVerbatim:
		if e.proto == 2 {
			e.bulk('$', r.Str[min(len(r.Str), len("txt:")):])
		} else {
			e.bulk('=', r.Str)
		}
	case fsm.KindStatus:
		e.line('+', r.Str)
	case fsm.KindError:
		e.line('-', r.Str)
	case fsm.KindArray:
		e.list('*', len(r.Elems), r.Elems)
	case fsm.KindMap:
		e.list('%', len(r.Elems)/2, r.Elems)
	case fsm.KindSet:
		e.list('~', len(r.Elems), r.Elems)
	case fsm.KindPush:
		e.list('>', len(r.Elems), r.Elems)
	default:
		e.line('-', []byte(failureText(nil)))
	}
	if len(e.buf) >= flushAt {
		e.spill()
	}
}

// spill writes what is gathered, in the middle of a reply.
func (e *encoder) spill() {
	if e.err == nil && len(e.buf) > 0 {
		e.err = e.out(e.buf)
	}
	e.buf = e.buf[:0]
}

func (e *encoder) null() {
	if e.proto == 2 {
		e.buf = append(e.buf, "$-1\r\n"...)
	} else {
		e.buf = append(e.buf, "_\r\n"...)
	}
}

func (e *encoder) number(kind byte, n int64) {
	e.buf = append(strconv.AppendInt(append(e.buf, kind), n, 10), '\r', '\n')
}

func (e *encoder) head(kind byte, n int) { e.number(kind, int64(n)) }

func (e *encoder) boolean(b bool) {
	switch {
	case e.proto == 2 && b:
		e.buf = append(e.buf, ":1\r\n"...)
	case e.proto == 2:
		e.buf = append(e.buf, ":0\r\n"...)
	case b:
		e.buf = append(e.buf, "#t\r\n"...)
	default:
		e.buf = append(e.buf, "#f\r\n"...)
	}
}

func (e *encoder) double(d float64) {
	var room [32]byte
	text := appendDouble(room[:0], d)
	if e.proto == 2 {
		e.bulk('$', text)
	} else {
		e.line(',', text)
	}
}

// appendDouble words a double as Redis 7.0 does: C's %.17g.
func appendDouble(dst []byte, d float64) []byte {
	switch {
	case math.IsInf(d, 1):
		return append(dst, "inf"...)
	case math.IsInf(d, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(d):
		return append(dst, "nan"...)
	}
	return strconv.AppendFloat(dst, d, 'g', 17, 64)
}

// bulk writes a large string from where it is.
func (e *encoder) bulk(kind byte, b []byte) {
	e.head(kind, len(b))
	if len(b) > largeReply {
		e.spill()
		if e.err == nil {
			e.err = e.out(b)
		}
	} else {
		e.buf = append(e.buf, b...)
	}
	e.buf = append(e.buf, '\r', '\n')
}

// line writes a text that must not hold line breaks.
func (e *encoder) line(kind byte, b []byte) {
	e.buf = append(e.buf, kind)
	from := len(e.buf)
	e.buf = append(e.buf, b...)
	for i, c := range e.buf[from:] {
		if c == '\r' || c == '\n' {
			e.buf[from+i] = ' '
		}
	}
	e.buf = append(e.buf, '\r', '\n')
}

// list writes elems; RESP2 knows arrays alone.
func (e *encoder) list(kind byte, n int, elems []fsm.Result) {
	if e.proto == 2 {
		kind, n = '*', len(elems)
	}
	e.head(kind, n)
	for i := range elems {
		e.value(&elems[i])
	}
}
