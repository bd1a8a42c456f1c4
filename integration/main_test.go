// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

// startTime bounds how long a cluster may take to become healthy.
const startTime = 60 * time.Second

// product builds the product once a test run.
var product = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kvorum-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "kvorum")
	out, err := exec.Command("go", "build", "-o", bin, "../cmd/kvorum").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := product(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// startCluster starts n processes on loopback and waits until every group is complete. The founder
// gets four groups, or what initArgs say. The processes end with the test; on failure their logs are printed.
func startCluster(t *testing.T, n int, initArgs ...string) *proc.Cluster {
	t.Helper()
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c, err := proc.New(proc.Config{Bin: bin, Dir: dir, Args: []string{"--log-level", "warn"}, InitArgs: append([]string{"--groups", "4"}, initArgs...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			printLogs(t, dir)
		}
	})
	for i := range n {
		if _, err := c.Add(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			waitStatus(t, c, "the founder", func(s *shard.Status) bool { return s.Cluster.Initialised })
		}
	}
	waitStatus(t, c, "health", proc.Healthy(n))
	return c
}

func waitStatus(t *testing.T, c *proc.Cluster, what string, ok func(*shard.Status) bool) *shard.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	s, err := c.Wait(ctx, what, ok)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func printLogs(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if len(text) > 4<<10 {
			text = text[len(text)-(4<<10):]
		}
		t.Logf("%s:\n%s", filepath.Base(path), text)
	}
}
