// SPDX-License-Identifier: Apache-2.0

package script

import (
	"strings"
	"testing"

	"github.com/kvorum/kvorum/fsm"
)

// TestReplies: what scripts return and how they fail, worded as redis-server 7.0.15 words it; @ is in the place of
// " script: <sha>, on @user_script:1.".
func TestReplies(t *testing.T) {
	for source, want := range map[string]string{
		`return 1`: "1", `return {1,2,{3,"a",nil,4}}`: `[1 2 [3 "a"]]`, `return {ok="fine"}`: "fine", `return {err="bad"}`: "bad",
		`return redis.error_reply("My Err")`: "My Err", `return redis.error_reply("-My Err")`: "My Err",
		`return redis.error_reply()`:   "ERR wrong number or type of arguments",
		`return redis.status_reply(1)`: "ERR wrong number or type of arguments",
		`return 3.99`:                  "3", `return -3.99`: "-3", `return 1e20`: "-9223372036854775808", `return 0/0`: "-9223372036854775808",
		`return true`: "1", `return false`: "nil", `return nil`: "nil", ``: "nil", `return function() end`: "nil",
		`return {double=3.5}`: ",3.5", `return {map={a=1}}`: `%["a" 1]`, `return {set={a=true}}`: `~["a"]`,
		`redis.setresp(3) return true`: "#1", `return redis.setresp(4)`: "ERR RESP version must be 2 or 3.@",
		`error("boo")`: "ERR user_script:1: boo@", `error("boo",0)`: "ERR boo@", `error({err="boo"})`: "boo@",
		`local ok,x=pcall(function() error("boo") end); return x`:                                `"user_script:1: boo"`,
		`local ok,x=pcall(error,{err="tt"}); return {type(x),tostring(x)}`:                       `["string" "tt"]`,
		`local ok,x=pcall(redis.call,"nosuch"); return {type(x),x}`:                              `["string" "ERR Unknown Redis command called from script"]`,
		`local ok,x=xpcall(function() error("boo") end, function(e) return e.."!" end) return x`: `"user_script:1: boo!"`,
		`return redis.call()`:                                   "ERR Please specify at least one argument for this redis lib call@",
		`return redis.call({})`:                                 "ERR Lua redis lib command arguments must be strings or integers@",
		`return redis.call("nosuch","a")`:                       "ERR Unknown Redis command called from script@",
		`return redis.call("get")`:                              "ERR Wrong number of args calling Redis command from script@",
		`return redis.pcall("get")`:                             "ERR Wrong number of args calling Redis command from script",
		`return redis.call("multi")`:                            "ERR This Redis command is not allowed from script@",
		`return redis.call("eval","return 1",0)`:                "ERR This Redis command is not allowed from script@",
		`return redis.call("blpop","nolist",1)`:                 "ERR This Redis command is not allowed from script@",
		`x=1`:                                                   "ERR user_script:1: Attempt to modify a readonly table@",
		`return x`:                                              "ERR user_script:1: Script attempted to access nonexistent global variable 'x'@",
		`string.foo=1`:                                          "ERR user_script:1: Attempt to modify a readonly table@",
		`rawset(_G,"x",1)`:                                      "ERR Attempt to modify a readonly table@",
		`setmetatable(_G,{})`:                                   "ERR Attempt to modify a readonly table@",
		`getmetatable("").__index={}`:                           "ERR user_script:1: Attempt to modify a readonly table@",
		`function f() return 1 end return f()`:                  "ERR user_script:1: Attempt to modify a readonly table@",
		`KEYS[5]=1 return KEYS[5]`:                              "1",
		`return 1 .. {}`:                                        "ERR user_script:1: attempt to concatenate a table value@",
		`return redis.sha1hex("")`:                              `"da39a3ee5e6b4b0d3255bfef95601890afd80709"`,
		`return redis.sha1hex()`:                                "ERR wrong number of arguments@",
		`return redis.log(9,"hi")`:                              "ERR Invalid debug level.@",
		`return redis.replicate_commands()`:                     "1",
		`return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}`: `["7.0.15" 458767]`,
		`return {math.random(1000),math.random(1000),tostring(math.random()),math.random(5,9)}`: `[397 841 "0.35333609737146" 7]`,
		`math.randomseed(7) return {math.random(1000),math.random(1000),math.random(1000)}`:     "[267 683 266]",
		`return math.random(0)`:                                                                                   "ERR user_script:1: bad argument #1 to random (interval is empty)@",
		`return {string.find("hello world","o w")}`:                                                               "[5 7]",
		`return {string.match("key=value","(%w+)=(%w+)")}`:                                                        `["key" "value"]`,
		`return {string.gsub("abc","%w","%0%0")}`:                                                                 `["aabbcc" 3]`,
		`return {string.gsub("hello world", "o", "0", 1)}`:                                                        `["hell0 world" 1]`,
		`return {string.gsub("abc", "", "-")}`:                                                                    `["-a-b-c-" 4]`,
		`return {string.gsub("hello", "(l)(l)", function(a,b) return a..b.."!" end)}`:                             `["hell!o" 1]`,
		`local s="" for k,v in string.gmatch("a=1, b=2", "(%w+)=(%w+)") do s=s..k..v end return s`:                `"a1b2"`,
		`return ("x"):rep(3)..("AbC"):lower()..("AbC"):upper()..("abc"):reverse():sub(-2,-1)`:                     `"xxxabcABCba"`,
		`return string.format("%5.2f|%d|%s|%q|%x|%c|%-5s|%i|%g|%%",1.5,3,"a","b\"c\n",255,65,"l",7,0.1)`:          `" 1.50|3|a|\"b\\\"c\\\n\"|ff|A|l    |7|0.1|%"`,
		`return tostring(1e15)..","..tostring(3.0)..","..tostring(1/3)..","..2^53`:                                `"1e+15,3,0.33333333333333,9.007199254741e+15"`,
		`return tonumber("0x1F")..","..tostring(tonumber("abc"))..","..tonumber("  12  ")..","..tonumber("z",36)`: `"31,nil,12,35"`,
		`local t=setmetatable({},{__index=function(t,k) return k.."!" end}) return t.foo`:                         `"foo!"`,
		`local t=setmetatable({},{__concat=function(a,b) return "c" end}) return t..1`:                            `"c"`,
		`return loadstring("return 1+1")()`:                                                                       "2",
		`local t={3,1,2} table.sort(t) return table.concat(t,",")`:                                                `"1,2,3"`,
		`local c=coroutine.wrap(function() coroutine.yield(1) coroutine.yield(2) end) return {c(),c()}`:           "[1 2]",
		`return {redis.call("time")[1]}`:                                                                          `["1700000000"]`,
		`return redis.call("ping")`:                                                                               "PONG",
		`local a,b = 1 for i=1,3 do a = a .. i end return a`:                                                      `"1123"`,
	} {
		answers(t, source, want)
	}
}

