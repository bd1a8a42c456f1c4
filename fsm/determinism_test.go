// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kvorum/kvorum/snapshots"
)

// logSource makes a log that touches everything a machine does.
type logSource struct {
	words   wordSource
	table   *Table
	clock   int64
	index   uint64
	seqs    map[uint64]uint64
	ids     []uint64
	lastSub *Sub
}

func newLogSource(seed uint64) *logSource {
	return &logSource{
		words: wordSource{rng: rand.New(rand.NewPCG(seed, 3)), now: testClock}, table: Data(), clock: testClock, seqs: make(map[uint64]uint64),
	}
}

func (g *logSource) chance(n int) bool { return g.words.rng.IntN(n) == 0 }

// commands draws writes as the log may hold them: most valid, some refused, some with tokens.
func (g *logSource) commands() []Command {
	var cmds []Command
	for range 1 + g.words.rng.IntN(6) {
		words := g.words.command()
		spec, ok := g.table.Lookup([]byte(words[0]))
		if !ok || !spec.Write {
			continue
		}
		c := Command{Op: spec.Op, Args: bytesOf(words[1:]...)}
		if g.chance(4) {
			c.Token = Token{Client: [16]byte{byte(g.words.rng.IntN(3)) + 1}, Seq: uint64(g.words.rng.IntN(20)) + 1}
		}
		cmds = append(cmds, c)
	}
	if g.chance(30) {
		cmds = append(cmds, Command{Op: OpFlushAll})
	}
	return cmds
}

// victim names a key by a version that may or may not be current.
func (g *logSource) victim(m *Machine) Victim {
	key := g.words.key()
	var out [1]Result
	m.Query([]Command{{Op: OpKVGet, Args: bytesOf(key)}}, out[:], 0, nil)
	v := Victim{Slot: SlotOf([]byte(key)), Key: []byte(key), Version: 5}
	if len(out[0].Elems) == 5 && !g.chance(3) {
		v.Version = uint64(out[0].Elems[1].Int)
	}
	return v
}

// next makes the next entry; m has applied all entries before.
func (g *logSource) next(m *Machine) []byte {
	g.index++
	g.clock += int64(g.words.rng.IntN(400_000))
	h := Header{Clock: g.clock, Seed: g.words.rng.Uint64()}
	if g.index == 1 {
		return entryOf(h, packSub(Own(1, allSlots())))
	}
	switch {
	case g.chance(15):
		g.ids = append(g.ids, g.index)
		return entryOf(h, packSub(OpenSession()))
	case g.chance(40):
		policy, _ := ParsePolicy(g.words.pick("noeviction", "allkeys-lru", "volatile-ttl"))
		return entryOf(h, packSub(Limit(int64(g.words.rng.IntN(4000)), policy, 0), DefaultTTL(int64(g.words.rng.IntN(2)*100_000))))
	case g.chance(60) && len(g.ids) > 0:
		h.Close = []uint64{g.ids[g.words.rng.IntN(len(g.ids))]}
	}
	if g.chance(5) {
		h.Evict = append(h.Evict, g.victim(m))
	}
	if g.lastSub != nil && g.chance(6) {
		return entryOf(h, g.lastSub)
	}
	s := packSub(g.commands()...)
	if len(g.ids) > 0 && !g.chance(3) {
		s.Session = g.ids[g.words.rng.IntN(len(g.ids))]
		g.seqs[s.Session]++
		s.Seq = g.seqs[s.Session]
		s.Low = max(s.Seq, 4) - 3
		g.lastSub = s
	}
	return entryOf(h, s, packSub(g.commands()...))
}

// replica is a machine that is now and then replaced by one restored from its snapshot.
type replica struct {
	tm *testMachine
}

func (r *replica) apply(index uint64, data []byte) []*Sub {
	e, err := ParseEntry(data)
	if err != nil {
		r.tm.t.Fatalf("%v", err)
	}
	subs := make([]*Sub, len(e.Subs))
	for i, s := range e.Subs {
		subs[i] = &Sub{Session: s.Session, Seq: s.Seq, Low: s.Low, Writes: s.Writes, Body: s.Body}
	}
	r.tm.m.Apply(index, 1, data, subs)
	if r.tm.fatal != nil {
		r.tm.t.Fatalf("entry %d: %v", index, r.tm.fatal)
	}
	return subs
}

