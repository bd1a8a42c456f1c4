// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"errors"
	"io"
	"net/http"
	"strconv"
)

// body is a request's body in memory. release gives its share of the budget back; bytes must not be
// used after it.
type body struct {
	bytes []byte
	e     *edge
	held  int64
}

func (b *body) release() {
	if b.held > 0 {
		b.e.held.Add(-b.held)
		b.held = 0
	}
}

// hold takes n more bytes from the budget of all requests; false when there are not as many.
func (b *body) hold(n int) bool {
	if b.e.held.Add(int64(n)) > b.e.cfg.BodyBudget {
		b.e.held.Add(-int64(n))
		return false
	}
	b.held += int64(n)
	return true
}

// readBody reads a body of at most limit bytes. A larger one is refused before it is read when its
// length is declared. Memory grows with the bytes that came, never with the length that was declared.
// ok false: an answer has been written; release is called all the same.
func (e *edge) readBody(w http.ResponseWriter, r *http.Request, limit int) (b body, ok bool) {
	b.e = e
	if r.ContentLength > int64(limit) {
		tooLarge(w, limit)
		return b, false
	}
	src := http.MaxBytesReader(w, r.Body, int64(limit))
	most := limit + 1
	if r.ContentLength >= 0 {
		most = int(r.ContentLength) + 1 // one more, to meet the end without growing
	}
	buf := make([]byte, 0, min(freeBody, most))
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			b.bytes = buf
			return b, readEnd(w, err, limit)
		}
		if len(buf) < cap(buf) {
			continue
		}
		next := min(2*cap(buf), most)
		if next == cap(buf) {
			tooLarge(w, most-1) // more than was declared
			return b, false
		}
		if !b.hold(next - cap(buf)) {
			w.Header().Set("Retry-After", "1")
			writeError(w, http.StatusServiceUnavailable, "too many large bodies at one time", "overloaded", appliedNo)
			return b, false
		}
		buf = append(make([]byte, 0, next), buf...)
	}
}

// readEnd tells whether the body ended well, and answers when it did not.
func readEnd(w http.ResponseWriter, err error, limit int) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		tooLarge(w, limit)
		return false
	}
	writeError(w, http.StatusBadRequest, "the body ended early: "+err.Error(), "request", appliedNo)
	return false
}

func tooLarge(w http.ResponseWriter, limit int) {
	writeError(w, http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.Itoa(limit)+" bytes", "too-big", appliedNo)
}