// answers wants a script's answer, where the end of an error's text is short for the place that it names.
func answers(t *testing.T, source, want string) {
	t.Helper()
	b := newBench(t)
	res := b.eval(source, nil)
	got := show(&res)
	if head, _, ok := strings.Cut(got, " script: "+SHA([]byte(source))+", on @user_script:1."); ok {
		got = head + "@"
	}
	if got != want {
		t.Errorf("%s\n got %s\nwant %s", source, got, want)
	}
}

// TestLibraries: cjson, bit, struct and cmsgpack answer what redis-server 7.0.15 answers.
func TestLibraries(t *testing.T) {
	for source, want := range map[string]string{
		`cjson.encode({1,2,3})`: `"[1,2,3]"`, `cjson.encode({a=1})`: `"{\"a\":1}"`, `cjson.encode({})`: `"{}"`,
		`cjson.encode({1,2,nil,4})`: `"[1,2,null,4]"`, `cjson.encode({[1]=1,[5]=2})`: `"[1,null,null,null,2]"`,
		`cjson.encode({[1]=1,[50]=2})`:     "ERR user_script:1: Cannot serialise table: excessively sparse array@",
		`cjson.encode("x\"\\/\n\t\1\127")`: `"\"x\\\"\\\\\\/\\n\\t\\u0001\\u007f\""`,
		`cjson.encode(1/3)`:                `"0.33333333333333"`, `cjson.encode({[1.5]=1})`: `"{\"1.5\":1}"`, `cjson.encode(1e20)`: `"1e+20"`,
		`cjson.encode(123456789012345)`:                              `"1.2345678901234e+14"`,
		`cjson.encode(1/0)`:                                          "ERR user_script:1: Cannot serialise number: must not be NaN or Inf@",
		`cjson.encode({[true]=1})`:                                   "ERR user_script:1: Cannot serialise boolean: table key must be a number or string@",
		`cjson.encode(function() end)`:                               "ERR user_script:1: Cannot serialise function: type not supported@",
		`cjson.decode("{")`:                                          "ERR user_script:1: Expected object key string but found T_END at character 2@",
		`cjson.decode("[1,]")`:                                       "ERR user_script:1: Expected value but found T_ARR_END at character 4@",
		`cjson.decode("[1 2]")`:                                      "ERR user_script:1: Expected comma or array end but found T_NUMBER at character 4@",
		`cjson.decode("")`:                                           "ERR user_script:1: Expected value but found T_END at character 1@",
		`cjson.decode("nul")`:                                        "ERR user_script:1: Expected value but found invalid token at character 1@",
		`cjson.decode("[1] x")`:                                      "ERR user_script:1: Expected the end but found invalid token at character 5@",
		`cjson.decode("{\"a\" 1}")`:                                  "ERR user_script:1: Expected colon but found T_NUMBER at character 6@",
		`cjson.decode("\"abc")`:                                      "ERR user_script:1: Expected value but found unexpected end of string at character 5@",
		`cjson.decode("\"\\x\"")`:                                    "ERR user_script:1: Expected value but found invalid escape code at character 2@",
		`cjson.decode("\"\\ud83d\"")`:                                "ERR user_script:1: Expected value but found invalid unicode escape code at character 2@",
		`cjson.decode("\"\\u00e9\\ud83d\\ude00\"")`:                  `"é😀"`,
		`cjson.decode("[1,2,{\"a\":[]}]")`:                           "[1 2 []]",
		`tostring(cjson.decode("null")==cjson.null)`:                 `"true"`,
		`cjson.decode("[0x10,1e3,-5,01,nan,inf,-inf]")`:              "[16 1000 -5 1 -9223372036854775808 -9223372036854775808 -9223372036854775808]",
		`cjson.decode("["..string.rep("[",1000))`:                    "ERR user_script:1: Found too many nested data structures (1001) at character 1001@",
		`cjson.decode(cjson.encode({a={b={1,2,{c="x"}}}})).a.b[3].c`: `"x"`,
		`bit.tohex(255)..bit.band(0xff,0x0f)..bit.bor(1,2)..bit.bxor(3,1)..bit.bnot(0)..bit.lshift(1,31)..bit.rshift(-1,1)..bit.arshift(-2,1)..bit.rol(1,33)..bit.ror(1,1)..bit.bswap(0x12345678)..bit.tobit(2^32+5)..bit.tohex(255,-4)..bit.tohex(255,2)`: `"000000ff1532-1-21474836482147483647-12-21474836482018915346500FFff"`,
		`bit.tobit(2^40+1.5)..","..bit.tobit(-1.5)..","..bit.tobit(2.5)..","..bit.tobit(3.5)`: `"2,-2,2,4"`,
		`struct.pack(">I2i4",258,-2)`:                                                           `"\x01\x02\xff\xff\xff\xfe"`,
		`{struct.unpack(">I2i4",struct.pack(">I2i4",258,-2))}`:                                  "[258 -2 7]",
		`struct.pack("<bBhHlLTfdsc3c0",-1,255,-2,65535,-3,4,5,1.5,2.5,"abc","xyzq","dyn")`:      `"\xff\xff\xfe\xff\xff\xff\xfd\xff\xff\xff\xff\xff\xff\xff\x04\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc0?\x00\x00\x00\x00\x00\x00\x04@abc\x00xyzdyn"`,
		`struct.size(">I2i4!8dx")`:                                                              "17",
		`struct.pack("I9",1)`:                                                                   `"\x01\x00\x00\x00\x00\x00\x00\x00\x00"`,
		`{struct.unpack("<Bc0s",  "\3abcxyz\0q")}`:                                              `["abc" "xyz" 9]`,
		`{struct.unpack("<c0",  "abc")}`:                                                        "ERR user_script:1: format 'c0' needs a previous size@",
		`cmsgpack.pack(1,-1,127,255,-33,65536,2^40,-2^40,1.5,"abc",true,false,nil,{1,2},{a=1})`: `"\x01\xff\x7f\xcc\xff\xd0\xdf\xce\x00\x01\x00\x00\xcf\x00\x00\x01\x00\x00\x00\x00\x00\xd3\xff\xff\xff\x00\x00\x00\x00\x00\xca?\xc0\x00\x00\xa3abc\xc3\xc2\xc0\x92\x01\x02\x81\xa1a\x01"`,
		`{cmsgpack.unpack(cmsgpack.pack(1,-1,127,255,-33,65536,"abc",{1,2,{3}}))}`:              `[1 -1 127 255 -33 65536 "abc" [1 2 [3]]]`,
		`cmsgpack.unpack("\217")`:                                                               "ERR user_script:1: Missing bytes in input.@",
		`{cmsgpack.unpack_one(cmsgpack.pack(7,8),0)}`:                                           "[1 7]",
		`{cmsgpack.unpack_limit(cmsgpack.pack(7,8,9),2,0)}`:                                     "[2 7 8]",
	} {
		answers(t, "return "+source, want)
	}
}

