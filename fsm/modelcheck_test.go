// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// duel is a machine and the model, which run the same log and the same reads.
type duel struct {
	tm      *testMachine
	m       *model
	crowd   int // keys made by throng so far
	history []string
	// A scan that goes on between other commands: where it is, the keys that were there at each of its
	// steps so far, and those it found.
	cursor string
	stayed map[string]bool
	found  map[string]bool
}

func (d *duel) fail(t *rapid.T, words []string, ours, said Result) {
	t.Helper()
	t.Fatalf("%#v at %d\n ours %.400s\nmodel %.400s\nbefore:\n%s", line(words), d.m.now-testClock, show(ours), show(said),
		strings.Join(d.history[max(0, len(d.history)-20):], "\n"))
}

func (d *duel) note(format string, args ...any) {
	d.history = append(d.history, fmt.Sprintf(format, args...))
}

// compare compares one reply of the machine with what the model says now.
func (d *duel) compare(t *rapid.T, words []string, ours, said Result) {
	t.Helper()
	ours = plainly(t, words, ours, d.tm.do)
	if !d.m.agrees(words, said, ours) {
		d.fail(t, words, ours, said)
	}
}

// play runs one command as an edge does: a write is an entry of its own.
func (d *duel) play(t *rapid.T, words []string) {
	t.Helper()
	d.note("%#v", line(words))
	before, _ := d.tm.m.Applied()
	ours := d.tm.do(words...)
	after, _ := d.tm.m.Applied()
	for ; before < after; before++ {
		d.m.begin(d.tm.clock, nil)
	}
	d.compare(t, words, ours, d.m.follow(ours, words...))
}

// commands plays commands one by one.
func (d *duel) commands(t *rapid.T) {
	for _, l := range drawLines(t, d.m.now) {
		d.play(t, l)
	}
}

// versions plays Kvorum's own commands, with versions that are, were, or never were.
func (d *duel) versions(t *rapid.T) {
	g := &source{dice: rapidDice{t}, now: d.m.now}
	key, version := g.keyOf(stringKeys), "0"
	if k := d.m.keys[key]; k != nil {
		version = strconv.FormatUint(k.version, 10)
	}
	version = g.pick(version, version, strconv.FormatUint(d.m.version, 10), "0", "18446744073709551615", "x", "-1", "01", "18446744073709551616")
	switch g.IntN(5) {
	case 0, 1:
		words := g.setOptions([]string{"SET", key, g.pick("5", g.value())}, "WITHVERSION", "NX", "XX", "GET", "KEEPTTL", "IFVERSION", "FLAGS")
		flags := []string{"flags", g.pick("7", "0", "4294967295", "4294967296", "x")}
		words = append(words, g.pickWords(flags, []string{"IFVERSION", version}, append(flags, "IFVERSION", version), nil)...)
		d.play(t, words)
		// What keeps the flags, and what does not; what takes a new version, and what does not.
		d.play(t, g.pickWords([]string{"INCR", key}, []string{"APPEND", key, "1"}, []string{"SETRANGE", key, "1", "1"}, []string{"PERSIST", key},
			[]string{"EXPIRE", key, "100"}, []string{"SET", key, "6", "KEEPTTL"}, []string{"GETSET", key, "6"}, []string{"SETRANGE", key, "1", ""},
			[]string{"GETEX", key, "PX", "50"}))
		d.play(t, []string{"KV.GET", key})
	case 2:
		d.play(t, append([]string{"KV.DEL", key}, g.pickWords(nil, []string{"IFVERSION", version}, []string{"ifversion"}, []string{"IF", version})...))
	case 3:
		d.play(t, []string{"KV.GET", key})
	case 4:
		d.play(t, []string{"KV.STATS"})
	}
}

