// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/internal/host/racing"
)

// do runs one command through a node's router.
func (m *testMember) do(words ...string) Reply {
	spec, ok := m.Router().Table().Lookup([]byte(words[0]))
	if !ok {
		return Reply{Err: errors.New("no command " + words[0])}
	}
	c := fsm.Command{Op: spec.Op}
	for _, w := range words[1:] {
		c.Args = append(c.Args, []byte(w))
	}
	out := make([]Reply, 1)
	m.Router().Do(context.Background(), &Caller{Protocol: "internal", Timeout: 10 * time.Second}, []fsm.Command{c}, out)
	return out[0]
}

// fill writes keys of every type, some with a lifetime.
func (c *testCluster) fill(through string, from, to int) {
	c.t.Helper()
	for i := from; i < to; i++ {
		key := fmt.Sprint("key-", i)
		words := []string{"SET", key, strings.Repeat("v", i%100), "PX", fmt.Sprint(10_000_000 + i)}
		switch i % 4 {
		case 1:
			words = []string{"RPUSH", key, "a", fmt.Sprint(i)}
		case 2:
			words = []string{"HSET", key, "f", fmt.Sprint(i)}
		case 3:
			words = []string{"SET", key, fmt.Sprint(i)}
		}
		if r := c.nodes[through].do(words...); r.Err != nil || r.Result.IsError() {
			c.t.Fatalf("%v: %+v", words, r)
		}
	}
}

// everything is what a client sees of the keys: type, value, flags, version and deadline of each.
func (c *testCluster) everything(through string, keys int) map[string]string {
	c.t.Helper()
	m := c.nodes[through]
	out := map[string]string{}
	for i := range keys {
		key := fmt.Sprint("key-", i)
		text := ""
		for _, words := range [][]string{{"TYPE", key}, {"KV.GET", key}, {"LRANGE", key, "0", "-1"}, {"HGETALL", key}, {"PEXPIRETIME", key}} {
			r := m.do(words...)
			if r.Err != nil {
				c.t.Fatalf("%v: %v", words, r.Err)
			}
			if words[0] == "KV.GET" && len(r.Result.Elems) == 5 {
				r.Result.Elems[3] = fsm.Result{} // the time left
			}
			text += fmt.Sprintf("%x ", fsm.AppendResult(nil, &r.Result))
		}
		out[key] = text
	}
	return out
}

// save takes a save and proves it.
func (c *testCluster) save(through string) ([]byte, *fsm.SaveInfo) {
	c.t.Helper()
	var buf bytes.Buffer
	if err := c.nodes[through].Save(c.ctx(10*time.Minute), &buf); err != nil {
		c.t.Fatalf("save: %v", err)
	}
	info, err := inspect(buf.Bytes())
	if err != nil {
		c.t.Fatalf("inspect: %v", err)
	}
	return buf.Bytes(), info
}

