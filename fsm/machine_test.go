// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kvorum/kvorum/snapshots"
)

// TestMachineStops lists what a replica may not skip: it stops, changes nothing more and takes no
// snapshot.
func TestMachineStops(t *testing.T) {
	set := Command{Op: OpSet, Args: bytesOf("a", "1")}
	body := AppendCommand(nil, &set)
	none := Command{Op: 9999}
	read := get("a")
	mandatory := slices.Clone(body)
	mandatory = append(mandatory[:len(mandatory)-1], 3, 99, 1, 'x')
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "truncated"},
		{"entry version", append([]byte{2}, entryOf(Header{})[1:]...), "version 2"},
		{"cluster version", entryOf(Header{ClusterVersion: MaxClusterVersion + 1}), "cluster version"},
		{"cut", entryOf(Header{}, packSub(set))[:35], "truncated"},
		{"unknown command", entryOf(Header{}, packSub(none)), "number 9999"},
		{"mandatory extension", entryOf(Header{}, &Sub{Writes: 1, Body: mandatory}), "mandatory"},
		{"a read", entryOf(Header{}, packSub(read)), "no write"},
		{"bytes behind", entryOf(Header{}, &Sub{Writes: 1, Body: append(slices.Clone(body), body...)}), "behind"},
		{"too few commands", entryOf(Header{}, &Sub{Writes: 2, Body: body}), "truncated"},
		{"newer cluster", entryOf(Header{}, packSub(RaiseClusterVersion(MaxClusterVersion+1))), "cluster version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tm := newOwner(t)
			index, _ := tm.m.Applied()
			tm.m.Apply(index+1, 1, c.data, nil)
			if tm.fatal == nil || !strings.Contains(tm.fatal.Error(), c.want) {
				t.Fatalf("stopped with %v, want %q", tm.fatal, c.want)
			}
			if at, _ := tm.m.Applied(); at != index {
				t.Errorf("applied %d", at)
			}
			tm.m.Apply(index+2, 1, entryOf(Header{}, packSub(set)), nil)
			tm.m.Advance(index+3, 1)
			if at, _ := tm.m.Applied(); at != index {
				t.Errorf("went on to %d", at)
			}
			if _, err := tm.m.View(); !errors.Is(err, ErrStopped) {
				t.Errorf("view of a stopped machine: %v", err)
			}
			if err := tm.m.Restore(bytes.NewReader(nil)); !errors.Is(err, ErrStopped) {
				t.Errorf("restore of a stopped machine: %v", err)
			}
		})
	}
}

// TestMachineRefusesMisuse covers mistakes of the caller and defects of the state.
func TestMachineRefusesMisuse(t *testing.T) {
	tm := newOwner(t)
	index, _ := tm.m.Applied()
	tm.m.Apply(index, 1, entryOf(Header{}), nil)
	if tm.fatal == nil {
		t.Error("an entry was applied twice")
	}
	tm = newOwner(t)
	tm.m.Apply(100, 1, entryOf(Header{}, packSub(incr("a"))), []*Sub{packSub(incr("a")), packSub(incr("a"))})
	if tm.fatal == nil {
		t.Error("foreign subs were accepted")
	}
	tm = newOwner(t)
	other := packSub(incr("a"))
	other.Seq = 5
	tm.m.Apply(100, 1, entryOf(Header{}, packSub(incr("a"))), []*Sub{other})
	if tm.fatal == nil {
		t.Error("another sub was accepted")
	}
	var fatal error
	var defect *DefectError
	m := NewMachine(counterTable(), &counter{}, Options{Fatal: func(err error) { fatal = err }, Defect: func(err *DefectError) { defect = err }})
	var out [1]Result
	m.Query([]Command{{Op: opCount, Args: bytesOf("panic")}}, out[:], 0, nil)
	if !out[0].IsError() || defect == nil || fatal != nil {
		t.Errorf("a read that panics: %s, defect %v, fatal %v", show(out[0]), defect, fatal)
	}
	m.Apply(1, 1, entryOf(Header{}, packSub(Command{Op: opAdd, Args: bytesOf("panic")})), nil)
	if fatal == nil || !strings.Contains(fatal.Error(), "defect") {
		t.Errorf("a write that panics: %v", fatal)
	}
	stopped, ok := errors.AsType[*DefectError](fatal)
	for _, d := range []*DefectError{defect, stopped} {
		if !ok || !bytes.Contains(d.Stack, []byte("(*counter)")) {
			t.Errorf("%v does not say where: %+v", fatal, d)
		}
	}
}

