// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// The texts of errors that the protocol's ancestor has no words for.
const (
	textVersion  = "protocol version mismatch"
	textTooLong  = "frame too long"
	textTTL      = "ttl must be 8 bytes"
	textBadFrame = "malformed frame"
)

// session1 speaks version 1.
type session1 struct {
	h      *Handler
	c      *tcpd.Conn
	caller shard.Caller

	// The batch under way; all of it is used again for the next.
	kinds   []uint8 // the version 1 command behind each of cmds
	cmds    []fsm.Command
	replies []shard.Reply
	args    [][]byte // room for the arguments of requests
	extra   [][]byte // room for the arguments of commands that have more than their request
	digits  []byte   // room for numbers
	out     []byte
	hand    func([]shard.Reply) error // deliver, made once
	at      int                       // which of cmds is answered next
}

// serve runs every complete request. A need of the last, incomplete one is passed on.
func (s *session1) serve(ctx context.Context, in []byte) (n, need int, err error) {
	for {
		q, size, more, perr := wire.ParseV1Request(in[n:], s.args[len(s.args):], s.h.maxFrame)
		if perr != nil || size == 0 {
			need, err = more, perr
			break
		}
		n += size
		if free := cap(s.args) - len(s.args); len(q.Args) <= free {
			s.args = s.args[:len(s.args)+len(q.Args)]
		} else {
			s.args = q.Args // the parser made a larger room; older arguments keep the old one
		}
		if text := s.plan(q); text != "" {
			err = s.run(ctx)
			s.out = wire.AppendV1Error(s.out, text)
		} else if q.Cmd == wire.V1Nodes {
			err = s.run(ctx)
			s.out = wire.AppendV1OK(s.out, nodesJSON(s.h.cfg.Router.SlotMap()))
		}
		if len(s.cmds) == maxBatch {
			err = s.run(ctx)
		}
		if err != nil {
			return n, 0, err
		}
		if len(s.out) >= flushAt {
			if werr := s.flush(); werr != nil {
				return n, 0, werr
			}
		}
	}
	if werr := s.run(ctx); werr != nil {
		return n, 0, werr
	}
	if err != nil {
		s.out = wire.AppendV1Error(s.out, v1FrameText(err))
		err = tcpd.ErrEnd
	}
	if werr := s.flush(); werr != nil {
		return n, 0, werr
	}
	return n, need, err
}

func v1FrameText(err error) string {
	switch {
	case errors.Is(err, wire.ErrTooLong):
		return textTooLong
	case errors.Is(err, wire.ErrVersion):
		return textVersion
	default:
		return textBadFrame
	}
}

// plan adds the command of q to the batch, or returns the text of its error. NODES adds nothing.
func (s *session1) plan(q wire.V1Request) (text string) {
	var cmd fsm.Command
	few := false
	switch q.Cmd {
	case wire.V1Get:
		if few = len(q.Args) < 1; !few {
			cmd = fsm.Command{Op: fsm.OpGet, Args: q.Args[:1]}
		}
	case wire.V1Delete:
		if few = len(q.Args) < 1; !few {
			cmd = fsm.Command{Op: fsm.OpDel, Args: q.Args[:1]}
		}
	case wire.V1Set:
		if few = len(q.Args) < 3; !few {
			if len(q.Args[0]) != 8 {
				return textTTL
			}
			cmd = s.set(int64(binary.BigEndian.Uint64(q.Args[0])), q.Args[1:3])
		}
	case wire.V1Status:
		cmd = fsm.Command{Op: fsm.OpKVStats}
	case wire.V1Nodes:
		return ""
	default:
		return wire.V1UnknownCommand
	}
	if few {
		return wire.V1FewArguments
	}
	s.cmds, s.kinds = append(s.cmds, cmd), append(s.kinds, q.Cmd)
	return ""
}

// set makes the command for key and value. ttl is in seconds: 0 is for ever; a value with a negative
// one is dead on arrival, so the key is deleted.
func (s *session1) set(ttl int64, pair [][]byte) fsm.Command {
	switch {
	case ttl == 0:
		return fsm.Command{Op: fsm.OpSet, Args: pair[:2:2]}
	case ttl < 0:
		return fsm.Command{Op: fsm.OpDel, Args: pair[:1:1]}
	}
	from := len(s.digits)
	s.digits = strconv.AppendInt(s.digits, ttl, 10)
	at := len(s.extra)
	s.extra = append(s.extra, pair[0], pair[1], s.h.exWord, s.digits[from:len(s.digits):len(s.digits)])
	return fsm.Command{Op: fsm.OpSet, Args: s.extra[at:len(s.extra):len(s.extra)]}
}

