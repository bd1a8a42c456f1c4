// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
	"github.com/kvorum/kvorum/snapshots"
)

// logSource makes a log that touches everything a machine does.
type logSource struct {
	source
	table   *Table
	clock   int64
	index   uint64
	seqs    map[uint64]uint64
	ids     []uint64
	lastSub *Sub
	log     [][]byte // entry i is log[i-1]
}

func newLogSource(seed uint64) *logSource {
	return &logSource{source: source{dice: seeded(seed, 3), now: testClock}, table: Data(), clock: testClock, seqs: make(map[uint64]uint64)}
}

// writes draws writes as the log may hold them: most valid, some refused, some with tokens.
func (g *logSource) writes() []Command {
	var cmds []Command
	for range 1 + g.IntN(6) {
		words := g.command()
		if g.chance(10) {
			words = []string{"SET", g.keyOf(stringKeys), g.value(), "FLAGS", g.pick("7", "4294967295"), "WITHVERSION"}
		}
		spec, ok := g.table.Lookup([]byte(words[0]))
		if !ok || !spec.Write {
			continue
		}
		c := Command{Op: spec.Op, Args: bytesOf(words[1:]...)}
		if g.chance(4) {
			c.Token = Token{Client: [16]byte{byte(g.IntN(3)) + 1}, Seq: uint64(g.IntN(20)) + 1}
			if g.IntN(3) == 0 {
				c.Token.Seq |= TokenAgain
			}
		}
		if g.chance(2) {
			c.Room = MaxReply
		}
		cmds = append(cmds, c)
	}
	if g.chance(6) {
		cmds = append(cmds, g.transaction())
	}
	return cmds
}

// transaction draws reads and writes that come together, some behind a key that was watched.
func (g *logSource) transaction() Command {
	var cmds []Command
	for range 1 + g.IntN(5) {
		words := g.command()
		if spec, ok := g.table.Lookup([]byte(words[0])); ok && spec.MayQueue() {
			cmds = append(cmds, Command{Op: spec.Op, Args: bytesOf(words[1:]...)})
		}
	}
	var watched, marks [][]byte
	if g.chance(3) {
		watched, marks = bytesOf(g.key()), [][]byte{make([]byte, markBytes)} // absent, in a slot that lost nothing
	}
	return Exec(g.table, watched, marks, cmds)
}

// victim names a key by a version that may or may not be current.
func (g *logSource) victim(m *Machine) Victim {
	key := g.key()
	var out [1]Result
	m.Query([]Command{{Op: OpKVGet, Args: bytesOf(key)}}, out[:], 0, nil)
	v := Victim{Slot: SlotOf([]byte(key)), Key: []byte(key), Version: 5}
	if len(out[0].Elems) == 5 && !g.chance(3) {
		v.Version = uint64(out[0].Elems[1].Int)
	}
	return v
}

// next makes the next entry; m has applied all entries before.
func (g *logSource) next(m *Machine) {
	g.index++
	g.clock += int64(g.IntN(3)) * int64(g.IntN(20_000))
	g.log = append(g.log, g.entry(m, Header{Clock: g.clock, Seed: uint64(g.IntN(1 << 30))}))
}

