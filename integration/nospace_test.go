// SPDX-License-Identifier: Apache-2.0

//go:build linux

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const (
	diskBytes    = 48 << 20
	spaceValue   = 8 << 10
	spaceKeys    = 60
	fillerChunk  = 64 << 10
	noSpaceWords = "no-disk-space"
)

// smallDisks is a cluster whose nodes have a small file system each.
type smallDisks struct {
	t    *testing.T
	c    *proc.Cluster
	dir  string
	keys map[string]string // acknowledged; "" when deleted
	// maybe are values of unknown outcome.
	maybe map[string]string
}

// mountDisk mounts a small file system for the time of the test, or skips it.
func mountDisk(t *testing.T, at string) {
	t.Helper()
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		t.Skipf("full disks need the right to mount a tmpfs (root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
}

func startOnSmallDisks(t *testing.T, store string) *smallDisks {
	t.Helper()
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	d := &smallDisks{t: t, dir: t.TempDir(), keys: map[string]string{}, maybe: map[string]string{}}
	for i := range 3 {
		mountDisk(t, filepath.Join(d.dir, fmt.Sprintf("node%d", i)))
	}
	d.c, err = proc.New(proc.Config{
		Bin: bin, Dir: d.dir, InitArgs: []string{"--groups", "2"},
		Args: []string{"--log-level", "info", "--disk-reserve", "4MiB", "--log-store", store, "--segment-size", "1MiB", "--snapshot-log", "2MiB", "--timeout", "2s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.c.Close()
		if t.Failed() {
			printLogs(t, d.dir)
		}
	})
	for range 3 {
		if _, err := d.c.Add(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	waitStatus(t, d.c, "health", proc.Healthy(3))
	return d
}

func (d *smallDisks) url(node int, key string) string {
	return "http://" + d.c.Nodes()[node%3].HTTP() + "/v1/kv/" + key
}

// put writes through a node and keeps the books; the answer is what docs/HTTP.md promises.
func (d *smallDisks) put(node int, key, value string) (code int) {
	d.t.Helper()
	method, good := "PUT", http.StatusNoContent
	if value == "" {
		method = "DELETE"
	}
	code, body := httpDo(d.t, method, d.url(node, key), value)
	switch code {
	case good:
		d.keys[key] = value
	case http.StatusInsufficientStorage, http.StatusServiceUnavailable:
		if r := parseRefusal(d.t, body); r.Applied != "no" || code == http.StatusInsufficientStorage && r.Kind != noSpaceWords {
			d.t.Errorf("%s %s: %d %s", method, key, code, body)
		}
	case http.StatusGatewayTimeout:
		if r := parseRefusal(d.t, body); r.Applied != "unknown" {
			d.t.Errorf("%s %s: %d %s", method, key, code, body)
		}
		d.maybe[key] = value
	default:
		d.t.Errorf("%s %s: %d %s", method, key, code, body)
	}
	return code
}

func spaceValueOf(key string, round int) string {
	return fmt.Sprintf("%s in round %d%s", key, round, strings.Repeat(".", spaceValue))
}

// round overwrites every key through all nodes in turn and counts the answers.
func (d *smallDisks) round(n int) map[int]int {
	d.t.Helper()
	codes := map[int]int{}
	for i := range spaceKeys {
		key := fmt.Sprintf("key-%d", i)
		codes[d.put(i+n, key, spaceValueOf(key, n))]++
	}
	return codes
}

// intact reads every key through every node, and looks that every process lives.
func (d *smallDisks) intact() {
	d.t.Helper()
	for i, n := range d.c.Nodes() {
		if !n.Running() {
			d.t.Fatalf("%s ended: %v", n.Name(), n.Exit())
		}
		for key, want := range d.keys {
			code, body := httpDo(d.t, "GET", d.url(i, key), "")
			if code == http.StatusNotFound {
				code, body = http.StatusOK, ""
			}
			if other, two := d.maybe[key]; code != http.StatusOK || body != want && (!two || body != other) {
				d.t.Fatalf("%s through %s: %d %.40q, want %.40q", key, n.Name(), code, body, want)
			}
		}
	}
}

func (d *smallDisks) filler(node int) string {
	return filepath.Join(d.dir, fmt.Sprintf("node%d", node), "filler")
}

// fill takes the rest of a node's disk, down to the last block.
func (d *smallDisks) fill(node int) {
	d.t.Helper()
	f, err := os.OpenFile(d.filler(node), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, fillerChunk); ; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *smallDisks) free(node int) {
	d.t.Helper()
	if err := os.Remove(d.filler(node)); err != nil {
		d.t.Fatal(err)
	}
}

// restored waits until writes of every group go through every node again, then compares everything.
func (d *smallDisks) restored(round int) {
	d.t.Helper()
	eventually(d.t, "writes to be taken again", func() bool { return d.round(round)[http.StatusNoContent] == spaceKeys })
	if codes := d.round(round + 1); codes[http.StatusNoContent] != spaceKeys {
		d.t.Errorf("after space was there again: %v", codes)
	}
	waitStatus(d.t, d.c, "health", proc.Healthy(3))
	d.intact()
	wantCLI(d.t, 0, "equal", "check", "--addr", d.c.Nodes()[1].HTTP())
}

// deletes removes keys through all nodes; each must work on a full disk.
func (d *smallDisks) deletes(from, to int) {
	d.t.Helper()
	for i := from; i < to; i++ {
		if code := d.put(i, fmt.Sprintf("key-%d", i), ""); code != http.StatusNoContent {
			d.t.Errorf("DELETE of key-%d on full disks: %d", i, code)
		}
	}
}

// TestNoSpaceOnDisk: the disk of one node fills up, then of all. No process ends, reads and deletes work
// through every node, growing writes are refused as not applied or go on, and freeing space restores
// them without a restart.
func TestNoSpaceOnDisk(t *testing.T) {
	for _, store := range []string{"wal", "bolt"} {
		t.Run(store, func(t *testing.T) { noSpaceOnDisk(t, startOnSmallDisks(t, store)) })
	}
}

func noSpaceOnDisk(t *testing.T, d *smallDisks) {
	t.Helper()
	if codes := d.round(0); codes[http.StatusNoContent] != spaceKeys {
		t.Fatalf("before: %v", codes)
	}
	d.fill(1)
	good := 0
	for n := range 6 {
		codes := d.round(n + 1)
		good += codes[http.StatusNoContent]
	}
	if good < spaceKeys {
		t.Errorf("beside one full disk only %d of %d writes succeeded", good, 6*spaceKeys)
	}
	d.intact()
	d.deletes(0, 10)
	d.free(1)
	d.restored(10)

	for node := range 3 {
		d.fill(node)
	}
	eventually(t, "all to be refused", func() bool {
		codes := d.round(20)
		return codes[http.StatusInsufficientStorage] == spaceKeys
	})
	waitStatus(t, d.c, "a warning", func(s *shard.Status) bool {
		for _, w := range s.Warnings {
			if strings.Contains(w.Text, "disk space is low") {
				return true
			}
		}
		return false
	})
	d.intact()
	d.deletes(10, 40)
	d.intact()
	for node := range 3 {
		d.free(node)
	}
	d.restored(30)
}
