// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"sync/atomic"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// session is a connection whose version is not known before its first byte.
type session struct {
	h      *Handler
	c      *tcpd.Conn
	caller shard.Caller
	v1     *session1
	v2     atomic.Pointer[session2]
}

func (s *session) Serve(ctx context.Context, in []byte) (n, need int, err error) {
	if s.v1 != nil {
		return s.v1.serve(ctx, in)
	}
	if v2 := s.v2.Load(); v2 != nil {
		return v2.serve(ctx, in)
	}
	switch in[0] {
	case wire.VersionV1:
		s.v1 = &session1{h: s.h, c: s.c, caller: s.caller}
		return s.v1.serve(ctx, in)
	case wire.Magic[0]:
		v2 := newSession2(s.h, s.c, s.caller)
		s.v2.Store(v2)
		return v2.serve(ctx, in)
	}
	if err := s.c.Write(wire.AppendV1Error(nil, textVersion)); err != nil {
		return 0, 0, err
	}
	return 0, 0, tcpd.ErrEnd
}

func (s *session) Drain() {
	if v2 := s.v2.Load(); v2 != nil {
		v2.drain()
	}
}

func (s *session) Close() {
	if v2 := s.v2.Load(); v2 != nil {
		v2.close()
	}
}
