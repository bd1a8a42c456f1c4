// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/proc"
)

const (
	// clientTime bounds a script, npmTime the fetching of packages.
	clientTime = 4 * time.Minute
	npmTime    = 3 * time.Minute
	// maxSaid bounds what is shown of a script that failed, in bytes.
	maxSaid = 2000
	// minChecks is how many checks every script has at least.
	minChecks = 12
	// debianModules is where Debian keeps packages for node.
	debianModules = "/usr/share/nodejs"
)

// redisClient is a client in another language, and the script that uses it.
type redisClient struct {
	name, script string
	// module is a package of node; empty for others.
	module string
}

func redisClients() []redisClient {
	return []redisClient{
		{name: "node-redis", script: "noderedis.mjs", module: "redis"},
		{name: "ioredis", script: "ioredis.mjs", module: "ioredis"},
		{name: "redis-py", script: "redispy.py"},
	}
}

// missing skips the test of a client that is not installed, or fails it where KVORUM_REQUIRE_CLIENTS asks for the client:
// it names some, or is 1 for all.
func (c *redisClient) missing(t *testing.T, why string) {
	t.Helper()
	required := os.Getenv("KVORUM_REQUIRE_CLIENTS")
	if required == "1" || slices.Contains(strings.Split(required, ","), c.name) {
		t.Fatalf("%s is required and not installed: %s", c.name, why)
	}
	t.Skipf("%s is not installed: %s", c.name, why)
}

// command makes the command that runs the script.
func (c *redisClient) command(ctx context.Context, t *testing.T) *exec.Cmd {
	t.Helper()
	script := filepath.Join("clients", c.script)
	if c.module == "" {
		for _, python := range []string{"python3", "/usr/bin/python3"} {
			if exec.CommandContext(ctx, python, "-c", "import redis.cluster").Run() == nil {
				return exec.CommandContext(ctx, python, script)
			}
		}
		c.missing(t, "python3 finds no package redis (Debian: python3-redis)")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		c.missing(t, "there is no node")
	}
	path := debianModules
	if os.Getenv("KVORUM_CLIENTS_NPM") == "1" {
		path = npmModules(ctx, t)
	}
	if _, err := os.Stat(filepath.Join(path, c.module)); err != nil {
		c.missing(t, "no package "+c.module+" in "+path+" (make clients fetches it with npm)")
	}
	cmd := exec.CommandContext(ctx, node, script)
	cmd.Env = append(os.Environ(), "NODE_PATH="+path)
	return cmd
}

// npmModules fetches the packages of clients/package-lock.json into the user's cache, once for each version of that file,
// and gives their folder.
func npmModules(ctx context.Context, t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join("clients", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
		sum.Write(data)
	}
	dir := filepath.Join(cache, "kvorum", fmt.Sprintf("clients-%.8x", sum.Sum(nil)))
	whole := filepath.Join(dir, "whole")
	if _, err := os.Stat(whole); err == nil {
		return filepath.Join(dir, "node_modules")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, npmTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v: %s", err, out)
	}
	if err := os.WriteFile(whole, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "node_modules")
}

// TestClients runs the clients that people use in other languages against a cluster of processes, with any node answering
// any key and with redirections: handshake, types, pipelines, transactions, messages, blocking, scans, topology, and a
// leader killed under them.
func TestClients(t *testing.T) {
	for _, client := range redisClients() {
		t.Run(client.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), clientTime)
			defer cancel()
			client.command(ctx, t) // skips before there is a cluster
			for _, mode := range []string{"plain", "cluster"} {
				t.Run(mode, func(t *testing.T) {
					cmd := client.command(ctx, t)
					useClient(t, startRESP(t, mode == "cluster"), cmd, mode)
				})
			}
		})
	}
}

// useClient runs a script, and kills the leaders that it asks for.
func useClient(t *testing.T, c *proc.Cluster, cmd *exec.Cmd, mode string) {
	t.Helper()
	cmd.Args = append(cmd.Args, mode)
	for _, n := range lastLeading(t, c, "durable") {
		cmd.Args = append(cmd.Args, n.RESP())
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	checks, plan := 0, ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		key, kill := strings.CutPrefix(line, "# kill ")
		switch {
		case kill:
			nodes := lastLeading(t, c, key)
			victim := nodes[len(nodes)-1]
			if err := c.Signal(victim, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			_ = victim.WaitExit(t.Context()) // it was killed
			if _, err := io.WriteString(in, "killed\n"); err != nil {
				t.Error(err)
			}
		case strings.HasPrefix(line, "not ok "):
			t.Error(line)
			checks++
		case strings.HasPrefix(line, "ok "):
			checks++
		case strings.HasPrefix(line, "1.."):
			plan = line
		}
	}
	if err := cmd.Wait(); err != nil || plan != fmt.Sprintf("1..%d", checks) || checks < minChecks {
		said := errs.String()
		t.Errorf("%v: %v, plan %q, %d checks\n%s", cmd.Args, err, plan, checks, said[max(0, len(said)-maxSaid):])
	}
}

// lastLeading gives the nodes, the one that leads the key's slot last.
func lastLeading(t *testing.T, c *proc.Cluster, key string) []*proc.Node {
	t.Helper()
	slot := int64(fsm.SlotOf([]byte(key)))
	ask, leader := plainRedis(t, c.Nodes()[0], 2), ""
	eventually(t, "a leader of "+key, func() bool {
		shards, err := ask.ClusterShards(t.Context()).Result()
		if err != nil {
			return false
		}
		for _, s := range shards {
			holds := slices.ContainsFunc(s.Slots, func(r redis.SlotRange) bool { return r.Start <= slot && slot <= r.End })
			if at := slices.IndexFunc(s.Nodes, func(n redis.Node) bool { return n.Role == "master" }); holds && at >= 0 {
				leader = net.JoinHostPort(s.Nodes[at].IP, strconv.FormatInt(s.Nodes[at].Port, 10))
			}
		}
		return leader != ""
	})
	at := slices.IndexFunc(c.Nodes(), func(n *proc.Node) bool { return n.RESP() == leader })
	if at < 0 {
		t.Fatalf("%s leads %s and is no node", leader, key)
	}
	return append(slices.Delete(slices.Clone(c.Nodes()), at, at+1), c.Nodes()[at])
}
