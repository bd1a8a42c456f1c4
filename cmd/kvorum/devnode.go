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
)

// devNode is one child process.
type devNode struct {
	index int
	name  string
	data  string
	args  []string
	env   []string
	addrs [4]string // peer, HTTP, native, RESP
}

func (n *devNode) http() string { return n.addrs[1] }

// member tells whether the node's folder holds a replica of the control group, as every member's does
// and that of a node that left does not.
func (n *devNode) member() bool {
	found, err := filepath.Glob(filepath.Join(n.data, "groups", "0-*"))
	return err == nil && len(found) > 0
}

func (d *devConfig) node(i int) *devNode {
	n := &devNode{index: i, name: "node" + strconv.Itoa(i)}
	n.data = filepath.Join(d.data, n.name)
	port := d.port + devPortStep*i
	for j := range n.addrs {
		n.addrs[j] = "127.0.0.1:" + strconv.Itoa(port+j)
	}
	n.args = []string{
		"serve", "--data", n.data, "--port", strconv.Itoa(port), "--name", n.name, "--log-level", "warn", "--if-new",
	}
	return n
}

// notStarted is the members in the data folder beyond --nodes.
func (d *devConfig) notStarted() (rest []*devNode) {
	for i := d.nodes; i < devMaxNodes; i++ {
		if n := d.node(i); n.member() {
			rest = append(rest, n)
		}
	}
	return rest
}

// plan says how each node starts. Node 0 founds the cluster unless another node is a member already: a
// node whose folder is gone joins the others, since a second cluster beside theirs is never meant.
func (d *devConfig) plan() []*devNode {
	env, _ := awakeEnv(shareEnv(os.Environ(), d.nodes, runtime.GOMAXPROCS(0)))
	nodes := make([]*devNode, d.nodes)
	for i := range nodes {
		nodes[i] = d.node(i)
		nodes[i].env = env
	}
	for i, n := range nodes {
		var members []string
		for j, o := range nodes {
			if j != i && o.member() {
				members = append(members, o.addrs[0])
			}
		}
		switch {
		case len(members) > 0:
			n.args = append(n.args, "--join", strings.Join(members, ","))
		case i == 0:
			n.args = append(n.args, "--init", "--groups", strconv.Itoa(d.groups))
		default:
			n.args = append(n.args, "--join", nodes[0].addrs[0])
		}
	}
	return nodes
}

// keep runs a child until ctx ends, starting it again after it was killed or stopped. One that has
// left the cluster stays away. One that ends by itself with an error has said why: that ends dev.
func (c *devCluster) keep(ctx context.Context, n *devNode, pause time.Duration, run func() (left bool, err error)) {
	// The kernel ends the child when the thread that started it ends, so that thread must last.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		left, err := run()
		exit, exited := errors.AsType[*exec.ExitError](err)
		how := "was stopped"
		switch {
		case ctx.Err() != nil:
			return
		case left:
			c.gone(n, fmt.Sprintf("has left the cluster (to take it in again as a new node, delete %s and start dev again)", n.data))
			return
		case err != nil && (!exited || exit.Exited()):
			c.stop(&fatalError{fmt.Errorf("node %d: stopped: %w; its lines above say why", n.index, err)})
			return
		case err != nil:
			how = fmt.Sprintf("died (%v)", err)
		}
		if !c.restart {
			c.gone(n, how)
			return
		}
		c.out.line(fmt.Sprintf("%s %s; starting it again in %v", n.name, how, pause))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// run is one life of the child. left tells that it said it is no member any more.
func (n *devNode) run(ctx context.Context, self string, out *lineWriter) (left bool, err error) {
	cmd := exec.CommandContext(ctx, self, n.args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = devStopTime
	cmd.SysProcAttr = childAttr()
	cmd.Env = n.env
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	scan := bufio.NewScanner(pipe)
	for scan.Scan() {
		switch said := scan.Text(); {
		case strings.Contains(said, saysLeft):
			left = true
		case strings.HasPrefix(said, firstTrace):
		default:
			out.line(n.name + ": " + said)
		}
	}
	// A line too long for the scanner must not block the child.
	_, _ = io.Copy(io.Discard, pipe)
	err = cmd.Wait()
	return left && err == nil, err
}

// leastShare lets a node go on while it waits for its disk.
const leastShare = 2

// shareEnv is env with each of the nodes' share of the machine's cores, unless env says another: nodes
// that each take a large machine for theirs spend much of it on waking one another's threads.
func shareEnv(env []string, nodes, cores int) []string {
	for _, e := range env {
		if strings.HasPrefix(e, "GOMAXPROCS=") {
			return env
		}
	}
	return append(slices.Clone(env), "GOMAXPROCS="+strconv.Itoa(max(leastShare, cores/nodes)))
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
