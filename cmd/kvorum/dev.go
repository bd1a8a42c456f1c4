// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/shard"
)

const (
	devPortStep  = 10
	devMaxNodes  = 9
	devStartTime = 60 * time.Second
	devStopTime  = 15 * time.Second
	devRestart   = 3 * time.Second
	devPoll      = 100 * time.Millisecond
)

// devConfig is what the flags of dev say.
type devConfig struct {
	nodes   int
	data    string
	port    int
	groups  int
	restart bool
}

func newDev(io stdio) *cobra.Command {
	d := devConfig{}
	c := &cobra.Command{
		Use: "dev", Short: "Start a whole cluster on loopback, one process per node", Args: cobra.NoArgs,
		Long: "Starts nodes as child processes, founds a cluster on the first start and finds it again on later ones.\n" +
			"Node i listens from port+10·i on: peer, HTTP +1, native TCP +2, Redis protocol +3. Ctrl-C stops all of them. A node that leaves\n" +
			"the cluster is not started again; a node that stops by itself with an error ends dev with it.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runDev(cmd.Context(), io, d) },
	}
	c.Flags().IntVar(&d.nodes, "nodes", 3, "number of nodes")
	c.Flags().StringVar(&d.data, "data", "kvorum-dev", "folder for the nodes' data; it survives restarts")
	c.Flags().IntVar(&d.port, "port", 7400, "base port of node 0")
	c.Flags().IntVar(&d.groups, "groups", defaultGroups(), "data groups of a new cluster; by default one for every two cores")
	c.Flags().BoolVar(&d.restart, "restart", true, "start a node again that was killed; without it the others go on alone")
	return c
}

// devCluster is the nodes that run.
type devCluster struct {
	devConfig
	self string
	out  *lineWriter
	stop context.CancelCauseFunc

	mu sync.Mutex
	on []*devNode // by index; those that were killed and are to start again count
}

func runDev(ctx context.Context, stdio stdio, d devConfig) error {
	if err := d.validate(); err != nil {
		return &exitError{exitUsage, err}
	}
	self, err := os.Executable()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	nodes := d.plan()
	if err := portsFree(nodes); err != nil {
		return &exitError{exitFailed, err}
	}
	if err := d.keepPort(); err != nil {
		return &exitError{exitFailed, err}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := &devCluster{devConfig: d, self: self, out: &lineWriter{w: stdio.err}, stop: stop, on: nodes}
	var wg sync.WaitGroup
	for _, n := range c.running() {
		run := func() (bool, error) { return n.run(ctx, self, c.out) }
		wg.Go(func() { c.keep(ctx, n, devRestart, run) })
	}
	for _, n := range d.notStarted() {
		c.out.line(fmt.Sprintf("%s has data in %s and is not started: --nodes is %d", n.name, n.data, d.nodes))
	}
	complete, err := c.waitComplete(ctx)
	if err == nil {
		c.printEndpoints(stdio.out, complete)
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	stop(err)
	wg.Wait()
	if fatal, ok := errors.AsType[*fatalError](err); ok {
		return &exitError{exitFailed, fatal}
	}
	c.out.line("all nodes stopped")
	return nil
}

// validate reports every fault at once, before any child could.
func (d *devConfig) validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if d.nodes < 1 || d.nodes > devMaxNodes {
		bad("--nodes %d is not between 1 and %d", d.nodes, devMaxNodes)
	}
	if last := 65535 - devPortStep*devMaxNodes; d.port < 1 || d.port > last {
		bad("--port %d is not between 1 and %d", d.port, last)
	}
	if d.groups < 1 || d.groups > shard.MaxGroups {
		bad("--groups %d is not between 1 and %d", d.groups, shard.MaxGroups)
	}
	if d.data == "" {
		bad("--data is empty")
	}
	return errors.Join(faults...)
}

// portsFree tells of a port that is taken before a node is started: the nodes of another dev that
// answer there must not be taken for this one's.
func portsFree(nodes []*devNode) error {
	h := host.Real()
	for _, n := range nodes {
		for _, addr := range n.addrs {
			if err := probe(h, addr); err != nil {
				return fmt.Errorf("node %d: %w", n.index, err)
			}
		}
	}
	return nil
}

// keepPort holds a data folder to the port of its first start: nodes that all come back elsewhere
// cannot find each other.
func (d *devConfig) keepPort() error {
	name := filepath.Join(d.data, "port")
	was, err := os.ReadFile(name)
	port := strings.TrimSpace(string(was))
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && port == "":
		if err := os.MkdirAll(d.data, 0o755); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		if err := os.WriteFile(name, []byte(strconv.Itoa(d.port)+"\n"), 0o644); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	case err != nil:
		return fmt.Errorf("data folder: %w", err)
	case port != strconv.Itoa(d.port):
		return fmt.Errorf("the nodes in %s know each other by the ports from %s on: give --port %[2]s, or another --data", d.data, port)
	}
	return nil
}

