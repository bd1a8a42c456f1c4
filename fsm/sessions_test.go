// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kvorum/kvorum/internal/host/racing"
	"github.com/kvorum/kvorum/store"
)

// open opens a session and gives its id.
func (tm *testMachine) open() uint64 {
	tm.t.Helper()
	return uint64(tm.write(OpenSession()).Int)
}

// send applies a Sub of a session in an entry of its own.
func (tm *testMachine) send(session, seq, low uint64, cmds ...Command) *Sub {
	tm.t.Helper()
	s := packSub(cmds...)
	s.Session, s.Seq, s.Low = session, seq, low
	tm.entry(Header{}, s)
	return s
}

func incr(key string) Command { return Command{Op: OpIncr, Args: bytesOf(key)} }

func get(key string) Command { return Command{Op: OpGet, Args: bytesOf(key)} }

func TestSessionRules(t *testing.T) {
	tm := newOwner(t)
	id := tm.open()
	if index, _ := tm.m.Applied(); id != index {
		t.Fatalf("session %d was opened by entry %d", id, index)
	}
	steps := []struct {
		name     string
		session  uint64
		seq, low uint64
		status   SubStatus
		next     uint64
		reply    int64
	}{
		{"unknown session", id + 1000, 1, 1, SubExpired, 0, 0},
		{"first", id, 1, 1, SubApplied, 0, 1},
		{"repeated", id, 1, 1, SubApplied, 0, 1},
		{"gap", id, 3, 1, SubGap, 2, 0},
		{"second", id, 2, 1, SubApplied, 0, 2},
		{"third acknowledges the first", id, 3, 2, SubApplied, 0, 3},
		{"acknowledged", id, 1, 1, SubStale, 0, 0},
		{"still cached", id, 2, 1, SubApplied, 0, 2},
		{"low beyond its own number is not believed", id, 3, 99, SubApplied, 0, 3},
		{"now the second is forgotten", id, 2, 1, SubStale, 0, 0},
		{"sequence 0", id, 0, 0, SubStale, 0, 0},
	}
	for _, s := range steps {
		sub := tm.send(s.session, s.seq, s.low, incr("n"))
		if sub.Status != s.status || sub.Next != s.next {
			t.Fatalf("%s: status %d next %d, want %d %d", s.name, sub.Status, sub.Next, s.status, s.next)
		}
		if s.status == SubApplied && (len(sub.Results) != 1 || sub.Results[0].Int != s.reply) {
			t.Fatalf("%s: results %v, want %d", s.name, sub.Results, s.reply)
		}
		if s.status != SubApplied && sub.Results != nil {
			t.Fatalf("%s: results without execution", s.name)
		}
	}
	if got := show(tm.do("GET", "n")); got != `"3"` {
		t.Errorf("executed %s times, want 3", got)
	}
	tm.entry(Header{Close: []uint64{id, 12345}})
	if sub := tm.send(id, 4, 4, incr("n")); sub.Status != SubExpired {
		t.Errorf("closed session: status %d", sub.Status)
	}
	if ids := tm.m.Sessions(); len(ids) != 0 {
		t.Errorf("sessions left: %v", ids)
	}
	if tm.m.sessions.bytes != 0 {
		t.Errorf("%d bytes of replies left", tm.m.sessions.bytes)
	}
}

// TestRepeatedWithMore: a number that comes again with more commands than it had executes nothing and stops
// nobody; what it did not have before is answered as dropped.
func TestRepeatedWithMore(t *testing.T) {
	tm := newOwner(t)
	id := tm.open()
	tm.send(id, 1, 1, incr("n"))
	sub := tm.send(id, 1, 1, incr("n"), incr("n"), incr("n"))
	if sub.Status != SubApplied || len(sub.Results) != 3 || sub.Results[0].Int != 1 {
		t.Fatalf("status %d, results %v", sub.Status, sub.Results)
	}
	for i := range sub.Results[1:] {
		if sub.Results[1+i].Code != CodeReplyDropped {
			t.Errorf("result %d: %s", 1+i, show(sub.Results[1+i]))
		}
	}
	if got := show(tm.do("GET", "n")); got != `"1"` {
		t.Errorf("executed %s times, want once", got)
	}
}

