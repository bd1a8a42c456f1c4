// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
)

// The Go runtime places its heap at a random address between these on 64-bit Linux, below the
// mappings that the system places.
const (
	goHeapFrom  = 0xc000000000
	goHeapTo    = 0x7f0000000000
	profileTime = 20 * time.Second
)

// resident is a process's resident memory in bytes.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm of %d: %q", pid, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// share is what a process's resident memory consists of, in bytes.
type share struct {
	goHeap, goRest, chunks, pieces, files int64
	// freeable is what the process has given back and the system has not taken yet.
	freeable int64
}

func (s share) String() string {
	return fmt.Sprintf("store chunks %s, own pieces of large values %s, Go heap %s, Go runtime and stacks %s, files %s, given back and not yet taken %s",
		mib(s.chunks), mib(s.pieces), mib(s.goHeap), mib(s.goRest), mib(s.files), mib(s.freeable))
}

// shares reads the mappings of a process. The store marks its own: chunks are advised to be huge
// pages (hg), pieces not to be (nh).
func shares(pid int) (share, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return share{}, err
	}
	defer f.Close()
	var s share
	var start uint64
	var file bool
	var rss int64
	in := bufio.NewScanner(f)
	for in.Scan() {
		fields := strings.Fields(in.Text())
		if len(fields) == 0 {
			continue
		}
		name := fields[0]
		if from, _, ok := strings.Cut(name, "-"); ok && !strings.HasSuffix(name, ":") {
			start, _ = strconv.ParseUint(from, 16, 64)
			file = len(fields) > 5 && strings.HasPrefix(fields[5], "/")
			continue
		}
		switch name {
		case "Rss:":
			rss = kib(fields)
		case "LazyFree:":
			s.freeable += kib(fields)
		case "VmFlags:":
			s.add(start, file, rss, fields[1:])
		}
	}
	return s, in.Err()
}

func kib(fields []string) int64 {
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[1], 10, 64)
	return n << 10
}

func (s *share) add(start uint64, file bool, rss int64, flags []string) {
	advised := ""
	for _, f := range flags {
		if f == "hg" || f == "nh" {
			advised = f
		}
	}
	switch {
	case file:
		s.files += rss
	case advised == "hg":
		s.chunks += rss
	case advised == "nh":
		s.pieces += rss
	case start >= goHeapFrom && start < goHeapTo:
		s.goHeap += rss
	default:
		s.goRest += rss
	}
}

// tellMemory prints where every node's memory is, and keeps its heap profile in dir.
func tellMemory(ctx context.Context, c *proc.Cluster, dir, when string) {
	for _, n := range c.Nodes() {
		rss, err := resident(n.Pid())
		if err != nil {
			fmt.Printf("%s: %v\n", n.Name(), err)
			continue
		}
		s, err := shares(n.Pid())
		fmt.Printf("%s %s: resident %s: %s", n.Name(), when, mib(rss), s)
		if err != nil {
			fmt.Printf(" (%v)", err)
		}
		fmt.Println()
		path := filepath.Join(dir, fmt.Sprintf("%s-%s.heap", n.Name(), strings.ReplaceAll(when, " ", "-")))
		if err := heapProfile(ctx, n, path); err != nil {
			fmt.Printf("%s: heap profile: %v\n", n.Name(), err)
			continue
		}
		fmt.Printf("%s: heap profile in %s\n", n.Name(), path)
	}
}

// heapProfile fetches a node's heap profile without making it collect garbage first.
func heapProfile(ctx context.Context, n *proc.Node, path string) error {
	ctx, cancel := context.WithTimeout(ctx, profileTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP()+"/debug/pprof/heap", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