func (g *logSource) entry(m *Machine, h Header) []byte {
	if g.index == 1 {
		return entryOf(h, packSub(Own(1, allSlots())))
	}
	switch {
	case g.chance(15):
		g.ids = append(g.ids, g.index)
		return entryOf(h, packSub(OpenSession()))
	case g.chance(40):
		policy, _ := ParsePolicy(g.pick("noeviction", "allkeys-lru", "volatile-ttl", "allkeys-lfu"))
		return entryOf(h, packSub(Limit(int64(g.IntN(3)*g.IntN(40_000)), policy, 0), DefaultTTL(int64(g.IntN(2)*100_000))))
	case g.chance(50):
		slots := []uint16{SlotOf([]byte("s")), SlotOf([]byte("l")), SlotOf([]byte("h"))}
		return entryOf(h, packSub(Drop(g.index, slots), Own(g.index+1, slots)))
	case g.chance(60) && len(g.ids) > 0:
		h.Close = []uint64{g.ids[g.IntN(len(g.ids))]}
	}
	if g.chance(5) {
		h.Evict = append(h.Evict, g.victim(m))
	}
	if g.lastSub != nil && g.chance(6) {
		return entryOf(h, g.lastSub)
	}
	s := packSub(g.writes()...)
	if len(g.ids) > 0 && !g.chance(3) {
		s.Session = g.ids[g.IntN(len(g.ids))]
		g.seqs[s.Session]++
		s.Seq = g.seqs[s.Session]
		s.Low = max(s.Seq, 4) - 3
		g.lastSub = s
	}
	return entryOf(h, s, packSub(g.writes()...))
}

// replica is a machine that follows a log.
type replica struct {
	name string
	tm   *testMachine
	// behind is a snapshot being taken, of the entries up to at; nil for none.
	behind chan []byte
	at     uint64
	// readers run beside.
	stop    chan struct{}
	readers sync.WaitGroup
}

// apply applies an entry. Nobody waits for the Subs of a silent replica, and only the plain one's entries
// stay what they are: no machine may keep anything of them.
func (r *replica) apply(index uint64, data []byte) []*Sub {
	data = slices.Clone(data)
	if r.name != "plain" {
		defer clear(data)
	}
	if r.name == "silent" {
		r.tm.m.Apply(index, 1, data, nil)
		return nil
	}
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
		r.tm.t.Fatalf("%s: entry %d: %v", r.name, index, r.tm.fatal)
	}
	return subs
}

// freeze takes a view, and writes it beside further entries.
func (r *replica) freeze() {
	v, err := r.tm.m.View()
	if err != nil {
		r.tm.t.Fatalf("%s: %v", r.name, err)
	}
	r.at, _ = v.Applied()
	r.behind = make(chan []byte, 1)
	go func() {
		var file bytes.Buffer
		_, err := v.WriteTo(&file)
		v.Close()
		if err != nil {
			file.Reset()
		}
		r.behind <- file.Bytes()
	}()
}

// thaw goes on with a machine restored from the view, which catches up with the log. The machine had another
// life before.
func (r *replica) thaw(rng dice, log [][]byte) {
	stream := <-r.behind
	r.behind = nil
	hops := 1 + rng.IntN(2)
	for ; hops > 0; hops-- {
		fresh := usedMachine(r.tm.t, rng)
		var from io.Reader = bytes.NewReader(stream)
		if rng.IntN(2) == 0 {
			from = io.MultiReader(from) // no Seeker
		}
		if err := fresh.m.Restore(from); err != nil {
			r.tm.t.Fatalf("%s: %v", r.name, err)
		}
		r.tm = fresh
		if hops > 1 {
			stream = takeView(r.tm.t, fresh.m)
		}
	}
	at, _ := r.tm.m.Applied()
	for ; at < uint64(len(log)); at++ {
		r.apply(at+1, log[at])
	}
}

// usedMachine makes a machine with slots, keys, sessions and settings that no other has.
func usedMachine(t failer, rng dice) *testMachine {
	tm := newTestMachine(t)
	tm.clock = testClock - 1_000_000
	slots := allSlots()[:Slots/2]
	policy, _ := ParsePolicy("allkeys-lfu")
	tm.entry(Header{}, packSub(Own(9, slots), OpenSession(), Limit(1<<30, policy, 7), DefaultTTL(500)))
	g := &source{dice: rng, now: tm.clock}
	for range rng.IntN(100) {
		tm.do(g.command()...)
	}
	return tm
}