// run sends the batch to the router and appends its replies. The error is the connection's.
func (s *session1) run(ctx context.Context) (err error) {
	if len(s.cmds) > 0 {
		if s.hand == nil {
			s.hand = s.deliver
		}
		s.at = 0
		s.replies = slices.Grow(s.replies[:0], len(s.cmds))[:len(s.cmds)]
		err = s.h.cfg.Router.Stream(ctx, &s.caller, s.cmds, s.replies, s.hand)
		clear(s.replies)
		clear(s.cmds)
	}
	s.cmds, s.kinds = s.cmds[:0], s.kinds[:0]
	s.args, s.extra, s.digits = emptied(s.args), emptied(s.extra), s.digits[:0]
	return err
}

// deliver answers the next requests; large values are written from where they are.
func (s *session1) deliver(replies []shard.Reply) error {
	for i := range replies {
		r, kind := &replies[i], s.kinds[s.at]
		if s.at++; kind == wire.V1Get && r.Err == nil && r.Result.Kind == fsm.KindBulk && isLarge(&r.Result) {
			s.out = wire.AppendV1OKHead(s.out, len(r.Result.Str))
			if err := s.flush(); err != nil {
				return err
			}
			if err := s.c.Write(r.Result.Str); err != nil {
				return err
			}
		} else {
			s.out = appendV1Reply(s.out, kind, r)
		}
		*r = shard.Reply{}
		if len(s.out) >= flushAt {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// emptied gives list's room back without what it pointed to, or nothing when it became large.
func emptied(list [][]byte) [][]byte {
	if cap(list) > 8*maxBatch {
		return nil
	}
	clear(list)
	return list[:0]
}

func (s *session1) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	err := s.c.Write(s.out)
	if s.out = s.out[:0]; cap(s.out) > tcpd.KeepBuffer {
		s.out = nil
	}
	return err
}

func appendV1Reply(dst []byte, kind uint8, r *shard.Reply) []byte {
	if r.Err != nil || r.Result.Kind == fsm.KindNone {
		f := failureOf(r.Err)
		if f.Applied == wire.AppliedNo {
			return wire.AppendV1Error(dst, f.Text+" (not applied)")
		}
		return wire.AppendV1Error(dst, f.Text+" (it may have been applied)")
	}
	return appendV1Outcome(dst, kind, &r.Result)
}

// appendV1Outcome is the one place where outcomes become version 1.
func appendV1Outcome(dst []byte, kind uint8, res *fsm.Result) []byte {
	switch {
	case res.Kind == fsm.KindError:
		return wire.AppendV1Error(dst, string(res.Str))
	case kind == wire.V1Get && res.Kind == fsm.KindNull:
		return wire.AppendV1Error(dst, wire.V1NotFound)
	case kind == wire.V1Get:
		return wire.AppendV1OK(dst, res.Str)
	case kind == wire.V1Status:
		return wire.AppendV1OK(dst, statusJSON(res))
	default:
		return wire.AppendV1OK(dst, nil)
	}
}

// statusJSON words KV.STATS as the ancestor does: keys, their bytes and the bytes of values.
func statusJSON(res *fsm.Result) []byte {
	var n [3]int64
	for i := range min(len(n), len(res.Elems)) {
		n[i] = res.Elems[i].Int
	}
	b := strconv.AppendInt([]byte(`{"count":`), n[0], 10)
	b = strconv.AppendInt(append(b, `,"keySize":`...), n[1], 10)
	b = strconv.AppendInt(append(b, `,"valueSize":`...), n[2], 10)
	return append(b, '}')
}

// nodesJSON lists the native addresses of all members, sorted.
func nodesJSON(m *shard.Map) []byte {
	list := []string{}
	if m != nil {
		for _, n := range m.Nodes {
			if a := n.Addrs["native"]; a != "" {
				list = append(list, a)
			}
		}
	}
	slices.Sort(list)
	b, err := json.Marshal(list)
	if err != nil {
		return []byte("[]") // a slice of strings always marshals
	}
	return b
}
