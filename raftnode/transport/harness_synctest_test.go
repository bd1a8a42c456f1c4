// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/link"
)

// cluster is three replicas of one group on the nodes n1, n2 and n3 of a world.
type cluster struct {
	t        *testing.T
	w        *host.World
	replicas []*replica
	links    []*link.Link
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// streamLayer is the world's network as raft's network transport wants it.
type streamLayer struct {
	net.Listener
	net host.Net
}

func (s *streamLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	node, _, err := ParseServerID(raft.ServerID(addr))
	if err != nil {
		return nil, err
	}
	return s.net.Dial(ctx, node+testPort)
}

// plainNet is raft's own network transport. It remembers its pipelines only so that the test can
// end: one that is wedged would never let raft shut down.
type plainNet struct {
	*raft.NetworkTransport
	mu    sync.Mutex
	pipes []raft.AppendPipeline
}

func (p *plainNet) AppendEntriesPipeline(id raft.ServerID, addr raft.ServerAddress) (raft.AppendPipeline, error) {
	pipe, err := p.NetworkTransport.AppendEntriesPipeline(id, addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.pipes = append(p.pipes, pipe)
	}
	return pipe, err
}

func (p *plainNet) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pipe := range p.pipes {
		_ = pipe.Close()
	}
	return p.NetworkTransport.Close()
}

func plainNetwork(t *testing.T, h *host.Host, id raft.ServerID, timeout time.Duration) *plainNet {
	t.Helper()
	ln, err := h.Net.Listen(testPort)
	if err != nil {
		t.Fatal(err)
	}
	return &plainNet{NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: &namedLayer{streamLayer{ln, h.Net}, id}, MaxPool: 3, Timeout: timeout,
		Logger: hclog.NewNullLogger(),
	})}
}

// namedLayer listens under the replica's id, which is its address.
type namedLayer struct {
	streamLayer
	id raft.ServerID
}

func (n *namedLayer) Addr() net.Addr { return idAddr(n.id) }

type idAddr string

func (idAddr) Network() string  { return "id" }
func (a idAddr) String() string { return string(a) }

// inCluster runs f in a bubble with three replicas, bootstrapped, on plain transports or on ours.
func inCluster(t *testing.T, plain bool, f func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, w: host.NewWorld(1)}
		defer c.w.Close()
		for i := range 3 {
			r := newReplica(ServerID(nodeName(i), uint64(i+1)))
			c.replicas = append(c.replicas, r)
			h := c.w.Host(nodeName(i))
			if plain {
				r.start(t, plainNetwork(t, h, r.id, 10*time.Second))
				continue
			}
			l := newLink(t, h, nodeName(i))
			c.links = append(c.links, l)
			tr, err := newMux(t, l, r.logs.overdue).Open(testGroup, uint64(i+1))
			if err != nil {
				t.Fatal(err)
			}
			r.start(t, tr)
		}
		defer c.stop()
		// All of them: a replica without a configuration would vote for nobody (W9).
		conf := servers(c.replicas[0].id, c.replicas[1].id, c.replicas[2].id)
		for _, r := range c.replicas {
			if err := r.raft.BootstrapCluster(conf).Error(); err != nil {
				t.Fatal(err)
			}
		}
		f(t, c)
	})
}

// slow lets the time of a write pass.
func (s *logStore) slow() { time.Sleep(time.Duration(s.delay.Load())) }

func (c *cluster) stop() {
	for _, r := range c.replicas {
		r.stop(c.t)
	}
	for _, l := range c.links {
		_ = l.Close()
	}
}

// leader waits for a leader that is not among old.
func (c *cluster) leader(most time.Duration, old ...*replica) *replica {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	next:
		for _, r := range c.replicas {
			for _, o := range old {
				if r == o {
					continue next
				}
			}
			if r.raft.State() == raft.Leader && r.raft.VerifyLeader().Error() == nil {
				return r
			}
		}
	}
	return nil
}

func (c *cluster) mustLead(most time.Duration, old ...*replica) *replica {
	c.t.Helper()
	r := c.leader(most, old...)
	if r == nil {
		c.t.Fatalf("no leader within %v", most)
	}
	return r
}

func (c *cluster) others(r *replica) []*replica {
	var out []*replica
	for _, o := range c.replicas {
		if o != r {
			out = append(out, o)
		}
	}
	return out
}

// apply proposes data on r and waits.
func (c *cluster) apply(r *replica, data []byte) {
	c.t.Helper()
	if err := r.raft.Apply(data, 0).Error(); err != nil {
		c.t.Fatalf("apply: %v", err)
	}
}

// caughtUp waits until r has applied what lead has.
func caughtUp(r, lead *replica, most time.Duration) bool {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if r.fsm.applied.Load() >= lead.fsm.applied.Load() {
			return true
		}
	}
	return false
}