// TestKeys: reads see what the script wrote; its effects are what it changed, without chance, and nothing of what had
// no effect; nobody sees them before they are applied.
func TestKeys(t *testing.T) {
	b := newBench(t)
	b.do("SET", "a", "10")
	b.do("SADD", "s", "x", "y", "z")
	out, look := b.run(`
		local n = redis.call("incrby", KEYS[1], 5)
		redis.call("set", KEYS[1], "no", "NX")
		redis.call("del", KEYS[3])
		local m = redis.call("spop", KEYS[2], 2)
		local left = redis.call("smembers", KEYS[2])
		return {n, redis.call("get", KEYS[1]), #m, #left, redis.call("exists", KEYS[3])}`, []string{"a", "s", "none"}, nil)
	if got := show(&out.Reply); got != `[15 "15" 2 1 0]` {
		t.Errorf("reply %s", got)
	}
	if len(out.Effects) != 2 || out.Effects[0].Op != fsm.OpIncrBy || out.Effects[1].Op != fsm.OpSRem || len(out.Effects[1].Args) != 3 {
		t.Errorf("effects %+v", out.Effects)
	}
	if res := b.do("GET", "a"); string(res.Str) != "10" {
		t.Errorf("seen before it was applied: %s", show(&res))
	}
	keys := bytesOf([]string{"a", "s", "none"})
	if res := b.apply(fsm.Effect(&look, keys, out.Effects)); string(res.Str) != "OK" {
		t.Errorf("effects: %s", show(&res))
	}
	if res := b.do("GET", "a"); string(res.Str) != "15" {
		t.Errorf("a is %s", show(&res))
	}
	if res := b.do("SCARD", "s"); res.Int != 1 {
		t.Errorf("s has %s", show(&res))
	}
	if res := b.apply(fsm.Effect(&look, keys, out.Effects)); res.Kind != fsm.KindNull {
		t.Errorf("a guard that does not fit: %s", show(&res))
	}
}

