// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Node ids as the protocol shows them.
const (
	self  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	other = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// router is tcpdtest's with leaders.
type router struct {
	*tcpdtest.Router
	mu      sync.Mutex
	leaders map[uint32]string
}

func (r *router) Leader(group uint32) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaders[group]
}

func (r *router) lead(group uint32, node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaders[group] = node
}

// twoGroups is a map of two nodes; group 1 has the lower half of the slots, group 2 the upper.
func twoGroups() *shard.Map {
	m := &shard.Map{Epoch: 5, Version: 9, Groups: map[uint32]shard.GroupPlace{1: {Replicas: []string{self, other}}, 2: {Replicas: []string{self, other}}}}
	m.Nodes = map[string]shard.NodePlace{
		self:  {Name: "a", Addrs: map[string]string{"resp": "10.0.0.1:7403", "peer": "10.0.0.1:7400"}},
		other: {Name: "b", Addrs: map[string]string{"resp": "10.0.0.2:7403", "peer": "10.0.0.2:7400"}},
	}
	for slot := range m.Slots {
		m.Slots[slot] = 1 + uint32(slot/(shard.SlotCount/2))
	}
	return m
}

// cluster is the part of a node that is not its router.
type cluster struct {
	mu   sync.Mutex
	view shard.View
}

func (c *cluster) View() *shard.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view
	return &v
}

func (c *cluster) Status(context.Context) (shard.Status, error) {
	return shard.Status{Cluster: shard.ClusterStatus{ID: "cid", Self: self}, Groups: []shard.GroupStatus{{ID: 1, Leader: self, Term: 3}}}, nil
}

func (c *cluster) Configure(_ context.Context, change func(s *shard.Settings)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.view.Settings)
	return nil
}

func (c *cluster) Snapshot(context.Context) error { return nil }

// bench is a server before a fake router, on an in-memory network.
type bench struct {
	t      testing.TB
	router *router
	node   *cluster
	h      *Handler
	srv    *tcpdtest.Server
}

func newBench(t testing.TB, edit func(*Config), editServer func(*tcpd.Config)) *bench {
	b := &bench{
		t: t, node: &cluster{view: shard.View{Settings: shard.Settings{Replicas: 3, Policy: "noeviction"}}},
		router: &router{Router: tcpdtest.New(self, other), leaders: map[uint32]string{1: self, 2: other}},
	}
	b.router.SetMap(twoGroups())
	cfg := Config{Router: b.router, Table: b.router.Table(), Cluster: b.node, NodeID: self, Version: "test", MaxConns: 10}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if b.h, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	tc := tcpd.Config{Protocol: "resp", Open: b.h.Open, MaxCommand: b.h.MaxCommand(), Refusal: Refusal()}
	if editServer != nil {
		editServer(&tc)
	}
	b.srv = tcpdtest.Serve(t, ":7403", tc)
	return b
}

func (b *bench) close() {
	b.srv.Stop(b.t)
	b.srv.World.Close()
}

// peer is one client connection that speaks raw bytes.
type peer struct {
	t   testing.TB
	nc  net.Conn
	got []byte // read and not expected yet
}

func (b *bench) dial() *peer {
	b.t.Helper()
	return &peer{t: b.t, nc: b.srv.Dial(b.t)}
}

func (p *peer) close() { _ = p.nc.Close() }

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := p.nc.Write([]byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

// want reads exactly s.
func (p *peer) want(s string) {
	p.t.Helper()
	chunk := make([]byte, 64<<10)
	for len(p.got) < len(s) && bytes.HasPrefix([]byte(s), p.got) {
		n, err := p.nc.Read(chunk)
		if p.got = append(p.got, chunk[:n]...); err != nil {
			p.t.Fatalf("%q, then %v; want %q", p.got, err, s)
		}
	}
	if !bytes.HasPrefix(p.got, []byte(s)) {
		p.t.Fatalf("got %q, want %q", p.got, s)
	}
	p.got = p.got[len(s):]
}

// do sends an inline command and reads its reply.
func (p *peer) do(line, want string) {
	p.t.Helper()
	p.send(line + "\r\n")
	p.want(want)
}

// text sends an inline command, and a PING behind it to see where its reply ends.
func (p *peer) text(line string) string {
	p.t.Helper()
	const end = "$6\r\n<end!>\r\n"
	p.send(line + "\r\nPING <end!>\r\n")
	chunk := make([]byte, 64<<10)
	for !bytes.HasSuffix(p.got, []byte(end)) {
		n, err := p.nc.Read(chunk)
		if p.got = append(p.got, chunk[:n]...); err != nil {
			p.t.Fatalf("%q: %q, then %v", line, p.got, err)
		}
	}
	s := strings.TrimSuffix(string(p.got), end)
	p.got = nil
	return s
}

// ended reads what is left and the end of the stream.
func (p *peer) ended(want string) {
	p.t.Helper()
	rest, err := io.ReadAll(p.nc)
	if all := string(p.got) + string(rest); all != want || err != nil {
		p.t.Fatalf("%q, %v; want %q and the end", all, err, want)
	}
}

// words makes an array of bulks.
func words(list ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(list))
	for _, w := range list {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}