// snapshot gives a stream of the machine as it was when view was taken.
func writeView(t failer, v *View) []byte {
	var file bytes.Buffer
	n, err := v.WriteTo(&file)
	if err != nil || n != int64(file.Len()) {
		t.Fatalf("write of %d bytes: %d, %v", file.Len(), n, err)
	}
	v.Close()
	return file.Bytes()
}

// TestReplicasAgree applies one log on replicas of which one is never disturbed, one gets no Subs, and one
// is snapshotted and restored at random points while further entries were applied behind the view. All
// give the same replies after each entry, and the same digest.
func TestReplicasAgree(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		g := newLogSource(seed)
		plain, silent := &replica{newTestMachine(t)}, newTestMachine(t)
		restored := &replica{newTestMachine(t)}
		for step := range 60 {
			data := g.next(plain.tm.m)
			index := g.index
			a := plain.apply(index, slices.Clone(data))
			silent.m.Apply(index, 1, slices.Clone(data), nil)
			b := restored.apply(index, slices.Clone(data))
			for i := range a {
				if a[i].Status != b[i].Status || !slices.EqualFunc(a[i].Results, b[i].Results, sameResult) {
					t.Fatalf("seed %d entry %d sub %d: %+v and %+v", seed, index, i, a[i], b[i])
				}
			}
			if g.chance(15) {
				restored = rebuild(t, restored, g.words.rng.IntN(4), g, plain, silent)
			}
			if step%12 != 0 {
				continue
			}
			da, db, dc := plain.tm.m.Digest(), restored.tm.m.Digest(), silent.m.Digest()
			if da.Machine != db.Machine || da.Machine != dc.Machine {
				t.Fatalf("seed %d step %d: digests differ: %x %x %x", seed, step, da.Machine, db.Machine, dc.Machine)
			}
		}
	}
}

// rebuild freezes a replica, lets it apply some entries more, and gives one restored from the view that
// has caught up again.
func rebuild(t *testing.T, r *replica, behind int, g *logSource, plain *replica, silent *testMachine) *replica {
	t.Helper()
	v, err := r.tm.m.View()
	if err != nil {
		t.Fatal(err)
	}
	at := g.index
	var more [][]byte
	for range behind {
		data := g.next(plain.tm.m)
		more = append(more, data)
		plain.apply(g.index, slices.Clone(data))
		silent.m.Apply(g.index, 1, slices.Clone(data), nil)
		r.apply(g.index, slices.Clone(data))
	}
	fresh := &replica{newTestMachine(t)}
	fresh.tm.m.Apply(1, 1, entryOf(Header{Clock: 5}, packSub(Own(9, []uint16{3}), OpenSession())), nil) // to be replaced
	var from io.Reader = bytes.NewReader(writeView(t, v))
	if behind%2 == 1 {
		from = io.MultiReader(from) // no Seeker
	}
	if err := fresh.tm.m.Restore(from); err != nil {
		t.Fatal(err)
	}
	for i, data := range more {
		fresh.apply(at+1+uint64(i), data)
	}
	return fresh
}