// TestSessionWindow fills a window and goes one past it.
func TestSessionWindow(t *testing.T) {
	tm := newOwner(t)
	id := tm.open()
	for seq := uint64(1); seq <= SessionWindow; seq++ {
		if sub := tm.send(id, seq, 1, incr("n")); sub.Status != SubApplied {
			t.Fatalf("number %d: status %d", seq, sub.Status)
		}
	}
	sub := tm.send(id, SessionWindow+1, 1, incr("n"))
	if sub.Status != SubGap || sub.Next != SessionWindow+1 {
		t.Errorf("past the window: status %d next %d", sub.Status, sub.Next)
	}
	if sub := tm.send(id, SessionWindow+1, 2, incr("n")); sub.Status != SubApplied {
		t.Errorf("after one was acknowledged: status %d", sub.Status)
	}
	if sub := tm.send(id, 2, 2, incr("n")); sub.Status != SubApplied || sub.Results[0].Int != 2 {
		t.Errorf("oldest in the window: %+v", sub)
	}
}

// TestTwoSessionsOfOneEntry checks that ids differ though the log index is the same.
func TestTwoSessionsOfOneEntry(t *testing.T) {
	tm := newOwner(t)
	s := packSub(OpenSession(), OpenSession())
	tm.entry(Header{}, s, packSub(OpenSession()))
	index, _ := tm.m.Applied()
	if s.Results[0].Int != int64(index) {
		t.Errorf("first session is %d, want the log index %d", s.Results[0].Int, index)
	}
	if ids := tm.m.Sessions(); len(ids) != 3 || len(slices.Compact(ids)) != 3 {
		t.Errorf("sessions %v", ids)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	tm := newOwner(t)
	for i := range MaxSessions {
		if res := tm.write(OpenSession()); res.IsError() {
			t.Fatalf("session %d: %s", i, res.Str)
		}
	}
	if res := tm.write(OpenSession()); !res.IsError() {
		t.Error("one session too many was opened")
	}
}

// TestReplyDropped repeats a Sub whose replies were too large to keep: applied, with the small replies.
func TestReplyDropped(t *testing.T) {
	tm := newOwner(t)
	id := tm.open()
	tm.do("SET", "big", strings.Repeat("v", MaxCachedReplies))
	tm.do("SET", "fits", strings.Repeat("v", MaxCachedReplies/2))
	getset := func(key string) Command { return Command{Op: OpGetSet, Args: bytesOf(key, "new"), Room: MaxReply} }
	cmds := []Command{getset("fits"), getset("big"), incr("n")}
	first := tm.send(id, 1, 1, cmds...)
	if len(first.Results[1].Str) != MaxCachedReplies {
		t.Fatal("the first answer is not complete")
	}
	again := tm.send(id, 1, 1, cmds...)
	if again.Status != SubApplied || !sameResult(again.Results[0], first.Results[0]) || again.Results[2].Int != 1 {
		t.Errorf("replies that fit are not kept")
	}
	if r := again.Results[1]; r.Code != CodeReplyDropped || string(r.Str) != TextReplyDropped {
		t.Errorf("the large reply became %.60s", show(r))
	}
	// All sessions together are bounded too.
	tm.m.sessions.bytes = MaxSessionBytes
	tm.send(id, 2, 1, incr("n"))
	if again := tm.send(id, 2, 1, incr("n")); again.Status != SubApplied || again.Results[0].Code != CodeReplyDropped {
		t.Errorf("over MaxSessionBytes: %+v", again)
	}
}

// TestAttachedReads checks that reads see exactly the writes before them, and do not run again with an
// answer from the cache.
func TestAttachedReads(t *testing.T) {
	tm := newOwner(t)
	id := tm.open()
	s := packSub(incr("n"), incr("n"), incr("m"))
	s.Session, s.Seq, s.Low = id, 1, 1
	s.Reads = []AttachedRead{{0, get("n")}, {1, get("n")}, {1, get("m")}, {3, get("n")}, {3, get("m")}}
	tm.entry(Header{}, s)
	var got []string
	for _, r := range s.ReadResults {
		got = append(got, show(r))
	}
	if want := `nil "1" nil "2" "1"`; strings.Join(got, " ") != want {
		t.Errorf("reads saw %v, want %s", got, want)
	}
	s.ReadResults = nil
	tm.entry(Header{}, s)
	for _, r := range s.ReadResults {
		if r.Kind != KindNone {
			t.Errorf("a read of a repeated Sub answered %s", show(r))
		}
	}
	if len(s.ReadResults) != len(s.Reads) {
		t.Errorf("%d read results", len(s.ReadResults))
	}
	bad := packSub(incr("n"))
	bad.Reads = []AttachedRead{{0, incr("n")}, {0, Command{Op: 9999}}}
	tm.entry(Header{}, bad)
	if !bad.ReadResults[0].IsError() || !bad.ReadResults[1].IsError() {
		t.Errorf("a write ran as a read: %v", bad.ReadResults)
	}
}

// TestExactlyOnce sends a frontend's Subs through a log that loses, repeats and reorders them, until all
// are acknowledged: each is executed once, in order.
func TestExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tm := newOwner(t)
		id := tm.open()
		total := uint64(rapid.IntRange(1, 30).Draw(t, "total"))
		var inLog []*Sub // copies under way, in any order
		acked, first := uint64(0), uint64(1)
		for acked < total {
			next := min(first+uint64(rapid.IntRange(0, 3).Draw(t, "ahead")), total)
			for seq := first; seq <= next; seq++ {
				s := packSub(Command{Op: OpRPush, Args: bytesOf("l", fmt.Sprint(seq))})
				s.Session, s.Seq, s.Low = id, seq, first
				inLog = append(inLog, s)
			}
			for range rapid.IntRange(1, 4).Draw(t, "arrive") {
				s := inLog[rapid.IntRange(0, len(inLog)-1).Draw(t, "which")] // stays: it may come again
				tm.entry(Header{}, s)
				if s.Status == SubApplied && s.Seq == first {
					if s.Results[0].Int != int64(s.Seq) {
						t.Fatalf("number %d was answered %d", s.Seq, s.Results[0].Int)
					}
					acked, first = first, first+1
					break
				}
			}
		}
		l := tm.do("LRANGE", "l", "0", "-1")
		for i, e := range l.Elems {
			if string(e.Str) != fmt.Sprint(i+1) {
				t.Fatalf("executed out of order: %s", show(l))
			}
		}
	})
}

