// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/kvorum/kvorum/fsm"
)

const (
	// jsonGather is how many bytes of JSON are gathered before they are written.
	jsonGather = 64 << 10
	// jsonPiece is how much of a string is turned into JSON at one time; a multiple of 3, so that no
	// padding of base64 stands in the middle.
	jsonPiece = 12 << 10
)

// jsonWriter writes results as JSON piece by piece, so that a large one takes no memory of its size
// again. The first error of w ends it.
type jsonWriter struct {
	w   io.Writer
	buf []byte
	err error
}

func (j *jsonWriter) raw(s string) { j.add([]byte(s)) }

func (j *jsonWriter) add(b []byte) {
	if j.buf = append(j.buf, b...); len(j.buf) >= jsonGather {
		j.flush()
	}
}

// flush writes what was gathered.
func (j *jsonWriter) flush() error {
	if j.err == nil && len(j.buf) > 0 {
		_, j.err = j.w.Write(j.buf)
	}
	j.buf = j.buf[:0]
	return j.err
}

// value writes what encoding/json makes of a small value.
func (j *jsonWriter) value(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(unprintable)
	}
	j.add(text)
}

// text writes bytes: a string if they are text, else an object with base64.
func (j *jsonWriter) text(b []byte) {
	if !utf8.Valid(b) {
		j.raw(`{"base64":"`)
		var room [base64Room]byte
		for len(b) > 0 && j.err == nil {
			n := min(len(b), jsonPiece)
			j.add(base64.StdEncoding.AppendEncode(room[:0], b[:n]))
			b = b[n:]
		}
		j.raw(`"}`)
		return
	}
	j.raw(`"`)
	for len(b) > 0 && j.err == nil {
		n := min(len(b), jsonPiece)
		for n < len(b) && !utf8.RuneStart(b[n]) {
			n--
		}
		piece, err := json.Marshal(string(b[:n]))
		if err != nil {
			piece = []byte(`""`) // a string always marshals
		}
		j.add(piece[1 : len(piece)-1])
		b = b[n:]
	}
	j.raw(`"`)
}

// base64Room is the length of a piece in base64.
const base64Room = jsonPiece / 3 * 4

func (j *jsonWriter) result(res *fsm.Result) {
	switch res.Kind {
	case fsm.KindInt:
		j.raw(strconv.FormatInt(res.Int, 10))
	case fsm.KindDouble:
		if math.IsNaN(res.Dbl) || math.IsInf(res.Dbl, 0) {
			j.value(strconv.FormatFloat(res.Dbl, 'g', -1, 64))
			return
		}
		j.value(res.Dbl)
	case fsm.KindBool:
		j.raw(strconv.FormatBool(res.Int != 0))
	case fsm.KindBulk, fsm.KindStatus, fsm.KindBigNumber:
		j.text(res.Str)
	case fsm.KindVerbatim:
		j.text(res.Str[min(4, len(res.Str)):])
	case fsm.KindError:
		j.value(map[string]any{"error": string(res.Str), "kind": outcomeKind(res.Code)})
	case fsm.KindArray, fsm.KindSet, fsm.KindPush:
		j.list(res.Elems)
	case fsm.KindMap:
		j.pairs(res.Elems)
	default:
		j.raw("null")
	}
}

func (j *jsonWriter) list(elems []fsm.Result) {
	separator := "["
	for i := range elems {
		j.raw(separator)
		j.result(&elems[i])
		separator = ","
	}
	if len(elems) == 0 {
		j.raw("[")
	}
	j.raw("]")
}

// pairs writes a map: an object if all keys are text, else an array of pairs.
func (j *jsonWriter) pairs(elems []fsm.Result) {
	open, between, end := "", ":", ""
	first, last := "{", "}"
	for i := 0; i < len(elems); i += 2 {
		if !utf8.Valid(elems[i].Str) {
			open, between, end, first, last = "[", ",", "]", "[", "]"
			break
		}
	}
	for i := 0; i+1 < len(elems); i += 2 {
		j.raw(first + open)
		j.result(&elems[i])
		j.raw(between)
		j.result(&elems[i+1])
		j.raw(end)
		first = ","
	}
	if first != "," {
		j.raw(first)
	}
	j.raw(last)
}
