// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/internal/host/racing"
	"github.com/kvorum/kvorum/shard"
)

// gate is a proxy that lets so many bytes through in one direction, and the rest once it is opened.
type gate struct {
	addr string
	// reached is closed when the limit is, open by the test.
	reached, open chan struct{}
	once          sync.Once
}

// newGate stands before target. up bytes go to it, or down bytes come from it, before it holds; 0 is no limit.
func newGate(t *testing.T, target string, up, down int64) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: ln.Addr().String(), reached: make(chan struct{}), open: make(chan struct{})}
	var wg sync.WaitGroup
	pass := func(dst, src net.Conn, limit int64) {
		defer dst.Close()
		defer src.Close()
		if limit > 0 {
			if n, _ := io.CopyN(dst, src, limit); n < limit {
				return
			}
			g.once.Do(func() { close(g.reached) })
			<-g.open
		}
		_, _ = io.Copy(dst, src)
	}
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { pass(out, in, up) })
			wg.Go(func() { pass(in, out, down) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		g.release()
		wg.Wait()
	})
	return g
}

func (g *gate) release() {
	select {
	case <-g.open:
	default:
		close(g.open)
	}
}

func (g *gate) await(t *testing.T) {
	t.Helper()
	select {
	case <-g.reached:
	case <-time.After(time.Minute):
		t.Fatal("the gate was never reached")
	}
}

const snapCounters = 8

// fillSnap writes strings, some with a lifetime, lists and hashes, of bytes that do not compress.
func fillSnap(t *testing.T, cl *client.Client, keys, size int) {
	t.Helper()
	for from := 0; from < keys; from += 500 {
		p := cl.Pipeline()
		var futures []*client.Future
		for i := from; i < min(from+500, keys); i++ {
			key, value := fmt.Sprint("snap-", i), make([]byte, size)
			_, _ = rand.Read(value) // a generator of Go takes a microsecond a byte with the race detector
			cmd := client.Set(key, value)
			switch i % 5 {
			case 1:
				cmd = client.SetFor(key, value, time.Hour+time.Duration(i)*time.Second)
			case 2:
				cmd = client.RPush(key, value, []byte("tail"))
			case 3:
				cmd = client.HSet(key, "field", value)
			}
			futures = append(futures, p.Do(t.Context(), cmd))
		}
		for _, f := range futures {
			if err := f.Err(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// look gives what a client sees of a key: value, version, flags, type, elements, deadline.
func look(t *testing.T, cl *client.Client, from, to int) []string {
	t.Helper()
	p := cl.Pipeline()
	var futures []*client.Future
	for i := from; i < to; i++ {
		key := fmt.Sprint("snap-", i)
		futures = append(futures, p.Do(t.Context(), client.Command("KV.GET", key)), p.Do(t.Context(), client.Command("PEXPIRETIME", key)))
		switch i % 5 {
		case 2:
			futures = append(futures, p.Do(t.Context(), client.LRange(key, 0, -1)))
		case 3:
			futures = append(futures, p.Do(t.Context(), client.HGetAll(key)))
		}
	}
	out := make([]string, len(futures))
	for i, f := range futures {
		v, err := f.Value(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Elems) == 5 { // KV.GET: without the time left
			v.Elems[3] = client.Value{}
		}
		out[i] = fmt.Sprintf("%+v", v)
	}
	return out
}

// sameKeys compares every key of two clusters.
func sameKeys(t *testing.T, a, b *client.Client, keys int) {
	t.Helper()
	for from := 0; from < keys; from += 500 {
		to := min(from+500, keys)
		x, y := look(t, a, from, to), look(t, b, from, to)
		for i := range x {
			if x[i] != y[i] {
				t.Fatalf("keys %d to %d: answer %d was %.100s and is %.100s", from, to, i, x[i], y[i])
			}
		}
	}
}

// counters are keys that grow all the time.
type counters struct {
	acked, sent [snapCounters]atomic.Int64
}

// run increments until stop is closed.
func (c *counters) run(t *testing.T, cl *client.Client, stop <-chan struct{}) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i := range snapCounters {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.sent[i].Add(1)
				if n, err := cl.Incr(t.Context(), fmt.Sprint("count-", i)); err == nil {
					c.acked[i].Store(n)
				}
			}
		})
	}
	return &wg
}