// TestFollowerComputesTheSame applies entries with and without waiting Subs.
func TestFollowerComputesTheSame(t *testing.T) {
	leader, follower := newOwner(t), newOwner(t)
	id := leader.open()
	follower.open()
	for seq := uint64(1); seq < 20; seq++ {
		s := packSub(incr("a"), Command{Op: OpLPush, Args: bytesOf("l", fmt.Sprint(seq))})
		s.Session, s.Seq, s.Low = id, seq, max(seq, 5)-4
		s.Reads = []AttachedRead{{1, get("a")}}
		leader.entry(Header{}, s)
		index, _ := follower.m.Applied()
		follower.m.Apply(index+1, 1, entryOf(Header{Clock: leader.clock}, s), nil)
	}
	if a, b := leader.m.Digest(), follower.m.Digest(); a.Machine != b.Machine {
		t.Error("digests differ")
	}
}

func TestOwnership(t *testing.T) {
	tm := newTestMachine(t)
	slot := SlotOf([]byte("a"))
	if res := tm.do("SET", "a", "1"); res.Code != CodeSlotMoved {
		t.Errorf("write before OWN: %s", show(res))
	}
	if res := tm.do("GET", "a"); res.Code != CodeSlotMoved {
		t.Errorf("read before OWN: %s", show(res))
	}
	tm.must(Own(5, []uint16{slot, slot}))
	tm.must(Own(5, []uint16{slot})) // again
	tm.do("SET", "a", "1")
	if res := tm.do("MGET", "a", "b"); res.Code != CodeSlotMoved {
		t.Errorf("read over owned and foreign slots: %s", show(res))
	}
	if res := tm.do("MSET", "a", "2", "b", "2"); res.Code != CodeSlotMoved || show(tm.do("GET", "a")) != `"1"` {
		t.Errorf("write over owned and foreign slots: %s", show(res))
	}
	below, above := "b", "b"
	for i := 0; SlotOf([]byte(above)) < slot; i++ {
		above = fmt.Sprint("b", i)
	}
	for _, foreign := range []string{below, above} {
		if res := tm.do("DEL", "a", foreign); res.Code != CodeSlotMoved {
			t.Errorf("DEL a %s: %s", foreign, show(res))
		}
	}
	for _, stale := range []Command{Own(4, []uint16{slot}), Drop(4, []uint16{slot}), Drop(5, []uint16{slot}), Own(4, []uint16{slot - 1, slot})} {
		if res := tm.write(stale); !res.IsError() {
			t.Errorf("a stale step passed: %v", stale)
		}
	}
	if tm.k.slots[slot-1].owned {
		t.Error("a refused step took effect in part")
	}
	res := tm.do("KV.STATS")
	w, ok := ParseWhole(&res)
	if !ok || w.Cover.Len() != 1 || !w.Cover.Has(slot) || w.Cover.Epoch != 5 || w.Value.Elems[0].Int != 1 || w.Value.Elems[2].Int != 1 {
		t.Errorf("KV.STATS: %+v", w)
	}
	tm.must(Drop(6, []uint16{slot}))
	if res := tm.do("GET", "a"); res.Code != CodeSlotMoved {
		t.Errorf("read after DROP: %s", show(res))
	}
	tm.must(Own(7, []uint16{slot}))
	if res := tm.do("GET", "a"); res.Kind != KindNull {
		t.Errorf("the dropped key came back: %s", show(res))
	}
	for _, bad := range []Command{
		{Op: OpOwn, Args: bytesOf("x", "\x00\x01")},
		{Op: OpOwn, Args: bytesOf("1", "")},
		{Op: OpOwn, Args: bytesOf("1")},
		{Op: OpLimit, Args: bytesOf("-1", "noeviction", "0")},
		{Op: OpLimit, Args: bytesOf("1", "bogus", "0")},
		{Op: OpLimit, Args: bytesOf("1", "noeviction", "99999999999")},
	} {
		if res := tm.write(bad); !res.IsError() {
			t.Errorf("accepted: %v", bad)
		}
	}
}

