// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// redisServer is a real Redis on a unix socket, and one connection to it that speaks RESP2.
type redisServer struct {
	c net.Conn
	r *bufio.Reader
}

// redisRequired tells whether a missing Redis is a failure.
func redisRequired() bool {
	ci := os.Getenv("CI")
	return os.Getenv("KVORUM_REQUIRE_REDIS") == "1" || ci != "" && ci != "0" && ci != "false"
}

// startRedis runs a Redis for the life of the test.
func startRedis(t *testing.T) *redisServer {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if redisRequired() {
			t.Fatal("redis-server is not in PATH, and this run requires it")
		}
		t.Skip("redis-server is not in PATH")
	}
	// Names of sockets are short: t.TempDir may be too long for one.
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	// Timeouts of blocked clients are looked at as often as the server's timer rings.
	cmd := exec.CommandContext(context.Background(), path, "--hz", "500", "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--daemonize", "no")
	cmd.Env = append(os.Environ(), "LC_ALL=C") // SORT compares bytes then
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	})
	var said strings.Builder
	ready := false
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		ready = strings.Contains(lines.Text(), "ready to accept connections")
	}
	go func() { // ends with the process
		defer close(drained)
		_, _ = io.Copy(io.Discard, out)
	}()
	if !ready {
		t.Fatalf("redis-server did not start:\n%s", said.String())
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatalf("redis: dial: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &redisServer{c: conn, r: bufio.NewReader(conn)}
}

// do runs one command.
func (c *redisServer) do(t failer, words ...string) Result {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c.c, b.String()); err != nil {
		t.Fatalf("redis: write: %v", err)
	}
	return c.reply(t)
}

func (c *redisServer) reply(t failer) Result {
	t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil || len(line) < 3 {
		t.Fatalf("redis: read: %q %v", line, err)
	}
	kind, text := line[0], line[1:len(line)-2]
	n, _ := strconv.ParseInt(text, 10, 64)
	switch kind {
	case '+':
		return Status(text)
	case '-':
		return Error(CodeError, text)
	case ':':
		return Int(n)
	case '$':
		if n < 0 {
			return Null()
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			t.Fatalf("redis: read: %v", err)
		}
		return Bulk(b[:n])
	case '*':
		if n < 0 {
			return Null()
		}
		elems := make([]Result, n)
		for i := range elems {
			elems[i] = c.reply(t)
		}
		return Array(elems)
	}
	t.Fatalf("redis: reply %q", line)
	return Result{}
}
