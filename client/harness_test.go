// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/native"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is nodes n0, n1 … on an in-memory network, all before one machine.
type cluster struct {
	t      testing.TB
	world  *host.World
	router *tcpdtest.Router
	nodes  []*server
	// leader is the index of the node that clients are told of; -1 for none.
	leader atomic.Int64
}

// server is one node. Its router counts, and may answer for the machine.
type server struct {
	*tcpdtest.Router
	cl       *cluster
	id       string
	commands atomic.Int64
	mu       sync.Mutex
	// answer replaces the machine for commands that it returns true for.
	answer func(cmd *fsm.Command) (shard.Reply, bool)
	h      *native.Handler
	srv    *tcpd.Server
	served chan error
}

func (s *server) Do(ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	for i := range cmds {
		s.commands.Add(1)
		if answer != nil {
			var ok bool
			if out[i], ok = answer(&cmds[i]); ok {
				continue
			}
		}
		s.Router.Do(ctx, c, cmds[i:i+1], out[i:i+1])
		out[i].Leader = s.cl.leaderID()
	}
}

// Stream hands each reply on by itself.
func (s *server) Stream(
	ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply, hand func([]shard.Reply) error,
) error {
	for i := range cmds {
		s.Do(ctx, c, cmds[i:i+1], out[i:i+1])
		if err := hand(out[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) set(answer func(cmd *fsm.Command) (shard.Reply, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (cl *cluster) leaderID() string {
	if i := cl.leader.Load(); i >= 0 {
		return cl.nodes[i].id
	}
	return ""
}

func newCluster(t testing.TB, n int) *cluster {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("n%d", i)
	}
	cl := &cluster{t: t, world: host.NewWorld(7), router: tcpdtest.New(ids...)}
	cl.leader.Store(-1)
	for _, id := range ids {
		cl.nodes = append(cl.nodes, &server{Router: cl.router, cl: cl, id: id})
	}
	for i := range cl.nodes {
		cl.start(i)
	}
	return cl
}

func (cl *cluster) start(i int) {
	s := cl.nodes[i]
	var err error
	s.h, err = native.New(native.Config{
		Router: s, Table: cl.router.Table(), NodeID: s.id, Version: "test", Leader: func(uint32) string { return cl.leaderID() },
	})
	if err != nil {
		cl.t.Fatal(err)
	}
	s.srv, err = tcpd.New(tcpd.Config{Open: s.h.Open, MaxCommand: s.h.MaxCommand(), Refusal: native.Refusal()})
	if err != nil {
		cl.t.Fatal(err)
	}
	ln, err := cl.world.Host(s.id).Net.Listen(":7402")
	if err != nil {
		cl.t.Fatal(err)
	}
	s.served = make(chan error, 1)
	go func() { s.served <- s.srv.Serve(ln) }()
}

// stop cuts a node off.
func (cl *cluster) stop(i int) {
	s := cl.nodes[i]
	_ = s.srv.Close()
	if err := <-s.served; !errors.Is(err, tcpd.ErrClosed) {
		cl.t.Errorf("Serve returned %v", err)
	}
	s.h.Close()
	s.srv = nil
}

func (cl *cluster) close() {
	for i, s := range cl.nodes {
		if s.srv != nil {
			cl.stop(i)
		}
	}
	cl.world.Close()
}

func (cl *cluster) dialer() client.Option {
	return client.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return cl.world.Host("client").Net.Dial(ctx, addr)
	})
}

func (cl *cluster) dial(opts ...client.Option) *client.Client {
	cl.t.Helper()
	addrs := make([]string, len(cl.nodes))
	for i, s := range cl.nodes {
		addrs[i] = s.id + ":7402"
	}
	c, err := client.Dial(context.Background(), addrs, append([]client.Option{cl.dialer()}, opts...)...)
	if err != nil {
		cl.t.Fatal(err)
	}
	return c
}

// fail makes a reply that is a delivery error.
func fail(kind shard.Kind) shard.Reply { return shard.Reply{Err: &shard.Error{Kind: kind}} }

// times answers the first n commands of op with reply, the machine answers the rest. applied tells
// whether the machine runs those commands all the same.
func (s *server) times(n int64, op fsm.Op, reply shard.Reply, applied bool) {
	var seen atomic.Int64
	s.set(func(cmd *fsm.Command) (shard.Reply, bool) {
		if cmd.Op != op || seen.Add(1) > n {
			return shard.Reply{}, false
		}
		if applied {
			var out [1]shard.Reply
			s.Router.Do(context.Background(), &shard.Caller{}, []fsm.Command{*cmd}, out[:])
		}
		return reply, true
	})
}