// TestFrozenSlotRests checks the flag that slot moves build on.
func TestFrozenSlotRests(t *testing.T) {
	tm := newOwner(t)
	tm.do("SET", "a", "1", "PX", "10")
	slot := SlotOf([]byte("a"))
	tm.k.slots[slot].frozen = true
	tm.k.st.HoldDue(slot, true)
	tm.clock += 100
	tm.entry(Header{Evict: []Victim{{Slot: slot, Key: []byte("a"), Version: tm.m.Version()}}})
	for _, words := range [][]string{{"GET", "a"}, {"SET", "a", "2"}, {"FLUSHALL"}} {
		res := tm.do(words...)
		if w, ok := ParseWhole(&res); ok {
			res = w.Value
		}
		if res.Code != CodeSlotFrozen {
			t.Errorf("%q: %s", words, show(res))
		}
	}
	if tm.k.Stats().Keys != 1 {
		t.Error("a key of a frozen slot is gone")
	}
}

func TestNoEvictionRefusesGrowth(t *testing.T) {
	tm := newOwner(t)
	noeviction, _ := ParsePolicy("noeviction")
	tm.must(Limit(300, noeviction, 0))
	tm.script(`
		SET a 1 => +OK
		RPUSH l 1 2 3 4 5 6 => 6
		HSET h a 1 b 2 c 3 => 3
		SET b 1 => -OOM command not allowed when used memory > 'maxmemory'.
		LPUSH l 1 => -OOM command not allowed when used memory > 'maxmemory'.
		GET a => "1"
		LPOP l => "1"
		EXPIRE a 100 => 1
		DEL h => 1
		SET b 1 => +OK
	`)
}

func TestVolatilePolicyRefusesWithoutCandidates(t *testing.T) {
	tm := newOwner(t)
	policy, _ := ParsePolicy("volatile-lru")
	tm.do("SET", "a", strings.Repeat("v", 500))
	tm.must(Limit(300, policy, 0))
	if v := tm.m.PlanEvictions(0); len(v) != 0 {
		t.Errorf("a key without a deadline is to go: %v", v)
	}
	if res := tm.do("SET", "b", "1"); res.Code != CodeOOM {
		t.Errorf("without candidates: %s", show(res))
	}
	tm.do("EXPIRE", "a", "100")
	if res := tm.do("SET", "b", "1"); res.IsError() {
		t.Errorf("with a candidate: %s", show(res))
	}
	if v := tm.m.PlanEvictions(0); len(v) != 1 || string(v[0].Key) != "a" {
		t.Errorf("victims: %v", v)
	}
}

// TestEviction lets a leader plan and apply evictions under a steady stream of writes: the limit holds,
// nothing is refused, keys that are read stay.
func TestEviction(t *testing.T) {
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-lru")
	const limit = 50_000
	tm.must(Limit(limit, policy, 0))
	for i := range 5000 {
		tm.clock += 100
		tm.do("GET", "hot")
		s := packSub(Command{Op: OpSet, Args: bytesOf(fmt.Sprint("key", i), strings.Repeat("v", 100))})
		if i == 0 {
			s = packSub(Command{Op: OpSet, Args: bytesOf("hot", "v")})
		}
		tm.entry(Header{Evict: tm.m.PlanEvictions(tm.m.GrowthBound([]*Sub{s}))}, s)
		if s.Results[0].IsError() {
			t.Fatalf("write %d was refused: %s", i, s.Results[0].Str)
		}
		if used := tm.k.Stats().LogicalBytes; used > limit {
			t.Fatalf("%d bytes after write %d", used, i)
		}
	}
	if used := tm.k.Stats().LogicalBytes; used < limit*9/10 {
		t.Errorf("only %d bytes of %d are used", used, limit)
	}
	if res := tm.do("GET", "hot"); res.Kind != KindBulk {
		t.Error("the key that was read all the time was evicted")
	}
}

// TestEvictionNeedsVersion checks that a victim changed since it was named stays, and that nobody is
// named twice.
func TestEvictionNeedsVersion(t *testing.T) {
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-random")
	tm.must(Limit(1, policy, 0))
	for i := range 10 {
		tm.do("SET", fmt.Sprint("k", i), "v")
	}
	first := tm.m.PlanEvictions(0)
	if len(first) != 10 {
		t.Fatalf("%d victims", len(first))
	}
	if again := tm.m.PlanEvictions(0); len(again) != 0 {
		t.Errorf("named again: %v", again)
	}
	tm.do("SET", string(first[0].Key), "new")
	tm.entry(Header{Evict: append(first, Victim{Slot: 5, Key: []byte("absent"), Version: 1})})
	if tm.k.Stats().Keys != 1 || show(tm.do("GET", string(first[0].Key))) != `"new"` {
		t.Errorf("%d keys left", tm.k.Stats().Keys)
	}
	if third := tm.m.PlanEvictions(0); len(third) != 1 {
		t.Errorf("the changed key cannot be named any more: %v", third)
	}
}

