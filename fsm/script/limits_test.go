// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestLimits: scripts that would run for ever, or take all memory or all of the stack, are ended or refused, and the next
// script runs.
func TestLimits(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct{ source, want string }{
		"loop":            {`while true do end`, "time limit"},
		"protected loop":  {`while true do pcall(function() while true do end end) end`, "time limit"},
		"loop in thread":  {`coroutine.wrap(function() while true do end end)()`, "time limit"},
		"calls":           {`for i=1,1e9 do redis.call("ping") end`, "time limit"},
		"double":          {`local s="x" while true do s=s..s end`, "string is longer than"},
		"rep":             {`return ("x"):rep(1e9)`, "string is longer than"},
		"join":            {`local t={} for i=1,100 do t[i]=("x"):rep(1e6) end return table.concat(t)`, "string is longer than"},
		"format":          {`local s=("x"):rep(1e7) return string.format("%s%s%s",s,s,s)`, "string is longer than"},
		"gsub":            {`return (("x"):rep(1e6):gsub("x",("y"):rep(1e3)))`, "string is longer than"},
		"width":           {`return string.format("%100d",1)`, "invalid format"},
		"recursion":       {`local function f() return 1+f() end return f()`, "stack overflow"},
		"pcall recursion": {`local function f() return pcall(f) end return tostring(f())`, `"true"`},
		"metamethods":     {`local t={} setmetatable(t,{__index=function(t,k) return t[k..1] end}) return t.x`, "stack overflow"},
		"threads":         {`local function f() coroutine.wrap(function() pcall(f) error("x") end)() end f()`, ""},
		"array":           {`local t={} for i=1,1e9 do t[i]=i end`, "table overflow"},
		"sparse":          {`local t={} t[6e7]=1 return #t`, "0"},
		"insert":          {`local t={} for i=1,1e9 do table.insert(t,i) end`, "table overflow"},
		"hash":            {`local t={} for i=1,1e9 do t["k"..i]=("x"):rep(10000) end`, "memory limit"},
		"tables":          {`local t={} for i=1,1e9 do t["a"..i]={t[i-1],{},{}} end`, "limit"},
		"unpack":          {`return unpack({},1,1e8)`, "too many results to unpack"},
		"pattern":         {`return (("a"):rep(1000)):find(("a*"):rep(30).."b")`, "pattern takes too many steps"},
		"deep pattern":    {`return ("a"):rep(1000):find(("("):rep(20).."a"..(")"):rep(20))`, ""},
		"nesting":         {"return " + strings.Repeat("(", 1e5) + "1" + strings.Repeat(")", 1e5), "1"},
		"functions":       {strings.Repeat("local function f() ", 5000), "Error compiling"},
		"tables in text":  {"return " + strings.Repeat("{", 5000) + strings.Repeat("}", 5000), "too many syntax levels"},
		"operators":       {"return 1" + strings.Repeat("+1", 5000), "too many syntax levels"},
		"cjson":           {`local t={} for i=1,3000 do t={t} end return cjson.encode(t)`, "excessive nesting"},
		"deep reply":      {`local t={} for i=1,3000 do t={t} end return t`, ""},
		"endless reply":   {`local t={} t[1]=t return t`, ""},
		"long source":     {"return 1 --" + strings.Repeat("x", MaxSource), "longer than"},
	} {
		b.limit = time.Minute // of a slow machine under the race detector, where another limit is to be met first
		if c.want == "time limit" {
			b.limit = 2 * time.Second
		}
		start := time.Now()
		out, _ := b.run(c.source, nil, nil)
		if got := show(&out.Reply); !strings.Contains(got, c.want) {
			t.Errorf("%s: %.300s, want %s", name, got, c.want)
		}
		if took := time.Since(start); took > b.limit+20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	if res := b.eval(`return redis.call("incr", KEYS[1])`, []string{"k"}); res.Int != 1 {
		t.Errorf("afterwards: %s", show(&res))
	}
}

// TestTrialLimit: a key that is too large for a copy is refused, and so are too many effects.
func TestTrialLimit(t *testing.T) {
	b := newBench(t)
	b.limit = time.Minute // the race detector is slow
	for i := range 5 {
		b.do("SET", "big"+string(rune('0'+i)), strings.Repeat("x", 15<<20))
	}
	keys := []string{"big0", "big1", "big2", "big3", "big4"}
	res := b.eval(`for i=1,5 do redis.call("append", KEYS[i], "y") end`, keys)
	if got := show(&res); !strings.HasPrefix(got, textTrial) {
		t.Errorf("copies: %s", got)
	}
	b.trial = fsm.NewTrial(b.table, [16]byte{})
	out, _ := b.run(`local n=0 for i=1,70000 do local r=redis.pcall("rpush", KEYS[1], i) if type(r)=="number" then n=n+1 end end return n`, []string{"l"}, nil)
	if out.Reply.Int != fsm.MaxTransaction || len(out.Effects) != fsm.MaxTransaction {
		t.Errorf("%s of %d effects", show(&out.Reply), len(out.Effects))
	}
}

// TestStop: SCRIPT KILL ends a script, and nothing of it is left.
func TestStop(t *testing.T) {
	b := newBench(t)
	stop := new(Stop)
	done := make(chan Outcome)
	go func() {
		out, _ := b.run(`redis.call("set", KEYS[1], 1) while true do end`, []string{"k"}, nil, func(q *Request) { q.Stop = stop })
		done <- out
	}()
	stop.Kill()
	if out := <-done; !errors.Is(out.Ended, ErrKilled) || len(out.Effects) > 0 {
		t.Errorf("%+v", out)
	}
}

// FuzzSource: no text makes the parser, the compiler or the interpreter panic.
func FuzzSource(f *testing.F) {
	for _, s := range []string{"return 1", "x = {", "return cjson.encode({1,2})", "for i=1,10 do redis.call('incr', KEYS[1]) end", "#!lua flags=no-writes\nreturn"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		b := newBench(t)
		b.limit = 50 * time.Millisecond
		b.run(source, []string{"k"}, []string{"1"})
	})
}

// FuzzJSON: no document makes the reader panic, and what it reads it can write again.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":null}]}`, `"\ud83d\ude00"`, `[1e5,-0.5,0x1f]`, `{"a"`, `[[[[`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		b := newBench(t)
		res := b.eval(`local ok, v = pcall(cjson.decode, ARGV[1]) if not ok then return "no" end
			local ok2, w = pcall(cjson.encode, v) if not ok2 then return "odd" end
			return {cjson.encode(cjson.decode(w))}`, nil, doc)
		if res.IsError() {
			t.Errorf("%q: %s", doc, show(&res))
		}
	})
}
