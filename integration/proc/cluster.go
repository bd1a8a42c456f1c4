// SPDX-License-Identifier: Apache-2.0

// Package proc runs a cluster of real processes on loopback: started, killed and restarted one by
// one, watched through their own public status.
//
// Invariant: only processes that this package started are ever signalled, by process id, and none
// outlives Close. A Cluster's methods may be called from any goroutine; two calls about one node
// must not overlap.
package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/kvorum/kvorum/shard"
)

const (
	portsPerNode = 10
	// PollEvery is how often a wait looks again.
	PollEvery = 20 * time.Millisecond
	stopTime  = 20 * time.Second
)

// Config describes a cluster to start.
type Config struct {
	// Bin is the kvorum binary.
	Bin string
	// Dir holds one folder and one log file a node.
	Dir string
	// Port is the base port of node 0; node i has Port+10·i. 0 finds a free range.
	Port int
	// Args are added to every node's serve.
	Args []string
	// InitArgs are added to the founder's.
	InitArgs []string
	// Env is every node's environment; nil for the caller's.
	Env []string
}

// Cluster is a set of node processes.
type Cluster struct {
	cfg    Config
	client *http.Client
	mu     sync.Mutex
	nodes  []*Node
}

// Node is one node, running or not.
type Node struct {
	Index int
	// Base is the peer port; HTTP is one above, native TCP two, RESP three.
	Base int
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// HTTP is the node's HTTP address.
func (n *Node) HTTP() string { return "127.0.0.1:" + strconv.Itoa(n.Base+1) }

// Native is the node's native TCP address.
func (n *Node) Native() string { return "127.0.0.1:" + strconv.Itoa(n.Base+2) }

// RESP is the node's address for clients of Redis.
func (n *Node) RESP() string { return "127.0.0.1:" + strconv.Itoa(n.Base+3) }

// Peer is the node's peer address.
func (n *Node) Peer() string { return "127.0.0.1:" + strconv.Itoa(n.Base) }

// Name is the node's name in status.
func (n *Node) Name() string { return "node" + strconv.Itoa(n.Index) }

// Pid is the process id, 0 when the node is not running.
func (n *Node) Pid() int {
	if n.cmd == nil || n.cmd.Process == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// New prepares a cluster without starting anything.
func New(cfg Config) (*Cluster, error) {
	if cfg.Port == 0 {
		port, err := freePort()
		if err != nil {
			return nil, fmt.Errorf("proc: %w", err)
		}
		cfg.Port = port
	}
	return &Cluster{cfg: cfg, client: &http.Client{Timeout: 5 * time.Second}}, nil
}

// freePort looks for a range of ports in which the first four of each node are free now.
func freePort() (int, error) {
	for base := 17400; base < 60000; base += 200 {
		free := true
		for i := range 5 {
			for j := range 4 {
				ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(base+portsPerNode*i+j))
				if err != nil {
					free = false
					break
				}
				ln.Close()
			}
		}
		if free {
			return base, nil
		}
	}
	return 0, errors.New("no free range of ports")
}

// Add starts one more node: the first founds the cluster, later ones join through the first.
func (c *Cluster) Add(ctx context.Context) (*Node, error) {
	c.mu.Lock()
	n := &Node{Index: len(c.nodes), Base: c.cfg.Port + portsPerNode*len(c.nodes)}
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	extra := []string{"--if-new", "--join", c.nodes[0].Peer()}
	if n.Index == 0 {
		extra = append([]string{"--if-new", "--init"}, c.cfg.InitArgs...)
	}
	return n, c.start(ctx, n, extra)
}

// Start starts a node again on its data.
func (c *Cluster) Start(ctx context.Context, n *Node) error { return c.start(ctx, n, nil) }

func (c *Cluster) start(_ context.Context, n *Node, extra []string) error {
	log, err := os.OpenFile(filepath.Join(c.cfg.Dir, n.Name()+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	defer log.Close()
	args := append([]string{"serve", "--data", filepath.Join(c.cfg.Dir, n.Name()), "--port", strconv.Itoa(n.Base), "--name", n.Name()}, c.cfg.Args...)
	cmd := exec.Command(c.cfg.Bin, append(args, extra...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, c.cfg.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("proc: start %s: %w", n.Name(), err)
	}
	n.cmd, n.done = cmd, make(chan struct{})
	done := n.done
	go func() {
		n.err = cmd.Wait()
		close(done)
	}()
	return nil
}

// Signal sends a signal and, for one that ends a process, waits for its end.
func (c *Cluster) Signal(n *Node, sig syscall.Signal) error {
	if n.cmd == nil {
		return nil
	}
	if err := n.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("proc: signal %s: %w", n.Name(), err)
	}
	if sig != syscall.SIGKILL && sig != syscall.SIGTERM && sig != syscall.SIGINT {
		return nil
	}
	select {
	case <-n.done:
		return nil
	case <-time.After(stopTime):
		return fmt.Errorf("proc: %s did not stop within %v", n.Name(), stopTime)
	}
}

// Running tells whether the process lives.
func (n *Node) Running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// WaitExit waits until the process has ended by itself and returns the error it ended with.
func (n *Node) WaitExit(ctx context.Context) error {
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return fmt.Errorf("proc: %s still runs: %w", n.Name(), ctx.Err())
	}
}

// Exit is the error with which the process ended; only after Running is false.
func (n *Node) Exit() error { return n.err }

// Nodes lists the nodes ever added.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Node(nil), c.nodes...)
}

// Close kills what still runs.
func (c *Cluster) Close() {
	for _, n := range c.Nodes() {
		if n.Running() {
			_ = c.Signal(n, syscall.SIGKILL)
		}
	}
	c.client.CloseIdleConnections()
}

// Status asks one node.
func (c *Cluster) Status(ctx context.Context, n *Node) (*shard.Status, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP()+"/v1/cluster", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("proc: status of %s: %s: %s", n.Name(), resp.Status, body)
	}
	var s shard.Status
	return &s, json.Unmarshal(body, &s)
}