// counter is a second State: numbers by name. It proves that the shell asks no more of a state than the
// interface says.
type counter struct {
	mu     sync.RWMutex
	values map[string]int64
}

const (
	opAdd   Op = 0x8000
	opCount Op = 0x8001
)

func counterTable() *Table {
	return NewTable(DefaultLimits(), []Spec{
		{Op: opAdd, Name: "ADD", Arity: 2, Write: true},
		{Op: opCount, Name: "COUNT", Arity: 2},
	})
}

func (c *counter) Begin(*Ctx, []Victim) {}

func (c *counter) Run(ctx *Ctx, cmd *Command) Result {
	if len(cmd.Args) != 1 {
		return Error(CodeArity, "ERR arity")
	}
	if string(cmd.Args[0]) == "panic" {
		panic("as asked")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = make(map[string]int64)
	}
	c.values[string(cmd.Args[0])]++
	return Int(int64(ctx.NextVersion()))
}

func (c *counter) Query(_ *Ctx, cmd *Command) Result {
	if string(cmd.Args[0]) == "panic" {
		panic("as asked")
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return Int(c.values[string(cmd.Args[0])])
}

type frozenCounter []byte

func (c *counter) Freeze() (Frozen, error) {
	var data []byte
	names := make([]string, 0, len(c.values))
	for name := range c.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		data = appendBytes(data, []byte(name))
		data = binary.AppendUvarint(data, uint64(c.values[name]))
	}
	return frozenCounter(data), nil
}

func (f frozenCounter) Epoch() uint64 { return 0 }
func (f frozenCounter) Close()        {}

func (f frozenCounter) Sections(add func(kind uint8, id uint32, data []byte) error) error {
	return add(SectionState, 0, f)
}

func (c *counter) BeginLoad() { c.values = make(map[string]int64) }

func (c *counter) Load(_ uint8, _ uint32, data []byte) error {
	for r := (reader{src: data}); r.rest() > 0; {
		name := string(r.bytes("name"))
		c.values[name] = int64(r.uvarint("value"))
		if r.err != nil {
			return r.err
		}
	}
	return nil
}

func (c *counter) EndLoad() error { return nil }

func (c *counter) Digest(f func(id uint32, sum [16]byte)) {
	frozen, _ := c.Freeze()
	var sum [16]byte
	copy(sum[:], frozen.(frozenCounter))
	f(0, sum)
}

func (c *counter) NextDeadline() int64          { return 0 }
func (c *counter) GrowthBound([]*Sub) int64     { return 0 }
func (c *counter) PlanEvictions(int64) []Victim { return nil }

var _ State = (*counter)(nil)

// TestOtherState runs the shell over a state that is no keyspace.
func TestOtherState(t *testing.T) {
	fail := func(err error) { t.Fatal(err) }
	m := NewMachine(counterTable(), &counter{}, Options{Group: 0, Cluster: "c", Fatal: fail})
	s := packSub(Command{Op: opAdd, Args: bytesOf("x")}, Command{Op: opAdd, Args: bytesOf("x")})
	m.Apply(1, 1, entryOf(Header{Clock: testClock}, packSub(OpenSession())), nil)
	s.Session, s.Seq, s.Low = 1, 1, 1
	for index := uint64(2); index < 5; index++ {
		m.Apply(index, 1, entryOf(Header{Clock: testClock}, s), []*Sub{s})
	}
	var out [1]Result
	m.Query([]Command{{Op: opCount, Args: bytesOf("x")}}, out[:], 0, nil)
	if out[0].Int != 2 || s.Results[1].Int != int64(m.Version()) {
		t.Errorf("counted %d, last reply %s", out[0].Int, show(s.Results[1]))
	}
	v, err := m.View()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := v.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	v.Close()
	other := NewMachine(counterTable(), &counter{}, Options{Group: 0, Cluster: "c", Fatal: fail})
	if err := other.Restore(&file); err != nil {
		t.Fatal(err)
	}
	if a, b := m.Digest(), other.Digest(); a.Machine != b.Machine || a.Index != b.Index {
		t.Errorf("digests %+v and %+v", a, b)
	}
	if err := NewMachine(counterTable(), &counter{}, Options{Group: 1, Cluster: "c", Fatal: fail}).Restore(&file); !errors.Is(err, snapshots.ErrCorrupt) {
		t.Errorf("empty stream: %v", err)
	}
}