func TestTokens(t *testing.T) {
	tm := newOwner(t)
	with := func(seq uint64, cmd Command) Command {
		cmd.Token = Token{Client: [16]byte{9}, Seq: seq}
		return cmd
	}
	want := func(name string, res Result, text string) {
		t.Helper()
		if got := show(res); got != text {
			t.Errorf("%s: %s, want %s", name, got, text)
		}
	}
	want("first", tm.write(with(1, incr("n"))), "1")
	want("repeated", tm.write(with(1, incr("n"))), "1")
	want("next", tm.write(with(2, incr("n"))), "2")
	want("old", tm.write(with(1, incr("n"))), "-"+TextTokenExpired)
	want("without token", tm.write(incr("n")), "3")
	want("repeated after others", tm.write(with(2, incr("n"))), "2")
	want("an error is an outcome", tm.write(with(3, Command{Op: OpRPush, Args: bytesOf("n", "x")})), "-"+TextWrongType)
	want("repeated error", tm.write(with(3, incr("n"))), "-"+TextWrongType)

	tm.do("SET", "n", strings.Repeat("v", 2000))
	getdel := with(4, Command{Op: OpGetDel, Args: bytesOf("n")})
	if res := tm.write(getdel); len(res.Str) != 2000 {
		t.Errorf("large reply: %.50s", show(res))
	}
	want("large reply repeated", tm.write(getdel), "-"+TextReplyDropped)

	// A token of several slots is ignored; one of several keys of a slot is honoured.
	mset := with(9, Command{Op: OpMSetNX, Args: bytesOf("{x}a", "1", "{x}b", "2")})
	want("one slot", tm.write(mset), "1")
	want("one slot repeated", tm.write(mset), "1")
	spread := with(9, Command{Op: OpDel, Args: bytesOf("{x}a", "{x}b", "other")})
	want("spread", tm.write(spread), "2")
	want("spread repeated", tm.write(spread), "0")

	// Records are kept by slot, survive FLUSHALL, and expire by the age clock.
	tm.do("FLUSHALL")
	want("after FLUSHALL", tm.write(with(4, incr("n"))), "-"+TextReplyDropped)
	tm.age(store.TokenLife)
	want("expired", tm.write(with(4, incr("n"))), "1")
}