func inspect(data []byte) (*fsm.SaveInfo, error) {
	sr, err := fsm.NewSaveReader(bytes.NewReader(data), true)
	for err == nil {
		_, err = sr.Next()
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return sr.Info(), nil
}

// another makes a second cluster in the same world.
func (c *testCluster) another(prefix string, nodes, groups int) *testCluster {
	c.t.Helper()
	o := &testCluster{t: c.t, world: c.world, nodes: map[string]*testMember{}, config: c.config}
	first := prefix + "1"
	o.open(first)
	if err := o.nodes[first].Init(o.ctx(30*time.Second), InitOptions{Groups: groups}); err != nil {
		c.t.Fatalf("init: %v", err)
	}
	for i := 2; i <= nodes; i++ {
		o.join(fmt.Sprint(prefix, i), first+":7400")
	}
	o.settled()
	c.t.Cleanup(func() {}) // the world outlives both
	return o
}

func (c *testCluster) stopAll() {
	for _, name := range c.names() {
		c.stop(name)
	}
}

// TestSaveAndRestore: the keys of three nodes and four groups, saved through a node that leads nothing of
// most groups, into one node with three groups and then three nodes with one: every key, type, value, flag,
// version and deadline is the same.
func TestSaveAndRestore(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		const keys = 200
		newTestCluster(c, 3, 4)
		c.fill("n1", 0, keys)
		want := c.everything("n2", keys)
		data, info := c.save("n3")
		if info.Totals.Keys != keys || info.Totals.Timed != keys/4 || len(info.Groups) != 4 || info.Voids != nil {
			t.Fatalf("saved %+v in %d groups", info.Totals, len(info.Groups))
		}
		if v := c.nodes["n1"].View(); len(v.Holds) != 0 || info.Head.Epoch != v.Epoch || info.Head.Cluster != v.ClusterID {
			t.Errorf("holds %+v, head %+v", v.Holds, info.Head)
		}
		for _, to := range []struct {
			prefix        string
			nodes, groups int
		}{{"a", 1, 3}, {"b", 3, 1}} {
			o := c.another(to.prefix, to.nodes, to.groups)
			name := fmt.Sprint(to.prefix, to.nodes)
			var news []RestorePhase
			err := o.nodes[name].Restore(c.ctx(10*time.Minute), bytes.NewReader(data), RestoreOptions{News: func(p RestoreProgress) {
				if len(news) == 0 || news[len(news)-1] != p.Phase {
					news = append(news, p.Phase)
				}
			}})
			if err != nil {
				t.Fatalf("restore: %v", err)
			}
			if !slices.Equal(news, []RestorePhase{RestoreBegin, RestoreImport, RestoreVerify, RestoreEnd}) {
				t.Errorf("news %v", news)
			}
			if got := o.everything(to.prefix+"1", keys); !maps.Equal(got, want) {
				t.Error("keys differ after the restore")
			}
			o.settled()
			if _, again := o.save(name); again.Content != info.Content {
				t.Error("a save of what was restored has another content")
			}
			if r := o.nodes[name].do("SET", "key-0", "new"); r.Err != nil {
				t.Errorf("a write afterwards: %v", r.Err)
			}
			if err := o.nodes[name].Restore(c.ctx(time.Minute), bytes.NewReader(data), RestoreOptions{}); !errors.Is(err, ErrNotEmpty) {
				t.Errorf("restore over keys: %v", err)
			}
			if r := o.nodes[name].do("GET", "key-0"); string(r.Result.Str) != "new" {
				t.Errorf("a refused restore changed a key: %+v", r)
			}
			o.settled()
			o.stopAll()
		}
	})
}

// TestSaveHoldsWhatWasAcknowledged: counters that grow all the time; each is in the save with at least what
// was acknowledged before it began, and at most what was sent before it ended.
func TestSaveHoldsWhatWasAcknowledged(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 3)
		const counters = 6
		var mu sync.Mutex
		acked, sent := make([]int64, counters), make([]int64, counters)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range counters {
			wg.Go(func() {
				m := c.nodes[fmt.Sprint("n", i%3+1)]
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					sent[i]++
					mu.Unlock()
					time.Sleep(time.Millisecond)
					if r := m.do("INCR", fmt.Sprint("key-", i)); r.Err == nil {
						mu.Lock()
						acked[i] = r.Result.Int
						mu.Unlock()
					}
				}
			})
		}
		for round := range racing.Fewer(5, 2) {
			time.Sleep(300 * time.Millisecond)
			mu.Lock()
			low := slices.Clone(acked)
			mu.Unlock()
			data, _ := c.save(fmt.Sprint("n", round%3+1))
			mu.Lock()
			high := slices.Clone(sent)
			mu.Unlock()
			for i, got := range savedCounters(t, data, counters) {
				if got < low[i] || got > high[i] {
					t.Errorf("round %d: counter %d is %d, acknowledged %d, sent %d", round, i, got, low[i], high[i])
				}
			}
		}
		close(stop)
		wg.Wait()
	})
}

// savedCounters reads counters out of a save, through an import into a machine.
func savedCounters(t testing.TB, data []byte, n int) []int64 {
	t.Helper()
	table := fsm.Data()
	m := fsm.NewMachine(table, fsm.NewKeyspace(table, fsm.KeyspaceConfig{}), fsm.Options{})
	var all []uint16
	for s := range uint16(SlotCount) {
		all = append(all, s)
	}
	index := uint64(0)
	apply := func(cmd fsm.Command) {
		index++
		h := fsm.Header{}
		sub := &fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &cmd)}
		m.Apply(index, 1, fsm.AppendSub(fsm.AppendEntryHeader(nil, &h), sub), []*fsm.Sub{sub})
		if sub.Results[0].IsError() {
			t.Fatalf("import: %s", sub.Results[0].Str)
		}
	}
	apply(fsm.Own(1, all))
	apply(fsm.ImportBegin(1))
	sr, err := fsm.NewSaveReader(bytes.NewReader(data), false)
	if err != nil {
		t.Fatal(err)
	}
	var cut *fsm.SaveCut
	for {
		s, err := sr.Next()
		if err != nil {
			break
		}
		if s.Cut != nil {
			cut = s.Cut
		}
		if s.Data != nil {
			apply(fsm.Import(1, s.Slot, s.Number, cut.Clock, cut.Version, bytes.Clone(s.Data)))
		}
	}
	apply(fsm.ImportEnd(1, true))
	out := make([]int64, n)
	for i := range out {
		var res [1]fsm.Result
		m.Query([]fsm.Command{cmd(fsm.OpGet, fmt.Sprint("key-", i))}, res[:], 0, nil)
		_, _ = fmt.Sscan(string(res[0].Str), &out[i])
	}
	return out
}