// travel sends the slots through the logs of two other groups, which own one half each, and back into a machine
// of the first group that had another life before.
func (r *replica) travel(rng dice) {
	t := r.tm.t
	t.Helper()
	all := streamSections(t, takeView(t, r.tm.m))
	index, _ := r.tm.m.Applied()
	back := all[:2:2] // shell and keyspace
	for half := range 2 {
		slots := slices.DeleteFunc(allSlots(), func(slot uint16) bool { return int(slot)%2 != half })
		other := newTestMachine(t)
		other.clock = testClock - 1_000_000
		other.must(Own(uint64(100+half), slots))
		for range rng.IntN(20) {
			other.do((&source{dice: rng, now: other.clock}).command()...)
		}
		other.must(Command{Op: OpFlushAll})
		other.must(ImportBegin(3))
		next := map[uint16]uint32{}
		for _, s := range all[2:] {
			if slot := uint16(s.ID); int(slot)%2 == half {
				other.must(Import(3, slot, next[slot], r.tm.m.Clock(), r.tm.m.Version(), s.Data))
				next[slot]++
			}
		}
		other.must(ImportEnd(3, true))
		for _, k := range allKeys {
			if int(SlotOf([]byte(k)))%2 == half && probeKey(other, k) != probeKey(r.tm, k) {
				t.Fatalf("%q in another group: %s, was %s", k, probeKey(other, k), probeKey(r.tm, k))
			}
		}
		back = append(back, streamSections(t, takeView(t, other.m))[2:]...)
	}
	home := usedMachine(t, rng)
	if err := home.m.Restore(streamOf(t, 7, index, back...)); err != nil {
		t.Fatalf("%v", err)
	}
	r.tm = home
}

// streamSections reads a snapshot stream.
func streamSections(t failer, stream []byte) (sections []snapshots.Section) {
	t.Helper()
	r, err := snapshots.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatalf("%v", err)
	}
	for {
		s, err := r.Next()
		if err == io.EOF {
			return sections
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		s.Data = bytes.Clone(s.Data)
		sections = append(sections, s)
	}
}

// streamOf writes a snapshot stream for a group of the test cluster.
func streamOf(t failer, group uint32, index uint64, sections ...snapshots.Section) *bytes.Reader {
	t.Helper()
	var file bytes.Buffer
	w, err := snapshots.NewWriter(&file, snapshots.Header{Cluster: "test", Group: group, Index: index, Term: 1})
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, s := range sections {
		if err := w.Section(s.Kind, s.ID, s.Data); err != nil {
			t.Fatalf("%v", err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("%v", err)
	}
	return bytes.NewReader(file.Bytes())
}

// probeKey shows all that reads tell of a key, in the order in which they tell it.
func probeKey(tm *testMachine, key string) string {
	var b strings.Builder
	for _, words := range [][]string{{"KV.GET", key}, {"LRANGE", key, "0", "-1"}, {"HGETALL", key}, {"SMEMBERS", key}, {"ZRANGE", key, "0", "-1", "WITHSCORES"}, {"PEXPIRETIME", key}} {
		b.WriteString(show(tm.do(words...)) + "\n")
	}
	return b.String()
}

// probe shows all that reads tell of a machine, cursors included.
func probe(tm *testMachine) string {
	var b strings.Builder
	for _, k := range allKeys {
		b.WriteString(probeKey(tm, k))
	}
	b.WriteString(show(tm.do("DBSIZE")) + show(tm.do("KV.STATS")))
	for _, count := range []string{"2", "1000"} {
		cursor := "0"
		for {
			res := tm.do("SCAN", cursor, "COUNT", count)
			b.WriteString(show(res) + "\n")
			if len(res.Elems) != 2 || string(res.Elems[0].Str) == "0" {
				break
			}
			cursor = string(res.Elems[0].Str)
		}
	}
	return b.String()
}

// disturb lets a reader run beside until calm is called: it touches keys, meets due ones, plans evictions.
func (r *replica) disturb(seed uint64) {
	r.stop = make(chan struct{})
	g := &source{dice: seeded(seed, 9), now: testClock}
	r.readers.Go(func() {
		table, out := Data(), make([]Result, 1)
		until(r.stop, func() {
			words := g.command()
			spec, ok := table.Lookup([]byte(words[0]))
			if !ok || spec.Write {
				return
			}
			r.tm.m.Query([]Command{{Op: spec.Op, Args: bytesOf(words[1:]...)}}, out, testClock*2, nil)
			r.tm.m.PlanEvictions(1000)
			r.tm.m.NextDeadline()
		})
	})
}

func (r *replica) calm() {
	close(r.stop)
	r.readers.Wait()
}

// logSeeds is how many logs a test makes: KVORUM_FSM_SEEDS says how many for a long run.
func logSeeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("KVORUM_FSM_SEEDS"), 10, 64); err == nil {
		return n
	}
	if testing.Short() || racing.Detector {
		return 2
	}
	return 6
}

