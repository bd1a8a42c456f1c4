// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAwakeEnv: the setting is added to what is there, and what the user says of it wins.
func TestAwakeEnv(t *testing.T) {
	for _, c := range []struct {
		env, want []string
		ok        bool
	}{
		{nil, []string{"GODEBUG=" + schedulerAwake}, true},
		{[]string{"A=b", "GODEBUG="}, []string{"A=b", "GODEBUG=" + schedulerAwake}, true},
		{[]string{"GODEBUG=madvdontneed=1", "A=b"}, []string{"GODEBUG=madvdontneed=1," + schedulerAwake, "A=b"}, true},
		{[]string{"GODEBUG=madvdontneed=1,"}, []string{"GODEBUG=madvdontneed=1," + schedulerAwake}, true},
		{[]string{"GODEBUG=schedtrace=0"}, []string{"GODEBUG=schedtrace=0"}, false},
		{[]string{"GODEBUG=a=1,schedtrace=1000"}, []string{"GODEBUG=a=1,schedtrace=1000"}, false},
	} {
		was := slices.Clone(c.env)
		if got, ok := awakeEnv(c.env); !slices.Equal(got, c.want) || ok != c.ok || !slices.Equal(c.env, was) {
			t.Errorf("%q: %q, %v", was, got, ok)
		}
	}
}

// TestSecondThread: one core makes two threads, more are left to Go, and what the user says wins.
func TestSecondThread(t *testing.T) {
	for _, c := range []struct {
		env     []string
		threads int
		want    []string
	}{
		{[]string{"A=b"}, 1, []string{"A=b", "GOMAXPROCS=2"}},
		{[]string{"A=b"}, 2, []string{"A=b"}},
		{[]string{"A=b"}, 64, []string{"A=b"}},
		{[]string{"GOMAXPROCS=1"}, 1, []string{"GOMAXPROCS=1"}},
	} {
		if got := secondThread(c.env, c.threads); !slices.Equal(got, c.want) {
			t.Errorf("%q, %d: %q", c.env, c.threads, got)
		}
	}
}

// TestRunsNode: only nodes begin anew.
func TestRunsNode(t *testing.T) {
	for line, want := range map[string]bool{
		"serve": true, "serve --data x --init": true, "dev": false, "status": false, "": false, "set serve x": false,
		"version": false, "no-such": false,
	} {
		if got := runsNode(strings.Fields(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// TestServeStaysAwake: a node runs with the setting, in the process that was started.
func TestServeStaysAwake(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	cmd := exec.Command(os.Args[0], "serve", "--data", t.TempDir(), "--port", strconv.Itoa(freePorts(t, 1)), "--init")
	cmd.Env = append(os.Environ(), playProgram+"=1", "GODEBUG=")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	environ := fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)
	has := func() bool {
		env, err := os.ReadFile(environ)
		return err == nil && slices.Contains(strings.Split(string(env), "\x00"), "GODEBUG="+schedulerAwake)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !has() {
		select {
		case <-tick.C:
			continue
		case err := <-over:
			t.Fatalf("%v: %s", err, said.String())
		case <-late:
			t.Error("the setting is not in the node's environment")
		}
		break
	}
	_ = cmd.Process.Kill() // it may be over
	<-over
}
