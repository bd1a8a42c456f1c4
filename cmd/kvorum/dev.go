// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/shard"
)

const (
	devPortStep  = 10
	devMaxNodes  = 9
	devStartTime = 60 * time.Second
	devStopTime  = 15 * time.Second
	devRestart   = 3 * time.Second
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
			"Node i listens from port+10·i on: peer, HTTP +1, native TCP +2. Ctrl-C stops all of them.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runDev(cmd.Context(), io, d) },
	}
	c.Flags().IntVar(&d.nodes, "nodes", 3, "number of nodes")
	c.Flags().StringVar(&d.data, "data", "kvorum-dev", "folder for the nodes' data; it survives restarts")
	c.Flags().IntVar(&d.port, "port", 7400, "base port of node 0")
	c.Flags().IntVar(&d.groups, "groups", defaultGroups(), "data groups of a new cluster; by default one for every two cores")
	c.Flags().BoolVar(&d.restart, "restart", true, "start a node again that died")
	return c
}

// devNode is one child process.
type devNode struct {
	index int
	args  []string
	env   []string
	http  string
}

func runDev(ctx context.Context, stdio stdio, d devConfig) error {
	if err := d.validate(); err != nil {
		return &exitError{exitUsage, err}
	}
	self, err := os.Executable()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &lineWriter{w: stdio.err}
	var wg sync.WaitGroup
	for i := range d.nodes {
		n := newDevNode(d, i)
		wg.Go(func() {
			if err := n.keep(ctx, self, out, d.restart); err != nil {
				stop(&fatalError{fmt.Errorf("node %d: %w", n.index, err)})
			}
		})
	}
	err = waitForCluster(ctx, d)
	if err == nil {
		printEndpoints(stdio.out, d)
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	stop(err)
	wg.Wait()
	if fatal, ok := errors.AsType[*fatalError](err); ok {
		return &exitError{exitFailed, fatal}
	}
	fmt.Fprintln(stdio.err, "all nodes stopped")
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

func newDevNode(d devConfig, i int) *devNode {
	base := d.port + devPortStep*i
	n := &devNode{
		index: i, http: "127.0.0.1:" + strconv.Itoa(base+1),
		env: shareEnv(os.Environ(), d.nodes, runtime.GOMAXPROCS(0)),
	}
	n.args = []string{
		"serve", "--data", filepath.Join(d.data, "node"+strconv.Itoa(i)), "--port", strconv.Itoa(base),
		"--name", "node" + strconv.Itoa(i), "--log-level", "warn", "--if-new",
	}
	if i == 0 {
		n.args = append(n.args, "--init", "--groups", strconv.Itoa(d.groups))
	} else {
		n.args = append(n.args, "--join", "127.0.0.1:"+strconv.Itoa(d.port))
	}
	return n
}

// keep runs the child until ctx ends, starting it again after it was killed. A child that exits by
// itself with an error has said why: that ends the cluster. One that exits without has left it.
func (n *devNode) keep(ctx context.Context, self string, out *lineWriter, restart bool) error {
	// The kernel ends the child when the thread that started it ends, so that thread must last.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		err := n.run(ctx, self, out)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			out.line(fmt.Sprintf("node%d has left the cluster", n.index))
			return nil
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); !restart || !ok || exit.Exited() {
			return fmt.Errorf("stopped: %w", err)
		}
		out.line(fmt.Sprintf("node%d died (%v); starting it again in %v", n.index, err, devRestart))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(devRestart):
		}
	}
}

func (n *devNode) run(ctx context.Context, self string, out *lineWriter) error {
	cmd := exec.CommandContext(ctx, self, n.args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = devStopTime
	cmd.SysProcAttr = childAttr()
	cmd.Env = n.env
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	scan := bufio.NewScanner(pipe)
	for scan.Scan() {
		out.line(fmt.Sprintf("node%d: %s", n.index, scan.Text()))
	}
	// A line too long for the scanner must not block the child.
	_, _ = io.Copy(io.Discard, pipe)
	return cmd.Wait()
}

// shareEnv is env with each of the nodes' share of the machine's cores, unless env says another: nodes
// that each take the whole machine for theirs spend a fifth of it on waking one another's threads.
func shareEnv(env []string, nodes, cores int) []string {
	for _, e := range env {
		if strings.HasPrefix(e, "GOMAXPROCS=") {
			return env
		}
	}
	return append(slices.Clone(env), "GOMAXPROCS="+strconv.Itoa(max(1, cores/nodes)))
}

// lineWriter keeps the lines of several children whole.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, s)
}

// waitForCluster polls node 0 until every node is up and every group has all its voters.
func waitForCluster(ctx context.Context, d devConfig) error {
	wait, cancel := context.WithTimeout(ctx, devStartTime)
	defer cancel()
	a, err := (&endpoint{addr: newDevNode(d, 0).http, output: "table"}).open()
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var s shard.Status
		if err := a.get(wait, "/v1/cluster", &s); err == nil && ready(&s, d.nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wait.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &fatalError{fmt.Errorf("the cluster was not complete after %v; the lines above may say why", devStartTime)}
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

func printEndpoints(w io.Writer, d devConfig) {
	fmt.Fprintf(w, "%d nodes are up; data in %s; Ctrl-C stops them\n\n", d.nodes, d.data)
	for i := range d.nodes {
		base := d.port + devPortStep*i
		fmt.Fprintf(w, "  node%d  HTTP http://127.0.0.1:%d  native TCP 127.0.0.1:%d\n", i, base+1, base+2)
	}
	addr := ""
	if d.port+1 != 7401 {
		addr = fmt.Sprintf(" --addr 127.0.0.1:%d", d.port+1)
	}
	fmt.Fprintf(w, "\ntry, in another terminal:\n  go run ./cmd/kvorum set%s greeting hello\n  go run ./cmd/kvorum get%s greeting\n  go run ./cmd/kvorum status%s\n", addr, addr, addr)
}
