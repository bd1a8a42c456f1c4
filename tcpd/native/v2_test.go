// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

func TestHello(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	tests := []struct {
		name  string
		hello wire.Hello
		kind  wire.Kind
		feats wire.Features
	}{
		{"plain", wire.Hello{MinVersion: 2, MaxVersion: 2}, 0, 0},
		{"range", wire.Hello{MinVersion: 1, MaxVersion: 9, Features: wire.FeatureConcurrent}, 0, wire.FeatureConcurrent},
		{"features of tomorrow", wire.Hello{MinVersion: 2, MaxVersion: 2, Features: ^wire.Features(0)}, 0, grantable},
		{"too new", wire.Hello{MinVersion: 3, MaxVersion: 3}, wire.FailVersion, 0},
		{"too old", wire.Hello{MinVersion: 1, MaxVersion: 1}, wire.FailVersion, 0},
		{"unknown extension", wire.Hello{MinVersion: 2, MaxVersion: 2, Extensions: []wire.Extension{{Tag: 7}}}, 0, 0},
		{"mandatory extension", wire.Hello{MinVersion: 2, MaxVersion: 2, Extensions: []wire.Extension{{Tag: 0x8007}}}, wire.FailVersion, 0},
		{"credentials where none are asked for", wire.Hello{MinVersion: 2, MaxVersion: 2, Method: wire.MethodPassword, User: "u"}, wire.FailDenied, 0},
	}
	for _, tt := range tests {
		p, w := b.hello(&tt.hello)
		if w.Kind != tt.kind || (w.Version == 2) != (tt.kind == 0) || w.NodeID != self || w.ClusterID != "cid" || w.Server != "test" ||
			w.MaxInFlight != DefaultMaxInFlight || int(w.MaxFrame) != b.h.maxFrame || (w.Text == "") != (tt.kind == 0) {
			t.Errorf("%s: %+v", tt.name, w)
		}
		if tt.kind != 0 {
			p.expectEnd(tt.name)
			continue
		}
		if w.Features != tt.feats {
			t.Errorf("%s: features %b", tt.name, w.Features)
		}
		p.send(request(9, wire.OpGet, "k"))
		p.expectAnswer(9, "null")
		p.close()
	}
}

func TestAuthenticate(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Authenticate = func(_ context.Context, m wire.Method, user, secret string) (string, error) {
			if m == wire.MethodPassword && user == "ann" && secret == "s" {
				return "ann", nil
			}
			return "", errors.New("wrong user or password")
		}
	}, nil)
	defer b.close()
	p, w := b.hello(&wire.Hello{MinVersion: 2, MaxVersion: 2, Method: wire.MethodPassword, User: "ann", Secret: "x"})
	if w.Kind != wire.FailDenied || w.Text != "wrong user or password" {
		t.Errorf("%+v", w)
	}
	p.expectEnd("wrong password")
	p, w = b.hello(&wire.Hello{MinVersion: 2, MaxVersion: 2, Method: wire.MethodPassword, User: "ann", Secret: "s"})
	defer p.close()
	if w.Version != 2 {
		t.Fatalf("%+v", w)
	}
	p.send(request(1, wire.OpGet, "k"))
	p.expectAnswer(1, "null")
	if c := b.router.LastCaller(); c.User != "ann" || c.Protocol != "native" || c.Conn == 0 {
		t.Errorf("caller: %+v", c)
	}
}

// Goal: in a plain session everything is answered in the order of the frames, in few router calls,
// wherever the stream is cut.
func TestInOrder(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial2(0)
	defer p.close()
	frames := [][]byte{
		request(1, wire.OpSet, "n", "1"), request(2, wire.OpIncr, "n"), request(3, wire.OpGet, "n"),
		request(4, wire.OpNamed, "incrBY", "n", "10"), request(5, wire.OpNamed, "nosuch", "x"), request(6, 9999),
		wire.AppendBare(nil, wire.FramePing, 7), request(8, wire.OpGet, "n", "too", "many"), request(9, wire.OpNamed),
		request(10, 16, "1"), request(11, wire.OpMGet, "n", "none"), request(12, wire.OpDel, "n"),
	}
	want := []string{
		"OK", "int 2", "2", "int 12", "error ERR unknown command 'nosuch', with args beginning with: 'x' ",
		"error ERR unknown command number 9999", "pong", "error ERR wrong number of arguments for 'get' command",
		"error ERR command name is missing", "error ERR unknown command number 16", "[12;null;]", "int 1",
	}
	all := bytes.Join(frames, nil)
	check := func() {
		for i, w := range want {
			p.expectAnswer(uint64(i+1), w)
		}
	}
	p.send(all)
	check()
	if got := b.router.Calls.Load(); got > 5 {
		t.Errorf("%d router calls", got)
	}
	for cut := 1; cut < len(all); cut += 7 {
		p.send(all[:cut], all[cut:])
		check()
	}
}