// cli is one command line under way.
type cli struct {
	cmd       *exec.Cmd
	out, errs bytes.Buffer
}

func startCLI(t *testing.T, args ...string) *cli {
	t.Helper()
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	c := &cli{cmd: exec.Command(bin, args...)}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

func (c *cli) wait(t *testing.T) int {
	t.Helper()
	err := c.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return c.cmd.ProcessState.ExitCode()
}

func leaderOfGroup(t *testing.T, c *proc.Cluster, group uint32) (lead, other *proc.Node) {
	t.Helper()
	s := waitStatus(t, c, "health", proc.Healthy(3))
	for i := range s.Groups {
		if s.Groups[i].ID == group {
			lead = c.ByID(s, s.Groups[i].Leader)
		}
	}
	for _, n := range c.Nodes() {
		if n != lead {
			return lead, n
		}
	}
	return lead, nil
}

// TestSnapshotUnderLoad: a save while counters grow and a leader is killed in its middle; it holds every
// write acknowledged before, and none that was not sent; restored into one node with another number of
// groups, every key, version and deadline is as it was. A damaged copy is refused.
func TestSnapshotUnderLoad(t *testing.T) {
	c := startCluster(t, 3)
	cl := dialClient(t, c, client.WithTimeout(30*time.Second))
	keys := racing.Fewer(30_000, 5000)
	fillSnap(t, cl, keys, 2000)
	var grow counters
	stop := make(chan struct{})
	wg := grow.run(t, cl, stop)
	eventually(t, "the counters to grow", func() bool { return grow.acked[snapCounters-1].Load() > 100 })

	lead, asked := leaderOfGroup(t, c, 1)
	g := newGate(t, asked.HTTP(), 0, 1<<20)
	file := filepath.Join(t.TempDir(), "all.kvsave")
	var low [snapCounters]int64
	for i := range low {
		low[i] = grow.acked[i].Load()
	}
	save := startCLI(t, "snapshot", "save", file, "--addr", g.addr)
	g.await(t)
	if err := c.Signal(lead, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.release()
	if code := save.wait(t); code != 0 {
		t.Fatalf("save: code %d, %s %s", code, save.out.String(), save.errs.String())
	}
	var high [snapCounters]int64
	for i := range high {
		high[i] = grow.sent[i].Load()
	}
	close(stop)
	wg.Wait()
	t.Log(strings.TrimSpace(save.out.String()))

	one := startCluster(t, 1, "--groups", "3")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.kvsave")
	data[len(data)/3] ^= 1
	if err := os.WriteFile(bad, data, 0o600); err != nil {
		t.Fatal(err)
	}
	addr := one.Nodes()[0].HTTP()
	wantCLI(t, 5, "damaged", "snapshot", "inspect", bad)
	wantCLI(t, 5, "damaged", "snapshot", "restore", bad, "--addr", addr)
	wantCLI(t, 0, "sound to the last byte", "snapshot", "inspect", file)
	code, out, errs := runCLI(t, nil, "snapshot", "restore", file, "--addr", addr)
	if code != 0 {
		t.Fatalf("restore: code %d, %s %s", code, out, errs)
	}
	t.Log(strings.TrimSpace(out))
	there := dialClient(t, one)
	sameKeys(t, cl, there, keys)
	for i := range snapCounters {
		v, _, err := there.Get(t.Context(), fmt.Sprint("count-", i))
		var n int64
		if _, scan := fmt.Sscan(string(v), &n); err != nil || scan != nil || n < low[i] || n > high[i] {
			t.Errorf("counter %d is %s: %d were acknowledged before the save, %d sent before its end (%v)", i, v, low[i], high[i], err)
		}
	}
	wantCLI(t, 1, "not empty", "snapshot", "restore", file, "--addr", addr)
	wantCLI(t, 0, "equal", "check", "--digest", "--addr", addr)

	// What is saved there again is the same.
	again := filepath.Join(t.TempDir(), "again.kvsave")
	wantCLI(t, 0, "saved", "snapshot", "save", again, "--addr", addr)
	if a, b := contentOf(t, file), contentOf(t, again); a != b {
		t.Errorf("content %s became %s", a, b)
	}
	if err := c.Start(t.Context(), lead); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "health", proc.Healthy(3))
	wantCLI(t, 0, "equal", "check", "--digest", "--addr", asked.HTTP())
}

// contentOf is the content digest of a save.
func contentOf(t *testing.T, file string) string {
	t.Helper()
	code, out, errs := runCLI(t, nil, "snapshot", "inspect", file, "-o", "json")
	var d struct {
		Content string `json:"content"`
	}
	if err := json.Unmarshal([]byte(out), &d); code != 0 || err != nil || len(d.Content) != 64 {
		t.Fatalf("inspect: code %d, %v, %s %s", code, err, out, errs)
	}
	return d.Content
}

// TestRestoreInterrupted: a restore whose command is stopped, and one whose node is killed, leave the
// cluster empty and in service; run again it succeeds.
func TestRestoreInterrupted(t *testing.T) {
	keys := racing.Fewer(20_000, 12_000)
	from := startCluster(t, 1, "--groups", "2")
	fillSnap(t, dialClient(t, from), keys, 1000)
	file := filepath.Join(t.TempDir(), "all.kvsave")
	wantCLI(t, 0, "saved", "snapshot", "save", file, "--addr", from.Nodes()[0].HTTP())
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}

	c := startCluster(t, 3)
	nodes := c.Nodes()
	cl := dialClient(t, c, client.WithTimeout(20*time.Second))
	empty := func(through *proc.Node) {
		t.Helper()
		waitStatus(t, c, "the cluster to be in service", func(s *shard.Status) bool {
			return s.Cluster.Health != shard.HealthUnavailable
		})
		if n, err := cl.DBSize(t.Context()); err != nil || n != 0 {
			t.Fatalf("%d keys are left, %v", n, err)
		}
		if err := cl.Set(t.Context(), "probe", []byte("x")); err != nil {
			t.Fatalf("a write afterwards: %v", err)
		}
		if _, err := cl.Del(t.Context(), "probe"); err != nil {
			t.Fatal(err)
		}
	}
	begun := func(asked *proc.Node) (*cli, *gate) {
		t.Helper()
		g := newGate(t, asked.HTTP(), info.Size()/2, 0)
		r := startCLI(t, "snapshot", "restore", file, "--addr", g.addr)
		g.await(t)
		waitStatus(t, c, "the restore to show", func(s *shard.Status) bool {
			return s.Cluster.Health == shard.HealthUnavailable && strings.Contains(fmt.Sprint(s.Warnings), "being restored")
		})
		return r, g
	}

	r, g := begun(nodes[1])
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(t); code != 3 || !strings.Contains(r.errs.String(), "it can be run again") {
		t.Errorf("a restore that was stopped: code %d, %s", code, r.errs.String())
	}
	g.release()
	empty(nodes[0])

	r, g = begun(nodes[2])
	wantCLI(t, 1, "being restored through node", "snapshot", "restore", file, "--addr", nodes[0].HTTP())
	if err := c.Signal(nodes[2], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.release()
	if code := r.wait(t); code != 3 {
		t.Errorf("a restore whose node was killed: code %d, %s", code, r.errs.String())
	}
	wantCLI(t, 0, "ended", "snapshot", "restore", "--cancel", "--addr", nodes[0].HTTP())
	empty(nodes[0])
	if err := c.Start(t.Context(), nodes[2]); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "health", proc.Healthy(3))

	code, out, errs := runCLI(t, nil, "snapshot", "restore", file, "--addr", nodes[2].HTTP())
	if code != 0 {
		t.Fatalf("restore: code %d, %s %s", code, out, errs)
	}
	t.Log(strings.TrimSpace(out))
	sameKeys(t, dialClient(t, from), cl, keys)
	wantCLI(t, 0, "equal", "check", "--digest", "--addr", nodes[0].HTTP())
}
