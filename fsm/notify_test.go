// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// diary is a Listener that writes down what it hears.
type diary struct {
	mu     sync.Mutex
	wanted Classes
	lines  []string
}

func (d *diary) Wanted() Classes {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wanted
}

func (d *diary) Happened(c Classes, event string, key []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%s %s %s", c, event, key))
}

// read gives what was written since it was read last.
func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := strings.Join(d.lines, ", ")
	d.lines = nil
	return lines
}

const everyClass = classesEnd - 1

// newHeard makes a machine that owns all slots, and a diary of it.
func newHeard(t failer) (*testMachine, *diary) {
	tm, d := newOwner(t), &diary{wanted: everyClass}
	tm.k.listener = d
	return tm, d
}

// TestEventsOfAllWrites: every write of a client's that has keys tells of events, and nothing else does.
func TestEventsOfAllWrites(t *testing.T) {
	tells := tellings()
	for s := range Data().All() {
		want := s.Write && s.MayQueue()
		if _, has := tells[s.Op]; has != want {
			t.Errorf("%s: has events %t, want %t", s.Name, has, want)
		}
	}
}

func TestClasses(t *testing.T) {
	for text, want := range map[string]string{"": "", "KEA": "AKE", "AKE": "AKE", "KEAn": "AnKE", "Kg$lshzxetd": "AK", "Kx": "xK", "g": "g", "mEn": "nEm", "AA": "A"} {
		c, ok := ParseClasses(text)
		if again, fine := ParseClasses(c.String()); !ok || c.String() != want || !fine || again != c {
			t.Errorf("%q: %v %t, again %v %t", text, c, ok, again, fine)
		}
	}
	for _, text := range []string{"q", "KEAq", "k", " ", "K,E"} {
		if c, ok := ParseClasses(text); ok {
			t.Errorf("%q: %v", text, c)
		}
	}
}

// TestEventsOfEntries: events are told by who proposed an entry, in the order of its commands, and by nobody else.
func TestEventsOfEntries(t *testing.T) {
	tm, d := newHeard(t)
	heard := func(what, want string) {
		t.Helper()
		if got := d.read(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	tm.do("SET", "a", "1", "PX", "100")
	tm.do("SET", "a", "2", "PX", "100")
	heard("a string", "n new a, $ set a, g expire a, $ set a, g expire a")

	index, _ := tm.m.Applied()
	tm.m.Apply(index+1, 1, entryOf(Header{Clock: tm.clock}, packSub(Command{Op: OpIncr, Args: bytesOf("a")})), nil)
	heard("an entry of another's", "")

	tm.clock += 100
	tm.entry(Header{}, []*Sub{}...)
	heard("a tick", "x expired a")
	tm.do("SET", "b", "1")
	tm.do("PEXPIRE", "b", "1000")
	tm.clock += 1000
	tm.entry(Header{})
	heard("a tick of another's", "n new b, $ set b, g expire b")

	tm.do("SET", "v", "1")
	ref, _ := tm.k.st.Lookup(SlotOf([]byte("v")), []byte("v"))
	v := Victim{Slot: SlotOf([]byte("v")), Key: []byte("v"), Version: ref.Version() + 1}
	tm.entry(Header{Evict: []Victim{v}}, []*Sub{}...)
	heard("a victim that changed", "n new v, $ set v")
	v.Version--
	tm.entry(Header{Evict: []Victim{v}}, []*Sub{}...)
	heard("a victim", "e evicted v")

	tm.do("GET", "nobody")
	heard("a miss", "m keymiss nobody")
	d.wanted = ClassList
	tm.do("RPUSH", "l", "1")
	tm.do("RENAME", "l", "m")
	tm.do("GET", "nobody")
	heard("one class", "l rpush l")
	d.wanted = 0
	tm.do("RPUSH", "l", "1")
	heard("no class", "")
}

// TestEventsOfTransactions: a transaction tells of all its commands in their order, one that does not run of none.
func TestEventsOfTransactions(t *testing.T) {
	tm, d := newHeard(t)
	exec := func(words ...[]string) Result {
		var cmds []Command
		for _, w := range words {
			cmd, _ := tm.command(w...)
			cmds = append(cmds, cmd)
		}
		return tm.write(Exec(tm.table, nil, nil, cmds))
	}
	exec([]string{"SET", "s", "1"}, []string{"LPUSH", "s", "x"}, []string{"RPUSH", "l", "a"}, []string{"LPOP", "l"}, []string{"GET", "none"}, []string{"DEL", "s", "s", "none"})
	if got, want := d.read(), "n new s, $ set s, n new l, l rpush l, l lpop l, g del l, m keymiss none, g del s"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	mark := tm.do("KV.WATCH", "w").Elems[0].Str
	tm.do("SET", "w", "1")
	d.read()
	set, _ := tm.command("SET", "w", "2")
	if res := tm.write(Exec(tm.table, bytesOf("w"), [][]byte{mark}, []Command{set})); res.Kind != KindNull || d.read() != "" {
		t.Errorf("%s", show(res))
	}
}

// TestEventsOnce: a command that is tried again by its token tells of nothing.
func TestEventsOnce(t *testing.T) {
	tm, d := newHeard(t)
	cmd, _ := tm.command("INCR", "n")
	cmd.Token = Token{Client: [16]byte{1}, Seq: 1}
	for i, want := range []string{"n new n, $ incrby n", ""} {
		tm.write(cmd)
		if got := d.read(); got != want {
			t.Errorf("try %d: %s", i, got)
		}
	}
}

// TestNoEventsNoCost: while nobody wants to hear, writes take no memory for events.
func TestNoEventsNoCost(t *testing.T) {
	tm, d := newHeard(t)
	d.wanted = 0
	tm.do("MSET", "a", "1", "b", "2")
	tm.do("GET", "c")
	if n := cap(tm.k.x.observer.keys); n != 0 {
		t.Errorf("room for %d keys", n)
	}
	d.wanted = everyClass
	keys := slices.Repeat([]string{"k"}, 2*maxObserved)
	tm.do(append([]string{"DEL"}, keys...)...)
	if n := cap(tm.k.x.observer.keys); n > maxObserved {
		t.Errorf("room for %d keys is kept", n)
	}
}
