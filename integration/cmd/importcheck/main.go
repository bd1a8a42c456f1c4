// SPDX-License-Identifier: Apache-2.0

// Command importcheck imports every file below GOROOT/src into a cluster of real processes through
// HTTP, overwrites half of it again and again with changed content while it kills leaders, and then
// compares every key's value, read through every node, with what was acknowledged. It prints the
// counts and exits with 1 when one value is lost or wrong or a bound is broken.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
)

type settings struct {
	bin, dir, src string
	port, kills   int
	workers       int
	logStore      string
	groups        int
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "bin/kvorum", "the kvorum binary")
	flag.StringVar(&s.dir, "dir", "", "folder for the nodes' data; default: a temporary one")
	flag.StringVar(&s.src, "src", "", "folder whose files are imported; default: what the go command has below its root's src")
	flag.IntVar(&s.port, "port", 0, "base port; 0 finds free ones")
	flag.IntVar(&s.kills, "kills", 30, "leaders to kill")
	flag.IntVar(&s.workers, "workers", 16, "concurrent requests")
	flag.IntVar(&s.groups, "groups", 4, "data groups, so that every node leads some")
	flag.StringVar(&s.logStore, "log-store", "wal", "wal or bolt")
	flag.Parse()
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "importcheck: FAILED:", err)
		os.Exit(1)
	}
	fmt.Println("importcheck: passed")
}

// run is the story; each step is a method of check.
func run(ctx context.Context, s settings) error {
	if s.src == "" {
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("go env GOROOT: %w", err)
		}
		s.src = filepath.Join(strings.TrimSpace(string(root)), "src")
	}
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "kvorum-import-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		s.dir = dir
	}
	ctx, cancel := context.WithTimeout(ctx, 40*time.Minute)
	defer cancel()
	c, err := newCheck(ctx, s)
	if err != nil {
		return err
	}
	defer c.cluster.Close()
	for _, step := range []struct {
		name string
		f    func(context.Context) error
	}{
		{"start three nodes", c.start},
		{"import", c.importAll},
		{"overwrite half while leaders are killed", c.overwriteUnderKills},
		{"compare through every node", c.compare},
		{"kill all nodes at once and restart", c.killAll},
		{"compare again", c.compare},
		{"join a fourth node", c.joinFourth},
		{"compare again", c.compare},
		{"leave of the first node", c.leaveFirst},
		{"compare again", c.compare},
	} {
		began := time.Now()
		if err := step.f(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Printf("%-42s %8.1fs\n", step.name, time.Since(began).Seconds())
	}
	return c.verdict()
}

func newCheck(ctx context.Context, s settings) (*check, error) {
	cluster, err := proc.New(proc.Config{Bin: s.bin, Dir: s.dir, Port: s.port, Args: []string{"--log-level", "warn", "--log-store", s.logStore}, InitArgs: []string{"--groups", strconv.Itoa(s.groups)}})
	if err != nil {
		return nil, err
	}
	c := &check{settings: s, cluster: cluster, keys: map[string]*keyState{}, began: time.Now()}
	c.http = newHTTP(s.workers)
	return c, c.scan(ctx)
}