// TestRefusals: undeclared keys, writes of scripts that may not, memory that is full.
func TestRefusals(t *testing.T) {
	b := newBench(t)
	readOnly := func(q *Request) { q.ReadOnly = true }
	full := func(q *Request) { q.Look.Full = true }
	for _, c := range []struct {
		source, want string
		change       func(q *Request)
	}{
		{`return redis.call("get", "other")`, textUndeclared, nil},
		{`return redis.call("sort", KEYS[1], "by", "w_*")`, textUndeclared, nil},
		{`return redis.call("sort", KEYS[1], "get", "#", "get", "v_*")`, textUndeclared, nil},
		{`return redis.call("sort", KEYS[1], "store", "other")`, textUndeclared, nil},
		{`return redis.call("sort", KEYS[1], "by", "nosort", "get", "#", "limit", 0, 5)`, "[]", nil},
		{`return redis.call("set", KEYS[1], 1)`, textReadOnly, readOnly},
		{"#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 1)", textReadOnly, nil},
		{"#!lua\nreturn 1", textWriteFlag, readOnly},
		{"#!lua name=x\nreturn 5", "ERR Unknown lua shebang option: name=x", nil},
		{"#!lua flags=bogus\nreturn 5", "ERR Unexpected flag in script shebang: bogus", nil},
		{"#!perl\nreturn 5", "ERR Unexpected engine in script shebang: #!perl", nil},
		{"#!lua", "ERR Invalid script shebang", nil},
		{`return redis.call("set", KEYS[1], 1)`, fsm.TextOOM, full},
		{"#!lua\nreturn 1", fsm.TextOOM, full},
		{"#!lua flags=allow-oom\nreturn 1", "1", full},
	} {
		out, _ := b.run(c.source, []string{"k"}, nil, func(q *Request) {
			if c.change != nil {
				c.change(q)
			}
		})
		if got := show(&out.Reply); !strings.HasPrefix(got, c.want) || len(out.Effects) > 0 {
			t.Errorf("%s\n got %s\nwant %s", c.source, got, c.want)
		}
	}
}