// running is the nodes that are to run.
func (c *devCluster) running() []*devNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*devNode(nil), c.on...)
}

// gone takes a node off the list for good and says so; dev ends with the last.
func (c *devCluster) gone(n *devNode, how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var rest []*devNode
	var names []string
	for _, o := range c.on {
		if o != n {
			rest, names = append(rest, o), append(names, o.name)
		}
	}
	c.on = rest
	if len(rest) == 0 {
		c.out.line(n.name + " " + how + "; no node is left")
		c.stop(nil)
		return
	}
	c.out.line(fmt.Sprintf("%s %s; %s go on", n.name, how, strings.Join(names, ", ")))
}

// waitComplete waits until every running node is up and every group has all its voters. A cluster that
// stays incomplete is left running for its operator to mend.
func (c *devCluster) waitComplete(ctx context.Context) (bool, error) {
	wait, cancel := context.WithTimeout(ctx, devStartTime)
	defer cancel()
	tick := time.NewTicker(devPoll)
	defer tick.Stop()
	var last shard.Status
	for {
		nodes := c.running()
		for _, n := range nodes {
			a, err := (&endpoint{addr: n.http(), output: "table", timeout: devStartTime}).open()
			if err != nil {
				return false, err
			}
			var s shard.Status
			if err := a.get(wait, "/v1/cluster", &s); err == nil && s.Cluster.Initialised {
				last = s
				break
			}
		}
		if ctx.Err() == nil && ready(&last, len(nodes)) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-wait.Done():
			switch {
			case ctx.Err() != nil:
				return false, context.Cause(ctx)
			case !last.Cluster.Initialised:
				return false, &fatalError{fmt.Errorf("no node belongs to a cluster after %v; the lines above may say why", devStartTime)}
			}
			c.out.line(fmt.Sprintf("the cluster is not complete after %v; 'kvorum status' says what is missing", devStartTime))
			for _, w := range last.Warnings {
				c.out.line("warning: " + w.Text)
			}
			return false, nil
		case <-tick.C:
		}
	}
}

func ready(s *shard.Status, nodes int) bool {
	up := 0
	for i := range s.Nodes {
		if s.Nodes[i].Alive {
			up++
		}
	}
	return s.Cluster.Initialised && up >= nodes && s.Cluster.Health == shard.HealthOK
}

func (c *devCluster) printEndpoints(w io.Writer, complete bool) {
	nodes := c.running()
	if len(nodes) == 0 {
		return
	}
	are, up := "nodes are", "up"
	if len(nodes) == 1 {
		are = "node is"
	}
	if !complete {
		up = "running, the cluster is not complete"
	}
	fmt.Fprintf(w, "%d %s %s; data in %s; Ctrl-C ends it\n\n", len(nodes), are, up, c.data)
	for _, n := range nodes {
		fmt.Fprintf(w, "  %s  HTTP http://%s  native TCP %s  Redis %s\n", n.name, n.http(), n.addrs[2], n.addrs[3])
	}
	program, addr := programName(c.self), ""
	if nodes[0].http() != defaultAddr {
		addr = " --addr " + nodes[0].http()
	}
	fmt.Fprintf(w, "\ntry, in another terminal:\n  %[1]s set%[2]s greeting hello\n  %[1]s get%[2]s greeting\n  %[1]s status%[2]s\n", program, addr)
}

// programName is how this program was called; what 'go run' built is gone with it.
func programName(self string) string {
	if strings.Contains(self, "go-build") {
		return "go run ./cmd/kvorum"
	}
	return os.Args[0]
}