// Goal: deadline, consistency, token and ids reach the router; equal terms share a call.
func TestTerms(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	var seen []shard.Caller
	var tokens []fsm.Token
	b.router.Before = func(_ context.Context, c *shard.Caller, cmd *fsm.Command) error {
		seen, tokens = append(seen, *c), append(tokens, cmd.Token)
		return nil
	}
	p := b.dial2(0)
	defer p.close()
	key := args("k")
	tok := wire.Token{Client: [16]byte{1}, Seq: 5}
	var all []byte
	for i, q := range []wire.Request{
		{Op: wire.OpGet, Args: key, Deadline: 980 * time.Millisecond},
		{Op: wire.OpGet, Args: key, Deadline: time.Second},
		{Op: wire.OpGet, Args: key, Deadline: time.Hour},
		{Op: wire.OpGet, Args: key, Consistency: wire.Stale},
		{Op: wire.OpIncr, Args: key, Token: tok},
		{Op: wire.OpIncr, Args: key, Token: tok},
	} {
		all = wire.AppendRequest(all, uint64(i+1), &q)
	}
	p.send(all)
	for i, want := range []string{"null", "null", "null", "null", "int 1", "int 1"} {
		p.expectAnswer(uint64(i+1), want)
	}
	timeouts := []time.Duration{time.Second, time.Second, time.Minute, 0, 0, 0}
	for i, c := range seen {
		if c.Timeout != timeouts[i] || c.Stale != (i == 3) || tokens[i].IsZero() != (i < 4) {
			t.Errorf("request %d: %+v, token %v", i+1, c, tokens[i])
		}
	}
	if got := b.router.Calls.Load(); got != 4 {
		t.Errorf("%d router calls, want 4", got)
	}
}

// Goal: a client learns a leader from answers, but only when it is another node.
func TestLeaderHints(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial2(0)
	defer p.close()
	b.router.Leader = "b"
	p.send(request(1, wire.OpGet, "k"))
	p.expectAnswer(1, "null@b")
	b.router.Leader = self
	p.send(request(2, wire.OpGet, "k"))
	p.expectAnswer(2, "null")
	b.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error {
		return &shard.Error{Kind: shard.KindNotLeader, Leader: "b"}
	}
	p.send(request(3, wire.OpGet, "k"))
	f := p.frame()
	if fail, err := wire.ParseFailure(f.Body); err != nil || fail.Leader != "b" || fail.RetryAfter == 0 || fail.Applied != wire.AppliedNo {
		t.Errorf("%+v, err %v", fail, err)
	}
}

func TestTopology(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Leader = func(uint32) string { return "b" } }, nil)
	defer b.close()
	p := b.dial2(0)
	defer p.close()
	p.send(wire.AppendTopologyRequest(nil, 3, 0))
	f := p.frame()
	top, err := wire.ParseTopology(f.Body)
	if err != nil || f.ID != 3 || f.Type != wire.FrameView || top.Version != 1 || top.Epoch != 1 || len(top.Nodes) != 2 || len(top.Groups) != 1 {
		t.Fatalf("%+v, err %v", top, err)
	}
	g := top.Groups[0]
	if g.ID != 1 || top.Nodes[g.Leader] != (wire.TopologyNode{ID: "b", Addr: "b:7402"}) || len(g.Replicas) != 2 || top.Owners[77] != 0 {
		t.Errorf("group %+v, owner %d", g, top.Owners[77])
	}
	p.send(wire.AppendTopologyRequest(nil, 4, top.Version))
	if top, err = wire.ParseTopology(p.frame().Body); err != nil || top.Version != 1 || top.Owners != nil || top.Nodes != nil {
		t.Errorf("unchanged: %+v, err %v", top, err)
	}
	b.router.SetMap(&shard.Map{})
	p.send(wire.AppendTopologyRequest(nil, 5, 0))
	if top, err = wire.ParseTopology(p.frame().Body); err != nil || top.Version != 0 || top.Owners != nil {
		t.Errorf("before the cluster: %+v, err %v", top, err)
	}
}

// Goal: what makes no sense is answered with one failure of the connection behind the answers to what
// made sense, and ends this connection alone.
func TestBrokenFramesV2(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	good := request(1, wire.OpGet, "k")
	malformed := request(2, wire.OpGet, "k")
	malformed[len(malformed)-2] = 9
	tests := []struct {
		name string
		in   []byte
		want string
	}{
		{"too long", []byte{0x7f, 0xff, 0xff, 0xff}, "frame too long"},
		{"no id", request(0, wire.OpGet, "k"), "malformed frame"},
		{"a server's frame", wire.AppendBare(nil, wire.FramePong, 1), "malformed frame"},
		{"unknown type", wire.AppendBare(nil, 0x33, 1), "malformed frame"},
		{"malformed request", malformed, "malformed frame"},
		{"ping with a body", []byte("\x00\x00\x00\x0a\x03\x00\x00\x00\x00\x00\x00\x00\x01x"), "malformed frame"},
		{"length below the head", []byte{0, 0, 0, 1, 0}, "malformed frame"},
	}
	for _, features := range []wire.Features{0, wire.FeatureConcurrent} {
		for _, tt := range tests {
			p := b.dial2(features)
			p.send(append(bytes.Clone(good), tt.in...))
			seen := map[uint64]string{}
			for range 2 {
				id, text := p.answer()
				seen[id] = text
			}
			if seen[0] != "not applied: "+tt.want || seen[1] != "null" {
				t.Errorf("features %b, %s: %v", features, tt.name, seen)
			}
			p.expectEnd(tt.name)
		}
	}
	b.healthy()
	p := b.dial()
	p.send([]byte(wire.Magic + "\x00\x00\x00\x01\x00"))
	if !p.more() {
		t.Fatal("no answer to a malformed hello")
	}
	w, n, err := wire.ParseWelcome(p.buf)
	if err != nil || n == 0 || w.Version != 0 || w.Kind != wire.FailProtocol {
		t.Errorf("%+v, err %v", w, err)
	}
	p.close()
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a handler without router")
	}
	b := newBench(t, nil, nil)
	defer b.close()
	if _, err := New(Config{Router: b.router, Table: b.router.Table(), MaxInFlight: -1}); err == nil {
		t.Error("a negative limit")
	}
}