// entry applies several Subs at once, with reads between their writes, and victims named before them.
func (d *duel) entry(t *rapid.T) {
	g := &source{dice: rapidDice{t}, now: d.m.now}
	var subs []*Sub
	var lines, reads [][][]string
	for range 1 + g.IntN(3) {
		s := &Sub{}
		var ls, rs [][]string
		for _, words := range drawLines(t, d.m.now) {
			cmd, ok := d.tm.command(words...)
			if ok {
				_, ok = d.tm.table.Check(&cmd)
			}
			switch {
			case !ok || cmd.Op == OpScan || cmd.Op == OpSScan || cmd.Op == OpZScan || cmd.Op == OpHScan: // one page of many
			case d.tm.table.Spec(cmd.Op).Write:
				cmd.Room = MaxReply
				s.Body = AppendCommand(s.Body, &cmd)
				s.Writes++
				ls = append(ls, words)
			default:
				s.Reads = append(s.Reads, AttachedRead{After: s.Writes, Cmd: cmd})
				rs = append(rs, words)
			}
		}
		subs, lines, reads = append(subs, s), append(lines, ls), append(reads, rs)
	}
	h := Header{Evict: d.victims(g)}
	d.note("entry: %d victims, writes %#v, reads %#v", len(h.Evict), lines, reads)
	d.tm.entry(h, subs...)
	d.m.begin(d.tm.clock, h.Evict)
	for i, s := range subs {
		read := 0
		for j := 0; j <= s.Writes; j++ {
			for ; read < len(s.Reads) && s.Reads[read].After == j; read++ {
				d.compare(t, reads[i][read], s.ReadResults[read], d.m.follow(s.ReadResults[read], reads[i][read]...))
			}
			if j < s.Writes {
				d.compare(t, lines[i][j], s.Results[j], d.m.follow(s.Results[j], lines[i][j]...))
			}
		}
	}
}

// victims names some keys, a third of them by a version that is not theirs, and some that are not there.
func (d *duel) victims(g *source) (vs []Victim) {
	for g.chance(3) {
		key := g.key()
		v := Victim{Slot: SlotOf([]byte(key)), Key: []byte(key), Version: 1}
		if k := d.m.keys[key]; k != nil {
			v.Version = k.version + uint64(g.IntN(3)/2)
		}
		vs = append(vs, v)
	}
	return vs
}

// wait moves the leader's clock: a little, to some key's deadline or just before it, far, or back.
func (d *duel) wait(t *rapid.T) {
	g := rapidDice{t}
	switch i := g.IntN(6); {
	case i < 3:
		d.tm.clock += int64([]int{1, 50, 1000}[i])
	case i == 3:
		d.tm.clock += 3_000_000
	case i == 4:
		d.tm.clock -= 10
	default:
		if at := d.m.nextDeadline(); at != 0 && at < MaxClock {
			d.tm.clock = at - int64(g.IntN(2))
		}
	}
	if g.IntN(2) == 0 {
		d.tm.entry(Header{})
		d.m.begin(d.tm.clock, nil)
	}
	d.note("clock %d, %d", d.tm.clock-testClock, d.m.now-testClock)
}

// throng makes more keys than one entry removes, with deadlines close together, in many slots or in one.
func (d *duel) throng(t *rapid.T) {
	g := rapidDice{t}
	n, span, tag := 20+g.IntN(130), 1+g.IntN(20), []string{"", "{t}"}[g.IntN(2)]
	d.note("%d keys from %scrowd%d on, deadlines within %d ms", n, tag, d.crowd, span)
	s := &Sub{}
	var lines [][]string
	for range n {
		words := []string{"SET", fmt.Sprint(tag, "crowd", d.crowd%300), "v", "PX", strconv.Itoa(1 + d.crowd%span)}
		cmd, _ := d.tm.command(words...)
		s.Body = AppendCommand(s.Body, &cmd)
		s.Writes++
		lines = append(lines, words)
		d.crowd++
	}
	d.tm.entry(Header{}, s)
	d.m.begin(d.tm.clock, nil)
	for i, words := range lines {
		d.compare(t, words, s.Results[i], d.m.do(words...))
	}
}

// settings changes the group's settings.
func (d *duel) settings(t *rapid.T) {
	g := rapidDice{t}
	upkeep := func(c Command) {
		d.tm.must(c)
		d.m.begin(d.tm.clock, nil)
	}
	if g.IntN(2) == 0 {
		d.m.defaultTTL = int64([]int{100_000, 0, 50, 1}[g.IntN(4)])
		upkeep(DefaultTTL(d.m.defaultTTL))
	} else {
		policies := []string{"noeviction", "allkeys-lru", "volatile-lru", "allkeys-lfu", "volatile-lfu", "allkeys-random", "volatile-random", "volatile-ttl"}
		d.m.policy = policies[g.IntN(len(policies))]
		_, _, _, logical := d.m.sizes()
		d.m.maxMemory = []int64{0, 0, 1, 400, 5000, 50_000, logical, logical + 1, max(logical-1, 0)}[g.IntN(9)]
		d.m.maxValue = []int{DefaultMaxValue, DefaultMaxValue, 4096, 64}[g.IntN(4)]
		policy, ok := ParsePolicy(d.m.policy)
		if !ok {
			t.Fatalf("no policy %s", d.m.policy)
		}
		upkeep(Limit(d.m.maxMemory, policy, d.m.maxValue))
	}
	d.note("settings: %s, memory %d, value %d, ttl %d", d.m.policy, d.m.maxMemory, d.m.maxValue, d.m.defaultTTL)
}

