// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"net"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// bench is a native server before a fake router, on an in-memory network.
type bench struct {
	t      testing.TB
	router *tcpdtest.Router
	h      *Handler
	srv    *tcpdtest.Server
}

func newBench(t testing.TB, edit func(*Config), editServer func(*tcpd.Config)) *bench {
	b := &bench{t: t, router: tcpdtest.New(self, "b")}
	cfg := Config{Router: b.router, Table: b.router.Table(), NodeID: self, Version: "test", ClusterID: func() string { return "cid" }}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if b.h, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	tc := tcpd.Config{Protocol: "native", Open: b.h.Open, MaxCommand: b.h.MaxCommand(), Refusal: Refusal()}
	if editServer != nil {
		editServer(&tc)
	}
	b.srv = tcpdtest.Serve(t, ":7402", tc)
	return b
}

func (b *bench) close() {
	b.srv.Stop(b.t)
	b.h.Close()
	b.srv.World.Close()
}

// peer is one client connection that speaks raw bytes.
type peer struct {
	b   *bench
	nc  net.Conn
	buf []byte
}

func (b *bench) dial() *peer {
	b.t.Helper()
	return &peer{b: b, nc: b.srv.Dial(b.t)}
}

func (p *peer) close() { _ = p.nc.Close() }

func (p *peer) send(bytes ...[]byte) {
	p.b.t.Helper()
	for _, x := range bytes {
		if _, err := p.nc.Write(x); err != nil {
			p.b.t.Fatal(err)
		}
	}
}

// more reads once; false at the end of the stream.
func (p *peer) more() bool {
	chunk := make([]byte, 64<<10)
	n, err := p.nc.Read(chunk)
	p.buf = append(p.buf, chunk[:n]...)
	return err == nil
}

// expect reads exactly want.
func (p *peer) expect(name string, want []byte) {
	p.b.t.Helper()
	for len(p.buf) < len(want) && p.more() {
	}
	got := p.buf[:min(len(want), len(p.buf))]
	if !bytes.Equal(got, want) {
		p.b.t.Fatalf("%s: got %q, want %q", name, got, want)
	}
	p.buf = p.buf[len(got):]
}

// expectEnd reads to the end of the stream and wants nothing more there.
func (p *peer) expectEnd(name string) {
	p.b.t.Helper()
	for p.more() {
	}
	if len(p.buf) != 0 {
		p.b.t.Fatalf("%s: %q before the end", name, p.buf)
	}
	p.close()
}

// frame reads one version 2 frame.
func (p *peer) frame() wire.Frame {
	p.b.t.Helper()
	for {
		f, n, _, err := wire.ParseFrame(p.buf, wire.MaxReply)
		if err != nil {
			p.b.t.Fatal(err)
		}
		if n > 0 {
			f.Body = bytes.Clone(f.Body)
			p.buf = p.buf[n:]
			return f
		}
		if !p.more() {
			p.b.t.Fatal("the connection ended before a frame")
		}
	}
}

// answer reads one frame and words it: a value's text, or the failure.
func (p *peer) answer() (id uint64, text string) {
	p.b.t.Helper()
	f := p.frame()
	switch f.Type {
	case wire.FrameResult:
		v, leader, err := wire.ParseResult(f.Body)
		if err != nil {
			p.b.t.Fatal(err)
		}
		if leader != "" {
			leader = "@" + leader
		}
		return f.ID, word(&v) + leader
	case wire.FrameFailure:
		fail, err := wire.ParseFailure(f.Body)
		if err != nil {
			p.b.t.Fatal(err)
		}
		if fail.Applied == wire.AppliedNo {
			return f.ID, "not applied: " + fail.Text
		}
		return f.ID, "unknown: " + fail.Text
	case wire.FramePong:
		return f.ID, "pong"
	default:
		p.b.t.Fatalf("frame of type %#x", f.Type)
		return 0, ""
	}
}

func (p *peer) expectAnswer(id uint64, want string) {
	p.b.t.Helper()
	if gotID, got := p.answer(); gotID != id || got != want {
		p.b.t.Fatalf("request %d: %q, want %d: %q", gotID, got, id, want)
	}
}

func (b *bench) hello(h *wire.Hello) (*peer, wire.Welcome) {
	b.t.Helper()
	p := b.dial()
	p.send(wire.AppendHello(nil, h))
	for {
		w, n, err := wire.ParseWelcome(p.buf)
		if err != nil {
			b.t.Fatal(err)
		}
		if n > 0 {
			p.buf = p.buf[n:]
			return p, w
		}
		if !p.more() {
			b.t.Fatal("no welcome")
		}
	}
}

func (b *bench) dial2(features wire.Features) *peer {
	b.t.Helper()
	p, w := b.hello(&wire.Hello{MinVersion: 2, MaxVersion: 2, Features: features})
	if w.Version != 2 || w.Features != features {
		b.t.Fatalf("welcome: %+v", w)
	}
	return p
}

func args(list ...string) [][]byte {
	out := make([][]byte, 0, len(list))
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

func request(id uint64, op wire.Op, list ...string) []byte {
	return wire.AppendRequest(nil, id, &wire.Request{Op: op, Args: args(list...)})
}

// word is a value as text.
func word(v *wire.Value) string {
	switch v.Kind {
	case wire.KindNull:
		return "null"
	case wire.KindInt:
		return "int " + strconv.FormatInt(v.Int, 10)
	case wire.KindError:
		return "error " + string(v.Str)
	case wire.KindArray, wire.KindMap, wire.KindSet, wire.KindPush:
		text := "["
		for i := range v.Elems {
			text += word(&v.Elems[i]) + ";"
		}
		return text + "]"
	default:
		return string(v.Str)
	}
}

// healthy checks that a new connection is served.
func (b *bench) healthy() {
	b.t.Helper()
	p := b.dial()
	defer p.close()
	p.send(wire.AppendV1Request(nil, wire.V1Delete, []byte("healthy")))
	p.expect("a healthy connection", wire.AppendV1OK(nil, nil))
}

var errNoQuorum = &shard.Error{Kind: shard.KindNoQuorum, Op: "write"}
