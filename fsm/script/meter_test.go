// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestBounds: what is written in Go is bounded by the meter as instructions are: each of these would run for minutes or
// take gigabytes in a single step.
func TestBounds(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct{ source, want string }{
		"words":             {`local s=("x"):rep(16e6) local t={} for i=1,200 do t[i]=s end return redis.pcall("x",unpack(t))`, fsm.TextCommandTooBig},
		"maps in a reply":   {`local t={map={}} for i=1,22 do t={map={a=t,b=t}} end return t`, fsm.TextReplyTooBig},
		"sets in a reply":   {`local t={set={}} for i=1,22 do t={set={[t]=1,[{set={[t]=1}}]=1}} end return t`, fsm.TextReplyTooBig},
		"arrays in a reply": {`local t={} for i=1,22 do t={t,t} end return t`, fsm.TextReplyTooBig},
		"texts in a reply":  {`local s=("x"):rep(16e6) return {s,s,s,s,s}`, fsm.TextReplyTooBig},
		"decimal":           {`return pcall(cjson.decode,"1"..("a"):rep(3e5))`, ""},
		"hexadecimal":       {`return pcall(cjson.decode,"0x"..("g"):rep(3e5))`, ""},
		"sort":              {`local s=("x"):rep(8e6) local t={} for i=1,1000 do t[i]=s..i end table.sort(t)`, "limit"},
		"sort of many":      {`local s=("x"):rep(16e6) local t={} for i=1,20000 do t[i]=s end table.sort(t)`, ""},
		"order":             {`local s=("x"):rep(8e6) local a,b=s.."a",s.."b" while a<b do end`, "time limit"},
		"set in a pattern":  {`return pcall(string.find,("x"):rep(1e5),"["..("a"):rep(1e5).."]")`, ""},
		"capture again":     {`local s=("x"):rep(4e5) return pcall(string.find,s,"^(x*)%1y")`, ""},
		"frontier":          {`return pcall(string.find,("x"):rep(1e5),"%f["..("a"):rep(1e5).."]")`, ""},
		"values in a table": {`local function f(...) local t={} for i=1,1e9 do t={t,{...}} end end local a={} for i=1,30000 do a[i]=i end f(unpack(a))`, "memory limit"},
		"indexes":           {`local a={} for i=1,1e9 do a[i]={[4000]=1} end`, "memory limit"},
		"captures":          {`local s=("x"):rep(1e6) local t={} for i=1,1e5 do t[i]={(s..i):find("^"..("("):rep(20)..".*"..(")"):rep(20))} end`, "limit"},
		"errors":            {`local s=("x"):rep(1e7) local t={} for i=1,1e5 do t[i]=select(2,pcall(error,s)) end`, "limit"},
		"digests":           {`local s=("x"):rep(16e6) for i=1,1e5 do redis.sha1hex(s) end`, "time limit"},
		"walks":             {`local t={} for i=1,1e5 do t["k"..i]=1 end while true do local k=next(t) if k then t[k]=nil end end`, "time limit"},
		"moves":             {`local t={} for i=1,1e6 do t[i]=i end while true do table.insert(t,1,table.remove(t,1)) end`, "time limit"},
		"precision":         {`return string.format("%1..s","abc")`, "invalid option '%.' to 'format'"},
		"position":          {`return struct.unpack("b","abc",2^63)`, "ERR"},
		"far position":      {`return struct.unpack("b","abc",2^62)`, "data string too short"},
		"size":              {`return struct.unpack("dc0",struct.pack("d",0/0))`, "data string too short"},
	} {
		b.limit = 2 * time.Second
		if c.want != "" && !strings.HasSuffix(c.want, "limit") || c.want == "memory limit" {
			b.limit = time.Minute // which is not what ends it
		}
		start := time.Now()
		out, _ := b.run(c.source, nil, nil)
		if got := show(&out.Reply); !strings.Contains(got, c.want) || errors.Is(out.Ended, ErrDefect) {
			t.Errorf("%s: %.300s, want %s", name, got, c.want)
		}
		if took := time.Since(start); took > b.limit+20*time.Second { // and a slow machine
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// TestConstants: a text whose names and literals the compiler would look for too long is refused before.
func TestConstants(t *testing.T) {
	var many, often strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&many, "a%d()", i)
	}
	for i := range 5000 {
		fmt.Fprintf(&often, "a%d()", i)
	}
	often.WriteString(strings.Repeat("z()", 60000))
	for source, want := range map[string]string{many.String(): "too many constants", often.String(): "too many names"} {
		if _, bad := Compile([]byte(source)); bad == nil || !strings.Contains(string(bad.Str), want) {
			t.Errorf("%.20s: %v, want %s", source, bad, want)
		}
	}
}

// TestAppends: what only grows is not charged for what was there before.
func TestAppends(t *testing.T) {
	b := newBench(t)
	for _, source := range []string{
		`local t={} for i=1,50000 do t[i]=i end return #t`,
		`local t={} for i=1,50000 do t[#t+1]=i end return #t`,
		`local t={a={}} for i=1,50000 do t.a[#t.a+1]=i end return #t.a`,
		`local t={} for i=1,50000 do table.insert(t,i) end return #t`,
	} {
		r := &run{q: &Request{}, meter: newMeter(t.Context(), new(ledger), nil, time.Minute)}
		out, _ := b.run(source, nil, nil)
		if out.Reply.Int != 50000 {
			t.Errorf("%s: %s", source, show(&out.Reply))
		}
		if len(b.engine.idle) > 0 {
			r = b.engine.idle[0]
		}
		if most := int64(1 << 30); r.meter.all > most {
			t.Errorf("%s: %d bytes were charged", source, r.meter.all)
		}
	}
}

// TestOthers: a script is not ended for what others hold, and is for what it holds itself.
func TestOthers(t *testing.T) {
	b := newBench(t)
	b.limit = time.Minute
	other := newMeter(t.Context(), &b.engine.ledger, nil, time.Minute)
	other.charge(2 * maxHeap)
	other.weigh()
	const churn = `local t={} for i=1,400 do t[i%4]=("x"):rep(2^20) if i==200 then redis.call("ping") end end return 1`
	held := make([]byte, maxHeap+maxHeap/4)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	if out, _ := b.run(churn, nil, nil); out.Reply.Int != 1 {
		t.Errorf("one that holds little: %s", show(&out.Reply))
	}
	runtime.KeepAlive(held)
	b.engine.ledger.forget(other)
	if out, _ := b.run(`local t={} for i=1,1000 do t[i]=("x"):rep(2^20) end return 1`, nil, nil); !errors.Is(out.Ended, ErrMemory) {
		t.Errorf("one that holds much: %s", show(&out.Reply))
	}
}

// TestKillShort: a script that was killed has no effects, however short it is.
func TestKillShort(t *testing.T) {
	b := newBench(t)
	stop := new(Stop)
	stop.Kill()
	out, _ := b.run(`return redis.call("set", KEYS[1], 1)`, []string{"k"}, nil, func(q *Request) { q.Stop = stop })
	if !errors.Is(out.Ended, ErrKilled) || len(out.Effects) > 0 {
		t.Errorf("%+v", out)
	}
}

// TestZeroKeys: a key that begins with a zero byte is one like others; in the globals there is none to be seen.
func TestZeroKeys(t *testing.T) {
	b := newBench(t)
	res := b.eval(`local n=0 for k in pairs({["\0a"]=1,["\0"]=2,b=3}) do n=n+1 end
		for k in pairs(_G) do if k:sub(1,1)=="\0" then n=100 end end return n`, nil)
	if res.Int != 3 {
		t.Errorf("%s keys", show(&res))
	}
}

// TestFills: tables are filled as without guards, in the order of the text.
func TestFills(t *testing.T) {
	b := newBench(t)
	for source, want := range map[string]string{
		`local function f(...) return {...} end return f(1,2,3)`:                                "[1 2 3]",
		`local function f(...) return {0,x=9,...} end local t=f(1,2) return {#t,t[1],t[3],t.x}`: "[3 0 2 9]",
		`local function f(...) return {(...)} end return f(1,2)`:                                "[1]",
		`local function f() return 1,2 end return {f(),f()}`:                                    "[1 1 2]",
		`local function f() return 1,2 end return {f(),(f())}`:                                  "[1 1]",
		`local function f() end return {f(),7,f()}`:                                             "[]",
		`return #{unpack({1,2,3},1,3)}`:                                                         "3",
		`local n=0 local function f() n=n+1 return {} end f()[f()]=f() return n`:                "3",
		`local a={b={}} local i=1 i,a.b[i]=i+1,20 return {i,a.b[1]}`:                            "[2 20]",
		`local a={b={}} for i=1,200 do a.b[i]=i end return #a.b`:                                "200",
		`local t={5,3,1} table.sort(t,function(a,b) return a>b end) return t`:                   "[5 3 1]",
		`local t={"b","a","\255"} table.sort(t) return t`:                                       `["a" "b" "\xff"]`,
	} {
		if res := b.eval(source, nil); show(&res) != want {
			t.Errorf("%s: %s, want %s", source, show(&res), want)
		}
	}
}

// TestLogLine: a line is cut before it is made.
func TestLogLine(t *testing.T) {
	b := newBench(t)
	var lines []string
	b.run(`local s=("x"):rep(1e7) local t={} for i=1,1000 do t[i]=s end redis.log(3,unpack(t)) redis.log(2,"a",1)`, nil, nil,
		func(q *Request) { q.Log = func(_ Level, text string) { lines = append(lines, text) } })
	if len(lines) != 2 || len(lines[0]) != maxLog || lines[1] != "a 1" {
		t.Errorf("%d lines: %.40q", len(lines), lines)
	}
}

// TestDefect: a panic in the engine ends the script, also a protected one, and its interpreter is not used again.
func TestDefect(t *testing.T) {
	b := newBench(t)
	broken := func(q *Request) { q.Live = nil }
	out, _ := b.run(`return pcall(redis.call, "get", KEYS[1])`, []string{"k"}, nil, broken)
	if !errors.Is(out.Ended, ErrDefect) || len(b.engine.idle) > 0 {
		t.Errorf("%s, %d interpreters are kept", show(&out.Reply), len(b.engine.idle))
	}
	b.run(`return 1`, []string{"k"}, []string{"v"})
	if r := b.engine.idle[0]; r.globals.RawGetString("KEYS").String() != "nil" {
		t.Error("an idle interpreter holds keys")
	}
}