// TestForgottenToken: a slot remembers so many clients. A repeated try of one that may have been
// forgotten is not executed a second time; a first try always is.
func TestForgottenToken(t *testing.T) {
	tm := newOwner(t)
	with := func(client uint16, seq uint64) Command {
		c := incr("n")
		c.Token = Token{Client: [16]byte{byte(client), byte(client >> 8), 1}, Seq: seq}
		return c
	}
	want := func(name string, res Result, text string) {
		t.Helper()
		if got := show(res); got != text {
			t.Errorf("%s: %s, want %s", name, got, text)
		}
	}
	want("first", tm.write(with(9999, 1)), "1")
	want("again, nobody was forgotten", tm.write(with(9998, 1|TokenAgain)), "2")
	want("again, known", tm.write(with(9999, 1|TokenAgain)), "1")
	for i := range uint16(store.MaxTokens) {
		tm.clock++
		tm.write(with(i, 1))
	}
	want("again, forgotten", tm.write(with(9999, 1|TokenAgain)), "-"+TextTokenForgotten)
	want("nothing changed", tm.write(with(0, 1|TokenAgain)), "3")
	want("first try of a new client", tm.write(with(9997, 1)), "1027")
	want("repeated", tm.write(with(9997, 1|TokenAgain)), "1027")
	want("next of that client, first try", tm.write(with(9997, 2)), "1028")
	// A record of a lower number may be of a request that was held up: number 3 may have been forgotten.
	want("next of that client, again", tm.write(with(9997, 3|TokenAgain)), "-"+TextTokenForgotten)
	tm.clock += store.TokenLife + 1
	want("again, behind a leap of the clock", tm.write(with(9999, 1|TokenAgain)), "-"+TextTokenForgotten)
	tm = restored(tm)
	tm.age(store.TokenLife - 10_000)
	want("again, late", tm.write(with(9999, 1|TokenAgain)), "-"+TextTokenForgotten)
	tm = restored(tm)
	tm.age(10_000)
	want("again, when all that was forgotten would have expired", tm.write(with(1, 1|TokenAgain)), "1029")
}

// TestTokensAndLeaps: a leader whose clock is ahead of the last one's makes no record expire that a client may
// still ask for.
func TestTokensAndLeaps(t *testing.T) {
	tm := newOwner(t)
	c := incr("n")
	c.Token = Token{Client: [16]byte{9}, Seq: 1}
	tm.write(c)
	c.Token.Seq |= TokenAgain
	for range 20 {
		tm.clock += 2 * store.TokenLife
		if res := tm.write(c); res.Int != 1 {
			t.Fatalf("applied twice: %s", show(res))
		}
		tm = restored(tm)
	}
}

// TestTokensAndImports: an import loses what tokens there were, and brings some of other groups, whose age clocks are
// not this one's: for as long as records live a repeated try without one is not executed.
func TestTokensAndImports(t *testing.T) {
	again := func(tm *testMachine, client byte) Result {
		c := incr("n")
		c.Token = Token{Client: [16]byte{client}, Seq: 1 | TokenAgain}
		return tm.write(c)
	}
	from, to := newOwner(t), newOwner(t)
	from.age(3 * store.TokenLife)
	again(from, 9)
	again(to, 8)
	to.do("FLUSHALL")
	to.must(ImportBegin(1))
	importAll(from, to, 1)
	to.must(ImportEnd(1, true))
	to = restored(to)
	to.clock = from.clock
	if res := again(to, 9); res.Int != 1 {
		t.Errorf("of an imported record: %s", show(res))
	}
	if res := again(to, 8); res.Code != CodeTokenExpired {
		t.Errorf("of a record that the import lost: %s", show(res))
	}
	to.age(store.TokenLife)
	if res := again(to, 7); res.Int != 2 {
		t.Errorf("long after the import: %s", show(res))
	}
}