// TestIsolation: nothing of a script is left for the next one in the same interpreter.
func TestIsolation(t *testing.T) {
	b := newBench(t)
	for _, source := range []string{
		`KEYS.x = 1 ARGV[9] = 1 math.randomseed(99) redis.setresp(3) return math.random()`,
		`local mt = getmetatable(_G) mt.__index = nil`, `getmetatable("").__index.upper = nil`, `rawset(string, "upper", nil)`,
		`table.insert(redis, 1)`, `table.sort(_G)`, `setmetatable(string, nil)`, `table.remove(KEYS)`, `error({err="x"})`,
		`local t = {} for i = 1, 1000 do t[i] = function() return t end end return #t`, `string.gsub("x", "x", error)`,
		`coroutine.wrap(function() error("x") end)()`, `local c = coroutine.create(function() coroutine.yield(1) end) coroutine.resume(c)`,
	} {
		b.run(source, []string{"k"}, nil)
		res := b.eval(`return {#KEYS, tostring(KEYS.x), #ARGV, math.random(1000), true, ("a"):upper(), type(redis.call), select("#")}`, []string{"k"})
		if got, want := show(&res), `[1 "nil" 0 397 1 "A" "function" 0]`; got != want {
			t.Errorf("after %s: %s, want %s", source, got, want)
		}
	}
	if len(b.engine.idle) != 1 {
		t.Errorf("%d interpreters are kept", len(b.engine.idle))
	}
}
