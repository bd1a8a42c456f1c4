// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// playProgram makes the test binary the program itself, so that dev can start it as its children.
const playProgram = "TEST_PLAY_KVORUM"

func TestMain(m *testing.M) {
	if os.Getenv(playProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// transcript is what a running command has said so far.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{}, 1)} }

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// running is a command line under way.
type running struct {
	t    *testing.T
	said *transcript
	stop context.CancelFunc
	code chan int
}

func startLine(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{t: t, said: newTranscript(), stop: stop, code: make(chan int, 1)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.code <- run(ctx, args, stdio{in: strings.NewReader(""), out: r.said, err: r.said, getenv: os.Getenv})
	}()
	t.Cleanup(func() { stop(); <-over })
	return r
}

// says waits for a text.
func (r *running) says(text string) {
	r.t.Helper()
	patience := time.After(time.Minute)
	for !strings.Contains(r.said.String(), text) {
		select {
		case <-r.said.more:
		case code := <-r.code:
			r.t.Fatalf("ended with code %d before it said %q:\n%s", code, text, r.said)
		case <-patience:
			r.t.Fatalf("never said %q:\n%s", text, r.said)
		}
	}
}

// ends waits for the end.
func (r *running) ends(want int) {
	r.t.Helper()
	select {
	case code := <-r.code:
		if code != want {
			r.t.Fatalf("code %d, want %d:\n%s", code, want, r.said)
		}
	case <-time.After(time.Minute):
		r.t.Fatalf("does not end:\n%s", r.said)
	}
}

// freePorts finds a base whose nodes' ports are all free.
func freePorts(t *testing.T, nodes int) int {
	t.Helper()
	for base := 21000; base < 30000; base += devPortStep * devMaxNodes {
		d := devConfig{nodes: nodes, data: t.TempDir(), port: base, groups: 1}
		if portsFree(d.plan()) == nil {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// TestDevLeave: a node that leaves does not end dev, nor does its folder when dev starts again, even
// that of node 0; its place can be taken anew, in the same cluster.
func TestDevLeave(t *testing.T) {
	t.Setenv(playProgram, "1")
	dir := filepath.Join(t.TempDir(), "dev")
	base := freePorts(t, 3)
	args := []string{"dev", "--data", dir, "--port", strconv.Itoa(base), "--groups", "1"}
	addr := "127.0.0.1:" + strconv.Itoa(base+devPortStep+1) // of node1
	line := func(want int, text string, args ...string) {
		t.Helper()
		if got := runLine(t, nil, strings.NewReader(""), append(args, "--addr", addr)...); got.code != want || !strings.Contains(got.out, text) {
			t.Fatalf("kvorum %q: %+v, want code %d and %q", args, got, want, text)
		}
	}

	d := startLine(t, args...)
	d.says("3 nodes are up")
	line(0, "OK", "set", "k", "v")
	line(0, "has left", "leave", "node0")
	d.says("node0 has left the cluster")
	d.says("node1, node2 go on")
	line(0, "v", "get", "k")
	again := startLine(t, args...) // beside it: never taken for up
	again.ends(exitFailed)
	if said := again.said.String(); !strings.Contains(said, "node 1: ") || strings.Contains(said, "up;") {
		t.Errorf("a second dev: %s", said)
	}
	d.stop()
	d.ends(0)

	elsewhere := startLine(t, "dev", "--data", dir, "--nodes", "2", "--port", strconv.Itoa(base+devPortStep))
	elsewhere.ends(exitFailed)
	if said := elsewhere.said.String(); !strings.Contains(said, "--port "+strconv.Itoa(base)) {
		t.Errorf("dev on other ports: %s", said)
	}
	fewer := devConfig{nodes: 2, data: dir, port: base, groups: 1}
	if rest := fewer.notStarted(); len(rest) != 1 || rest[0].name != "node2" {
		t.Errorf("--nodes 2 leaves out %v, want node2 alone", rest)
	}

	d = startLine(t, args...)
	d.says("2 nodes are up")
	line(0, "v", "get", "k")
	if !strings.Contains(d.said.String(), "node0 has left the cluster") {
		t.Errorf("nothing about node0: %s", d.said)
	}
	d.stop()
	d.ends(0)

	serve := []string{"serve", "--data", filepath.Join(dir, "node0"), "--port", strconv.Itoa(base), "--init"}
	if got := runLine(t, nil, strings.NewReader(""), serve...); got.code != exitFailed || !strings.Contains(got.err, "has left its cluster") {
		t.Errorf("serve on the folder of a node that left: %+v", got)
	}
	if got := runLine(t, nil, strings.NewReader(""), append(serve, "--if-new")...); got.code != exitOK || !strings.Contains(got.err, saysLeft) {
		t.Errorf("serve --if-new on the folder of a node that left: %+v", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "node0")); err != nil {
		t.Fatal(err)
	}
	d = startLine(t, args...)
	d.says("3 nodes are up")
	line(0, "v", "get", "k")
	d.stop()
	d.ends(0)
	if strings.Contains(d.said.String(), "%!") {
		t.Errorf("garbled: %s", d.said)
	}
}

// TestDevKeep: what becomes of a node by the way it ended.
func TestDevKeep(t *testing.T) {
	killed, failed := exec.Command("sh", "-c", "kill -9 $$").Run(), exec.Command("false").Run()
	if killed == nil || failed == nil {
		t.Fatal("no processes that end badly")
	}
	type life struct {
		left bool
		err  error
	}
	for _, c := range []struct {
		name    string
		restart bool
		lives   []life
		want    []string
		fatal   bool
	}{
		{"left", true, []life{{left: true}}, []string{"node0 has left the cluster", "node1 go on"}, false},
		{"stopped", true, []life{{}, {left: true}}, []string{"node0 was stopped; starting it again", "node0 has left"}, false},
		{"killed", true, []life{{err: killed}, {left: true}}, []string{"node0 died (signal: killed); starting it again", "node0 has left"}, false},
		{"stopped for good", false, []life{{}}, []string{"node0 was stopped; node1 go on"}, false},
		{"killed for good", false, []life{{err: killed}}, []string{"node0 died (signal: killed); node1 go on"}, false},
		{"failed", true, []life{{err: failed}}, nil, true},
		{"not started", true, []life{{err: errors.New("no such program")}}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			said := newTranscript()
			d := &devCluster{devConfig: devConfig{nodes: 2, data: "d", port: 7400, groups: 1, restart: c.restart}, out: &lineWriter{w: said}, stop: stop}
			d.on = d.plan()
			for _, n := range d.running() {
				lives := slices.Clone(c.lives)
				d.keep(ctx, n, 0, func() (bool, error) {
					if len(lives) == 0 {
						t.Errorf("%s was started once too often", n.name)
						return true, nil
					}
					l := lives[0]
					lives = lives[1:]
					return l.left, l.err
				})
				if n.index > 0 || c.fatal {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("dev ended with node1 running: %v", context.Cause(ctx))
				}
			}
			for _, text := range c.want {
				if !strings.Contains(said.String(), text) {
					t.Errorf("no %q in\n%s", text, said)
				}
			}
			_, fatal := errors.AsType[*fatalError](context.Cause(ctx))
			if ctx.Err() == nil || fatal != c.fatal || !c.fatal && !strings.Contains(said.String(), "no node is left") {
				t.Errorf("ended: %v, said\n%s", context.Cause(ctx), said)
			}
			if all := said.String() + fmt.Sprint(context.Cause(ctx)); strings.Contains(all, "%!") {
				t.Errorf("garbled: %s", all)
			}
		})
	}
}

// TestDevPortTaken: dev names the port and starts nothing.
func TestDevPortTaken(t *testing.T) {
	base := freePorts(t, 2)
	taken := "127.0.0.1:" + strconv.Itoa(base+devPortStep+2)
	ln, err := net.Listen("tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := filepath.Join(t.TempDir(), "dev")
	got := runLine(t, nil, strings.NewReader(""), "dev", "--nodes", "2", "--data", dir, "--port", strconv.Itoa(base))
	if got.code != exitFailed || !strings.Contains(got.err, "node 1: ") || !strings.Contains(got.err, taken) || !strings.Contains(got.err, "--port") {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
}

// TestShareEnv: nodes on one machine share its cores, and what the user says wins.
func TestShareEnv(t *testing.T) {
	for _, c := range []struct {
		env          []string
		nodes, cores int
		want         []string
	}{
		{[]string{"A=b"}, 3, 2, []string{"A=b", "GOMAXPROCS=2"}},
		{[]string{"A=b"}, 3, 16, []string{"A=b", "GOMAXPROCS=5"}},
		{nil, 1, 8, []string{"GOMAXPROCS=8"}},
		{[]string{"GOMAXPROCS=7", "A=b"}, 3, 2, []string{"GOMAXPROCS=7", "A=b"}},
		{[]string{"GOMAXPROCS_="}, 3, 9, []string{"GOMAXPROCS_=", "GOMAXPROCS=3"}},
	} {
		was := slices.Clone(c.env)
		if got := shareEnv(c.env, c.nodes, c.cores); !slices.Equal(got, c.want) || !slices.Equal(c.env, was) {
			t.Errorf("%d nodes, %d cores, %q: %q", c.nodes, c.cores, was, got)
		}
	}
}

// TestNodeSays: dev shows what a node says, but for what only dev is to know, and what the scheduler says of itself.
func TestNodeSays(t *testing.T) {
	var said bytes.Buffer
	script := "for l in '" + firstTrace + "gomaxprocs=2' one '" + saysLeft + "' 'SCHED 7ms: two'; do echo \"$l\" >&2; done"
	n := devNode{name: "node0", args: []string{"-c", script}}
	left, err := n.run(t.Context(), "/bin/sh", &lineWriter{w: &said})
	if err != nil || !left || said.String() != "node0: one\nnode0: SCHED 7ms: two\n" {
		t.Errorf("%v, %v, %q", left, err, said.String())
	}
}