// TestRestoreRefusesDamage flips bytes and cuts: the machine stays as it was.
func TestRestoreRefusesDamage(t *testing.T) {
	tm := newOwner(t)
	for i := range 50 {
		tm.do("SET", fmt.Sprint("k", i), strings.Repeat("v", i))
	}
	v, err := tm.m.View()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tm.m.View(); err == nil {
		t.Error("two views at once")
	}
	file := writeView(t, v)
	v.Close() // again: harmless
	other := newOwner(t)
	other.do("SET", "mine", "1")
	before := other.m.Digest()
	for i := 0; i < len(file); i += 7 {
		for _, bad := range [][]byte{file[:i], slices.Concat(file[:i], []byte{file[i] ^ 0x55}, file[i+1:])} {
			err := other.m.Restore(bytes.NewReader(bad))
			if err == nil || errors.Is(err, ErrRestoreBroken) {
				t.Fatalf("damage at byte %d: %v", i, err)
			}
		}
	}
	if after := other.m.Digest(); after.Machine != before.Machine {
		t.Error("a refused snapshot changed the machine")
	}
	if res := other.do("GET", "mine"); show(res) != `"1"` {
		t.Errorf("after refused snapshots: %s", show(res))
	}
	stranger := NewMachine(other.table, other.k, Options{Cluster: "another", Group: 7})
	if err := stranger.Restore(bytes.NewReader(file)); !errors.Is(err, ErrOtherGroup) {
		t.Errorf("another cluster's snapshot: %v", err)
	}
	if err := other.m.Restore(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	if a, b := tm.m.Digest(), other.m.Digest(); a.Machine != b.Machine || a.Index != b.Index {
		t.Error("the restored machine differs")
	}
}

// TestRestoreOfUnknownSections writes well-formed streams that this build cannot load.
func TestRestoreOfUnknownSections(t *testing.T) {
	tm := newOwner(t)
	stream := func(sections ...snapshots.Section) *bytes.Reader {
		var file bytes.Buffer
		w, err := snapshots.NewWriter(&file, snapshots.Header{Cluster: "test", Group: 7})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sections {
			if err := w.Section(s.Kind, s.ID, s.Data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(file.Bytes())
	}
	shell := snapshots.Section{Kind: SectionShell, Data: tm.m.appendShell(nil)}
	newer := snapshots.Section{Kind: SectionShell, Data: []byte{shellSectionVersion + 1}}
	slot := snapshots.Section{Kind: SectionSlot, Data: []byte{1, 0, 0, 0}}
	for name, file := range map[string]*bytes.Reader{
		"nothing":      stream(),
		"no shell":     stream(slot),
		"two shells":   stream(shell, shell),
		"newer shell":  stream(newer),
		"cut shell":    stream(snapshots.Section{Kind: SectionShell, Data: shell.Data[:3]}),
		"unknown kind": stream(shell, snapshots.Section{Kind: 9}),
	} {
		if err := tm.m.Restore(file); err == nil || errors.Is(err, ErrRestoreBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := tm.m.Restore(stream(shell, snapshots.Section{Kind: SectionKeyspace, Data: []byte{9}})); !errors.Is(err, ErrRestoreBroken) {
		t.Errorf("a state section that does not load: %v", err)
	}
	if err := tm.m.Restore(stream(shell)); !errors.Is(err, ErrStopped) {
		t.Errorf("after a broken restore: %v", err)
	}
}

// until calls f again and again until stop is closed.
func until(stop <-chan struct{}, f func()) {
	for {
		select {
		case <-stop:
			return
		default:
			f()
		}
	}
}

// TestReadsBesideApply runs queries, planning and snapshots beside the applying goroutine. The race
// detector watches; besides, a transfer between two keys of one slot is never seen half done, and the
// clock seen never goes back.
func TestReadsBesideApply(t *testing.T) {
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(1<<20, policy, 0))
	tm.do("MSET", "{t}a", "1000", "{t}b", "1000", "far1", "0", "far2", "0")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	reader := func(f func()) { readers.Go(func() { until(stop, f) }) }
	for range 2 {
		reader(func() {
			out := make([]Result, 2)
			tm.m.Query([]Command{{Op: OpMGet, Args: bytesOf("{t}a", "{t}b")}, {Op: OpMGet, Args: bytesOf("far2", "far1")}}, out, testClock*2, nil)
			a, _ := parseInt(out[0].Elems[0].Str)
			b, _ := parseInt(out[0].Elems[1].Str)
			if a+b != 2000 {
				t.Errorf("%d + %d", a, b)
			}
			if !bytes.Equal(out[1].Elems[0].Str, out[1].Elems[1].Str) {
				t.Errorf("MSET over slots was seen half done: %s", show(out[1]))
			}
		})
	}
	reader(func() {
		out := make([]Result, 3)
		tm.m.Query([]Command{{Op: OpScan, Args: bytesOf("0", "COUNT", "50")}, {Op: OpDBSize}, {Op: OpKVStats}}, out, testClock, nil)
		tm.m.PlanEvictions(1 << 20)
		tm.m.Sessions()
		if at := tm.m.Clock(); at > tm.m.Clock() {
			t.Error("the clock went back")
		}
		_, _ = tm.m.Applied()
		tm.m.NextDeadline()
	})
	written := make(chan struct{}, 1) // holds one while no view is open
	written <- struct{}{}
	for i := range 300 {
		tm.clock += 10
		n := fmt.Sprint(i)
		tm.do("MSET", "{t}a", fmt.Sprint(1000-i), "{t}b", fmt.Sprint(1000+i))
		tm.do("MSET", "far1", n, "far2", n)
		tm.do("SET", "x"+n, n, "PX", "50")
		tm.open()
		if i%50 != 0 {
			continue
		}
		<-written
		v, err := tm.m.View()
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			_ = writeView(t, v)
			written <- struct{}{}
		})
		tm.must(Own(1, []uint16{1, 2}))
	}
	close(stop)
	readers.Wait()
}