// slowWriter calls hook once so many bytes went through.
type slowWriter struct {
	bytes.Buffer
	after int
	hook  func()
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.Len() >= w.after && w.hook != nil {
		w.hook()
		w.hook = nil
	}
	return w.Buffer.Write(p)
}

// TestSaveOverLeaderDeath: a leader dies while its capture is read; its group comes again from the next one.
func TestSaveOverLeaderDeath(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		const keys = 120
		newTestCluster(c, 3, 1)
		for i := range keys { // more than one page of a capture, and it does not compress
			value := make([]byte, 40<<10)
			_, _ = io.ReadFull(c.world.Host("n1").Rand, value)
			if r := c.nodes["n1"].do("SET", fmt.Sprint("key-", i), string(value)); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		s, err := c.nodes["n1"].Status(c.ctx(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		lead, asked := "", ""
		for _, name := range c.names() {
			if c.nodes[name].ID() == s.Groups[1].Leader {
				lead = name
			} else {
				asked = name
			}
		}
		w := &slowWriter{after: 1 << 20, hook: func() { c.crash(lead) }}
		if err := c.nodes[asked].Save(c.ctx(10*time.Minute), w); err != nil {
			t.Fatalf("save: %v", err)
		}
		info, err := inspect(w.Bytes())
		if err != nil || len(info.Voids) != 1 || info.Totals.Keys != keys {
			t.Fatalf("%v: %+v", err, info)
		}
		c.open(lead)
		c.settled()
	})
}

// TestSaveFails: each way to fail is an error, and leaves no hold.
func TestSaveFails(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 2)
		c.fill("n1", 0, 20)
		held := func(what string) {
			t.Helper()
			c.waitFor(what+": the hold to go", func() error {
				if v := c.nodes["n1"].View(); len(v.Holds) > 0 {
					return fmt.Errorf("holds %+v", v.Holds)
				}
				return nil
			})
		}
		full := errors.New("disk full")
		if err := c.nodes["n2"].Save(c.ctx(time.Minute), failingWriter{full}); !errors.Is(err, full) {
			t.Errorf("a full disk: %v", err)
		}
		held("a full disk")
		ctx, cancel := context.WithCancel(c.ctx(time.Minute))
		w := &slowWriter{hook: cancel}
		if err := c.nodes["n2"].Save(ctx, w); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		held("cancelled")
		if _, err := inspect(w.Bytes()); !fsm.SaveDamaged(err) {
			t.Errorf("what a cancelled save wrote: %v", err)
		}
		// The node that saves dies: its hold goes by itself.
		w = &slowWriter{hook: func() { c.crash("n3") }}
		if err := c.nodes["n3"].Save(c.ctx(time.Minute), w); err == nil {
			t.Error("a dead node saved")
		}
		start := time.Now()
		held("a dead node")
		if d := time.Since(start); d < holdSilence/2 || d > 2*holdSilence {
			t.Errorf("the hold of a dead node went after %v", d)
		}
		blank := c.open("n9")
		if err := blank.Save(c.ctx(time.Minute), io.Discard); !errors.Is(err, ErrUninitialised) {
			t.Errorf("without a cluster: %v", err)
		}
		c.stop("n9")
		c.open("n3")
		c.settled()
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestRestoreFails: whatever ends a restore early leaves the cluster empty and in service, and it can be
// run again.
func TestRestoreFails(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		const keys = 80
		newTestCluster(c, 3, 2)
		c.fill("n1", 0, keys)
		want := c.everything("n1", keys)
		data, _ := c.save("n1")
		o := c.another("a", 3, 3)
		defer o.stopAll()
		empty := func(what, through string) {
			t.Helper()
			c.waitFor(what+": the cluster to be empty and in service", func() error {
				v := o.nodes[through].View()
				r := o.nodes[through].do("DBSIZE")
				if len(v.Holds) > 0 || r.Err != nil || r.Result.Int != 0 {
					return fmt.Errorf("holds %+v, DBSIZE %+v", v.Holds, r)
				}
				if r := o.nodes[through].do("SET", "probe", "1"); r.Err != nil {
					return r.Err
				}
				return o.nodes[through].do("DEL", "probe").Err
			})
		}
		restore := func(through string, r io.Reader) error {
			return o.nodes[through].Restore(c.ctx(10*time.Minute), r, RestoreOptions{})
		}
		if err := restore("a1", strings.NewReader("nonsense")); !errors.Is(err, ErrBadSave) {
			t.Errorf("nonsense: %v", err)
		}
		if err := restore("a1", bytes.NewReader(data[:len(data)/2])); !errors.Is(err, ErrBadSave) {
			t.Errorf("half a save: %v", err)
		}
		empty("half a save", "a2")
		bad := bytes.Clone(data)
		bad[len(bad)-300] ^= 1
		if err := restore("a1", bytes.NewReader(bad)); !errors.Is(err, ErrBadSave) {
			t.Errorf("a damaged save: %v", err)
		}
		empty("a damaged save", "a3")
		broken := errors.New("connection lost")
		if err := restore("a2", io.MultiReader(bytes.NewReader(data[:len(data)-200]), iotestErr{broken})); !errors.Is(err, broken) {
			t.Errorf("a broken connection: %v", err)
		}
		empty("a broken connection", "a3")

		// Somebody ends it; the one that runs learns it.
		err := restore("a2", hookReader(data, func() {
			if err := o.nodes["a1"].Restore(c.ctx(time.Minute), bytes.NewReader(data), RestoreOptions{}); !errors.Is(err, ErrRefused) {
				t.Errorf("a second restore: %v", err)
			}
			if err := o.nodes["a1"].Save(c.ctx(time.Minute), io.Discard); !errors.Is(err, ErrRefused) {
				t.Errorf("a save of what is being restored: %v", err)
			}
			if r := o.nodes["a1"].do("SET", "mine", "1"); kindOf(r) != KindTimeout {
				t.Errorf("a write meanwhile: %+v", r)
			}
			s, err := o.nodes["a1"].Status(c.ctx(time.Minute))
			if err != nil || s.Cluster.Health != HealthUnavailable || !strings.Contains(fmt.Sprint(s.Warnings), "being restored through node a2") {
				t.Errorf("status meanwhile: %v %+v", err, s.Warnings)
			}
			if err := o.nodes["a3"].CancelRestore(c.ctx(time.Minute)); err != nil {
				t.Errorf("cancel: %v", err)
			}
		}))
		if !errors.Is(err, ErrHoldLost) {
			t.Errorf("a cancelled restore: %v", err)
		}
		empty("a cancelled restore", "a1")
		if err := o.nodes["a3"].CancelRestore(c.ctx(time.Minute)); !errors.Is(err, ErrNotRestoring) {
			t.Errorf("cancel of nothing: %v", err)
		}

		// The node that restores dies.
		if err := restore("a3", hookReader(data, func() { o.crash("a3") })); err == nil {
			t.Error("a dead node restored")
		}
		empty("a dead node", "a1")
		o.open("a3")
		o.settled()

		// A leader dies in the middle, and it succeeds all the same.
		err = restore("a1", hookReader(data, func() { o.crash("a2", host.CrashPolicy{}) }))
		if err != nil {
			t.Fatalf("a leader died: %v", err)
		}
		if got := o.everything("a3", keys); !maps.Equal(got, want) {
			t.Error("keys differ after the restore")
		}
		o.open("a2")
		o.settled()
	})
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }

// hookReader calls hook in the middle of the footer of a save: all its pieces are read.
func hookReader(data []byte, hook func()) io.Reader {
	at := len(data) - 30
	return io.MultiReader(bytes.NewReader(data[:at]), &hookOnce{hook}, bytes.NewReader(data[at:]))
}

type hookOnce struct{ hook func() }

func (h *hookOnce) Read([]byte) (int, error) {
	h.hook()
	return 0, io.EOF
}
