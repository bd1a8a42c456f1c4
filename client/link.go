// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

const (
	// readBuffer is the size of a connection's read buffer; a larger reply makes a larger one for
	// as long as it is needed.
	readBuffer = 16 << 10
	// keepBuffer is the largest buffer that is kept for later use.
	keepBuffer = 64 << 10
)

// link is a connection behind its HELLO. It belongs to one goroutine at a time.
type link struct {
	nc      net.Conn
	welcome wire.Welcome
	// buf[r:w] is unread.
	buf  []byte
	r, w int
	max  int // limits a frame, in bytes
}

// connect dials addr and shakes hands.
func connect(ctx context.Context, o *options, addr string, features wire.Features) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, o.dialTimeout)
	defer cancel()
	nc, err := o.dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("client: dial %s: %w", addr, err)
	}
	l := &link{nc: nc, buf: make([]byte, readBuffer), max: o.maxReply}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err = l.hello(o, features)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("client: dial %s: %w", addr, err)
	}
	return l, nil
}

func (l *link) hello(o *options, features wire.Features) error {
	h := wire.Hello{
		MinVersion: wire.Version2, MaxVersion: wire.Version2, Features: features,
		Method: o.method, User: o.user, Secret: o.secret, Name: o.name,
	}
	if _, err := l.nc.Write(wire.AppendHello(nil, &h)); err != nil {
		return err
	}
	for {
		if err := l.fill(); err != nil {
			return err
		}
		in := l.buf[l.r:l.w]
		// A server without room answers in version 1: it has not read what we speak.
		if in[0] == wire.VersionV1 {
			r, n, err := wire.ParseV1Reply(in)
			if err != nil {
				return ErrProtocol
			}
			if n > 0 {
				return fmt.Errorf("%w: %s", ErrRefused, r.Body)
			}
			continue
		}
		w, n, err := wire.ParseWelcome(in)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if n == 0 {
			continue
		}
		l.r += n
		if w.Version == 0 {
			return fmt.Errorf("%w: %s", ErrRefused, w.Text)
		}
		l.welcome = w
		l.welcome.Extensions = nil // they alias the buffer
		return nil
	}
}

// fill reads once, making room first.
func (l *link) fill() error {
	if l.r == l.w {
		l.r, l.w = 0, 0
		if len(l.buf) > keepBuffer {
			l.buf = make([]byte, readBuffer)
		}
	}
	if l.w == len(l.buf) {
		if l.r > 0 {
			l.w = copy(l.buf, l.buf[l.r:l.w])
			l.r = 0
		}
		if l.w == len(l.buf) {
			next := make([]byte, 2*len(l.buf))
			l.w = copy(next, l.buf[:l.w])
			l.buf = next
		}
	}
	n, err := l.nc.Read(l.buf[l.w:])
	l.w += n
	if n > 0 {
		return nil
	}
	return err
}

// next takes one frame that is there already; ok is false when none is. Its body is valid until the
// next fill.
func (l *link) next() (f wire.Frame, ok bool, err error) {
	f, n, need, err := wire.ParseFrame(l.buf[l.r:l.w], l.max)
	if err != nil {
		return f, false, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if n == 0 {
		l.reserve(need)
		return f, false, nil
	}
	l.r += n
	return f, true, nil
}

// reserve makes the buffer large enough for a frame of need bytes of which half is there.
func (l *link) reserve(need int) {
	if have := l.w - l.r; need > len(l.buf) && have >= need/2 {
		next := make([]byte, need)
		l.w = copy(next, l.buf[l.r:l.w])
		l.buf, l.r = next, 0
	}
}

// own makes v independent of the buffer that it was parsed from, with one piece of memory for all of
// its bytes.
func own(v *Value) {
	if len(v.Elems) == 0 {
		if len(v.Str) > 0 {
			v.Str = bytes.Clone(v.Str)
		}
		return
	}
	room := make([]byte, 0, size(v))
	move(v, &room)
}

func size(v *Value) int {
	n := len(v.Str)
	for i := range v.Elems {
		n += size(&v.Elems[i])
	}
	return n
}

func move(v *Value, room *[]byte) {
	if v.Str != nil {
		at := len(*room)
		*room = append(*room, v.Str...)
		v.Str = (*room)[at:len(*room):len(*room)]
	}
	for i := range v.Elems {
		move(&v.Elems[i], room)
	}
}