// Wait polls any running node's status until ok says so.
func (c *Cluster) Wait(ctx context.Context, what string, ok func(*shard.Status) bool) (*shard.Status, error) {
	var last *shard.Status
	var lastErr error
	tick := time.NewTicker(PollEvery)
	defer tick.Stop()
	for {
		for _, n := range c.Nodes() {
			if !n.Running() {
				continue
			}
			s, err := c.Status(ctx, n)
			if err != nil {
				lastErr = err
				continue
			}
			last = s
			if ok(s) {
				return s, nil
			}
		}
		select {
		case <-ctx.Done():
			text, _ := json.Marshal(last)
			return last, fmt.Errorf("proc: waiting for %s: %w (last error %w; last status %s)", what, ctx.Err(), lastErr, text)
		case <-tick.C:
		}
	}
}

// Healthy is a condition for Wait: n nodes up, every group with all its voters.
func Healthy(n int) func(*shard.Status) bool {
	return func(s *shard.Status) bool {
		up := 0
		for i := range s.Nodes {
			if s.Nodes[i].Alive {
				up++
			}
		}
		return s.Cluster.Health == shard.HealthOK && up == n
	}
}

// LeadersSpread is a condition for Wait: no node leads two data groups more than another.
func LeadersSpread(s *shard.Status) bool {
	leads := map[string]int{}
	for i := range s.Groups {
		if s.Groups[i].ID != 0 {
			leads[s.Groups[i].Leader]++
		}
	}
	least, most := len(s.Groups), 0
	for i := range s.Nodes {
		n := leads[s.Nodes[i].ID]
		least, most = min(least, n), max(most, n)
	}
	return most-least <= 1
}

// ByID finds the node with a node id in a status by its name.
func (c *Cluster) ByID(s *shard.Status, id string) *Node {
	for i := range s.Nodes {
		if s.Nodes[i].ID != id {
			continue
		}
		for _, n := range c.Nodes() {
			if n.Name() == s.Nodes[i].Name {
				return n
			}
		}
	}
	return nil
}