// TestTokenOfRefusedCommand: what was refused before it ran leaves no record, so that the same request
// may run when it comes again.
func TestTokenOfRefusedCommand(t *testing.T) {
	tm := newTestMachine(t)
	cmd := incr("n")
	cmd.Token = Token{Client: [16]byte{9}, Seq: 1}
	if res := tm.write(cmd); res.Code != CodeSlotMoved {
		t.Fatal(show(res))
	}
	tm.must(Own(1, allSlots()))
	tm.do("SET", "fill", strings.Repeat("v", 1000))
	policy, _ := ParsePolicy("noeviction")
	tm.must(Limit(500, policy, 0))
	if res := tm.write(cmd); res.Code != CodeOOM {
		t.Fatal(show(res))
	}
	tm.must(Limit(0, policy, 0))
	if res := tm.write(cmd); res.Int != 1 {
		t.Error(show(res))
	}
}

// TestTokensAreSwept checks that records vanish from slots that nobody writes to.
func TestTokensAreSwept(t *testing.T) {
	tm := newOwner(t)
	cmd := incr("n")
	cmd.Token = Token{Client: [16]byte{9}, Seq: 1}
	tm.write(cmd)
	slot := SlotOf([]byte("n"))
	count := func() int {
		tm.k.st.RLock(slot)
		defer tm.k.st.RUnlock(slot)
		return tm.k.st.Tokens(slot)
	}
	if count() != 1 {
		t.Fatal("no record")
	}
	tm.clock += 11 * 60 * 1000
	for range Slots {
		tm.entry(Header{})
	}
	if count() != 1 {
		t.Error("a leap of the clock took the record")
	}
	tm.age(store.TokenLife)
	for range Slots {
		tm.entry(Header{})
	}
	if count() != 0 {
		t.Error("the record is still there")
	}
}

// TestHeavyTokensAndMemory: a client that comes with ever new ids, and commands that add nothing, takes no memory from
// the keys. What is forgotten for it is not executed twice.
func TestHeavyTokensAndMemory(t *testing.T) {
	racing.Heavy(t)
	const limit = 1 << 20
	for _, name := range []string{"allkeys-lru", "noeviction"} {
		tm := newOwner(t)
		policy, _ := ParsePolicy(name)
		tm.must(Limit(limit, policy, 0))
		tm.do("SET", "kept", "value")
		for i := range 20_000 {
			c := Command{Op: OpDel, Args: bytesOf(fmt.Sprint("absent", i))}
			c.Token = Token{Client: [16]byte{1, byte(i), byte(i >> 8)}, Seq: 1}
			s := packSub(c)
			tm.clock++
			tm.entry(Header{Evict: tm.m.PlanEvictions(tm.m.GrowthBound([]*Sub{s}))}, s)
			if i%1000 == 0 {
				tm = restored(tm)
			}
			if n := tm.k.Stats().TokenBytes; n > limit/tokenShare {
				t.Fatalf("%s: %d bytes of tokens behind %d commands", name, n, i+1)
			}
		}
		if n := tm.k.Stats().TokenBytes; n < limit/tokenShare*9/10 {
			t.Errorf("%s: only %d bytes of tokens are kept", name, n)
		}
		tm.script(`GET kept => "value"`)
		c := incr("n")
		c.Token = Token{Client: [16]byte{2}, Seq: 1}
		if res := tm.write(c); res.Int != 1 {
			t.Errorf("%s: %s", name, show(res))
		}
		c.Token.Seq |= TokenAgain
		if res := tm.write(c); res.Code != CodeTokenExpired && res.Int != 1 {
			t.Errorf("%s: executed twice: %s", name, show(res))
		}
		tm.must(Limit(limit/4, policy, 0)) // the slots come back to it in turn
		for range Slots {
			tm.entry(Header{})
		}
		if n := tm.k.Stats().TokenBytes; n > limit/4/tokenShare {
			t.Errorf("%s: %d bytes of tokens under a lower limit", name, n)
		}
	}
}