// restore goes on with a machine made from a snapshot.
func (d *duel) restore(t *rapid.T) {
	d.note("restore")
	fresh := newTestMachine(t)
	fresh.clock = d.tm.clock
	if err := fresh.m.Restore(bytes.NewReader(takeView(t, d.tm.m))); err != nil {
		t.Fatalf("%v", err)
	}
	d.tm = fresh
}

// scan goes one step on with a scan from the start to the end. Keys that are there at each step are found at
// least once, and no key is found that is not there.
func (d *duel) scan(t *rapid.T) {
	names := d.m.scan([]string{"SCAN", "0"})
	live := map[string]bool{}
	for _, e := range names.Elems {
		live[string(e.Str)] = true
	}
	if d.cursor == "" {
		d.cursor, d.stayed, d.found = "0", live, map[string]bool{}
	}
	for name := range d.stayed {
		if !live[name] {
			delete(d.stayed, name)
		}
	}
	words := []string{"SCAN", d.cursor, "COUNT", (&source{dice: rapidDice{t}}).pick("1", "2", "5", "40")}
	res := d.tm.do(words...)
	d.note("%#v: %s", line(words), show(res))
	if len(res.Elems) != 2 {
		t.Fatalf("%q: %s", words, show(res))
	}
	for _, e := range res.Elems[1].Elems {
		if d.found[string(e.Str)] = true; !live[string(e.Str)] {
			t.Fatalf("%q found %q, which is not there", words, e.Str)
		}
	}
	if d.cursor = string(res.Elems[0].Str); d.cursor != "0" {
		return
	}
	for name := range d.stayed {
		if !d.found[name] {
			t.Fatalf("a scan did not find %q, which was there all the time; before:\n%s", name, strings.Join(d.history[max(0, len(d.history)-40):], "\n"))
		}
	}
	d.cursor = ""
}

// totals compares what can be known without a command.
func (d *duel) totals(t *rapid.T) {
	if got, want := d.tm.m.Clock(), d.m.now; got != want {
		t.Fatalf("clock %d, want %d", got, want)
	}
	if got, want := d.tm.m.Version(), d.m.version; got != want {
		t.Fatalf("version %d, want %d", got, want)
	}
	if got, want := d.tm.m.NextDeadline(), d.m.nextDeadline(); got != want {
		t.Fatalf("next deadline %d, want %d; before:\n%s", got, want, strings.Join(d.history[max(0, len(d.history)-20):], "\n"))
	}
	stats := []string{"KV.STATS"}
	d.compare(t, stats, d.tm.do(stats...), d.m.do(stats...))
}

// everything compares every key.
func (d *duel) everything(t *rapid.T) {
	names := slices.Clone(allKeys)
	for name := range d.m.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, k := range slices.Compact(names) {
		for _, words := range [][]string{{"KV.GET", k}, {"LRANGE", k, "0", "-1"}, {"HGETALL", k}, {"SMEMBERS", k}, {"ZRANGE", k, "0", "-1", "WITHSCORES"}, {"PEXPIRETIME", k}} {
			d.play(t, words)
		}
	}
	d.play(t, []string{"SCAN", "0", "COUNT", "7"})
	d.play(t, []string{"DBSIZE"})
}

// TestModel runs random logs with explicit time on a machine and on the model: single commands, entries of
// many, victims, settings, restores, and clocks that jump to deadlines, over them, and back. Every reply,
// the sizes, the version counter and the next deadline are compared after every step.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &duel{tm: newOwner(t), m: newModel(testClock)}
		t.Repeat(map[string]func(*rapid.T){
			"commands": d.commands,
			"more":     d.commands,
			"versions": d.versions,
			"entry":    d.entry,
			"clock":    d.wait,
			"throng":   d.throng,
			"settings": d.settings,
			"restore":  d.restore,
			"":         d.totals,
			"scan":     d.scan,
		})
		d.tm.must(Limit(0, 0, 0))
		d.m.begin(d.tm.clock, nil)
		d.m.maxMemory, d.m.maxValue = 0, DefaultMaxValue
		for d.cursor != "" {
			d.scan(t)
		}
		d.everything(t)
	})
}