// TestReplicasAgree applies one log on replicas: one that is never disturbed, one that gets no Subs, one
// with readers beside, one that is now and then replaced by a machine restored from a view that was written
// while further entries were applied, and one whose slots travel through other groups and back. All give
// the same replies after each entry, and now and then the same digest and the same reads.
func TestReplicasAgree(t *testing.T) {
	t.Parallel()
	for seed := range logSeeds() {
		g := newLogSource(seed)
		var rs []*replica
		for _, name := range []string{"plain", "silent", "read", "restored", "travelled"} {
			rs = append(rs, &replica{name: name, tm: newTestMachine(t)})
		}
		plain, read, restored, travelled := rs[0], rs[2], rs[3], rs[4]
		read.disturb(seed)
		for step := range 80 {
			g.next(plain.tm.m)
			want := plain.apply(g.index, g.log[step])
			for _, r := range rs[1:] {
				sameReplies(t, fmt.Sprintf("seed %d entry %d: %s", seed, g.index, r.name), want, r.apply(g.index, g.log[step]))
			}
			switch {
			case restored.behind == nil && g.chance(10):
				restored.freeze()
			case restored.behind != nil && g.chance(4):
				restored.thaw(g.dice, g.log)
			case g.chance(25):
				travelled.travel(g.dice)
			}
			if step%20 == 19 {
				sameState(t, fmt.Sprintf("seed %d entry %d", seed, g.index), rs)
			}
		}
		read.calm()
		if restored.behind != nil {
			restored.thaw(g.dice, g.log)
		}
		sameState(t, fmt.Sprintf("seed %d, the end", seed), rs)
	}
}

// sameReplies compares what became of an entry's Subs. got is nil where nobody waits.
func sameReplies(t *testing.T, where string, want, got []*Sub) {
	t.Helper()
	for i := range got {
		a, b := want[i], got[i]
		if a.Status != b.Status || a.Next != b.Next || !slices.EqualFunc(a.Results, b.Results, sameResult) {
			t.Fatalf("%s: sub %d: %+v, want %+v", where, i, b, a)
		}
	}
}

func sameState(t *testing.T, where string, rs []*replica) {
	t.Helper()
	want, reads := rs[0].tm.m.Digest(), probe(rs[0].tm)
	for _, r := range rs[1:] {
		got := r.tm.m.Digest()
		if got.Machine != want.Machine || got.Index != want.Index || !slices.Equal(got.Parts, want.Parts) {
			t.Fatalf("%s: %s: digest %x at %d, want %x at %d", where, r.name, got.Machine, got.Index, want.Machine, want.Index)
		}
		if p := probe(r.tm); p != reads {
			t.Fatalf("%s: %s reads\n%.3000s\nwant\n%.3000s", where, r.name, p, reads)
		}
		if a, b := r.tm.m.NextDeadline(), rs[0].tm.m.NextDeadline(); a != b {
			t.Fatalf("%s: %s: next deadline %d, want %d", where, r.name, a, b)
		}
	}
}
