// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"strconv"
	"strings"
)

func modelStrings() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"GET":      {arity: 2, run: (*model).get},
		"STRLEN":   {arity: 2, run: (*model).strlen},
		"GETRANGE": {arity: 4, static: integers(1, 2), run: (*model).getRange},
		"MGET":     {arity: -2, run: (*model).mget},
		"SET":      {arity: -3, write: write, grows: grows, static: staticSet, run: (*model).set},
		"SETEX":    {arity: 4, write: write, grows: grows, static: staticSetEx("setex", "EX"), run: (*model).setEx},
		"PSETEX":   {arity: 4, write: write, grows: grows, static: staticSetEx("psetex", "PX"), run: (*model).setEx},
		"SETNX":    {arity: 3, write: write, grows: grows, run: (*model).setNX},
		"GETSET":   {arity: 3, write: write, grows: grows, run: (*model).getSet},
		"GETDEL":   {arity: 2, write: write, run: (*model).getDel},
		"GETEX":    {arity: -2, write: write, static: staticGetEx, run: (*model).getEx},
		"MSET":     {arity: -3, write: write, grows: grows, static: pairs("mset"), run: (*model).mset},
		"MSETNX":   {arity: -3, write: write, grows: grows, static: pairs("msetnx"), run: (*model).msetNX},
		"INCR":     {arity: 2, write: write, grows: grows, run: (*model).incr},
		"DECR":     {arity: 2, write: write, grows: grows, run: (*model).incr},
		"INCRBY":   {arity: 3, write: write, grows: grows, static: integers(1), run: (*model).incr},
		"DECRBY":   {arity: 3, write: write, grows: grows, static: staticDecrBy, run: (*model).incr},
		"APPEND":   {arity: 3, write: write, grows: grows, run: (*model).appendTo},
		"SETRANGE": {arity: 4, write: write, grows: grows, static: staticSetRange, run: (*model).setRange},
		"KV.GET":   {arity: 2, run: (*model).kvGet},
		"KV.DEL":   {arity: -2, write: write, static: staticKVDel, run: (*model).kvDel},
	}
}

func (m *model) get(words []string) Result {
	k := m.read(words[1])
	if bad := k.typed("string"); bad != nil {
		return *bad
	}
	if k == nil {
		return Null()
	}
	return bulk(k.str)
}

func (m *model) strlen(words []string) Result {
	res := m.get(words)
	if res.IsError() {
		return res
	}
	return Int(int64(len(res.Str)))
}

func (m *model) getRange(words []string) Result {
	res := m.get(words)
	if res.IsError() {
		return res
	}
	s := string(res.Str)
	a, _ := integer(words[2])
	b, _ := integer(words[3])
	// An end before the first byte means the first byte, unless start and end are negative both, and in
	// the wrong order.
	if b < 0 && (a >= 0 || a <= b) {
		b = max(b+int64(len(s)), 0)
	}
	lo, hi := within(words[2], strconv.FormatInt(b, 10), len(s))
	return bulk(s[lo:hi])
}

func (m *model) mget(words []string) Result {
	var elems []Result
	for _, name := range words[1:] {
		res := m.get([]string{"GET", name})
		if res.IsError() {
			res = Null()
		}
		elems = append(elems, res)
	}
	return Array(elems)
}

// setArgs are the options of SET and GETEX, by their upper-case names, with the word behind those that
// take one.
type setArgs map[string]string

func (o setArgs) has(names ...string) bool {
	for _, name := range names {
		if _, ok := o[name]; ok {
			return true
		}
	}
	return false
}

var deadlineOptions = []string{"EX", "PX", "EXAT", "PXAT"}

func (o setArgs) ttl() string {
	for _, name := range deadlineOptions {
		if o.has(name) {
			return name
		}
	}
	return ""
}

// excludes lists which options of SET and GETEX do not go with which.
var excludes = map[string][]string{
	"NX": {"XX", "IFVERSION"}, "XX": {"NX", "IFVERSION"}, "IFVERSION": {"NX", "XX"},
	"GET": {"WITHVERSION"}, "WITHVERSION": {"GET"}, "FLAGS": nil,
	"KEEPTTL": {"EX", "PX", "EXAT", "PXAT"}, "PERSIST": {"EX", "PX", "EXAT", "PXAT"},
	"EX": {"PX", "EXAT", "PXAT", "KEEPTTL", "PERSIST"}, "PX": {"EX", "EXAT", "PXAT", "KEEPTTL", "PERSIST"},
	"EXAT": {"EX", "PX", "PXAT", "KEEPTTL", "PERSIST"}, "PXAT": {"EX", "PX", "EXAT", "KEEPTTL", "PERSIST"},
}

func options(words []string, known ...string) (setArgs, *Result) {
	o := setArgs{}
	for i := 0; i < len(words); i++ {
		word := strings.ToUpper(words[i])
		ok := false
		for _, k := range known {
			ok = ok || k == word
		}
		if !ok || o.has(excludes[word]...) {
			return o, syntaxError()
		}
		number := ""
		switch word {
		case "EX", "PX", "EXAT", "PXAT", "IFVERSION", "FLAGS":
			if i++; i == len(words) {
				return o, syntaxError()
			}
			number = words[i]
		}
		limit := uint64(math.MaxUint64)
		switch word {
		case "FLAGS":
			limit = math.MaxUint32
			fallthrough
		case "IFVERSION":
			if _, ok := unsigned(number, limit); !ok {
				return o, notInteger()
			}
		}
		o[word] = number
	}
	return o, nil
}

func setWords(words []string) (setArgs, *Result) {
	return options(words, append([]string{"NX", "XX", "GET", "KEEPTTL", "IFVERSION", "WITHVERSION", "FLAGS"}, deadlineOptions...)...)
}

func getExWords(words []string) (setArgs, *Result) {
	return options(words, append([]string{"PERSIST"}, deadlineOptions...)...)
}

func staticSet(args []string) *Result {
	o, bad := setWords(args[2:])
	if bad == nil && o.ttl() != "" {
		_, bad = new(model).deadline("set", o.ttl(), o[o.ttl()])
	}
	return bad
}

func staticGetEx(args []string) *Result {
	_, bad := getExWords(args[1:])
	return bad
}

func staticSetEx(command, option string) func([]string) *Result {
	return func(args []string) *Result {
		_, bad := new(model).deadline(command, option, args[1])
		return bad
	}
}

func pairs(command string) func([]string) *Result {
	return func(args []string) *Result {
		if len(args)%2 == 1 {
			return wrongArity(command)
		}
		return nil
	}
}

func versionError(k *modelKey) Result {
	current := uint64(0)
	if k != nil {
		current = k.version
	}
	return Error(CodeVersion, "VERSION current version is "+strconv.FormatUint(current, 10))
}

func (k *modelKey) hasVersion(number string) bool {
	want, _ := unsigned(number, math.MaxUint64)
	return k == nil && want == 0 || k != nil && k.version == want
}

func (m *model) set(words []string) Result {
	name, value := words[1], words[2]
	o, _ := setWords(words[3:])
	at := m.fresh()
	if opt := o.ttl(); opt != "" {
		var bad *Result
		if at, bad = m.deadline("set", opt, o[opt]); bad != nil {
			return *bad
		}
	}
	old, res := m.take(name), OK()
	if o.has("GET") {
		if res = m.get(words); res.IsError() {
			return res
		}
	}
	if o.has("IFVERSION") && !old.hasVersion(o["IFVERSION"]) {
		return versionError(old)
	}
	if o.has("NX") && old != nil || o.has("XX") && old == nil {
		if !o.has("GET") {
			res = Null()
		}
		return res
	}
	if o.has("KEEPTTL") && old != nil {
		at = old.at
	}
	flags, _ := unsigned(o["FLAGS"], math.MaxUint32)
	m.keys[name] = &modelKey{kind: "string", str: value, flags: uint32(flags), version: m.next()}
	m.expire(name, at)
	if o.has("WITHVERSION") {
		return Int(int64(m.version))
	}
	return res
}

// put is SET without options.
func (m *model) put(name, value string) {
	m.keys[name] = &modelKey{kind: "string", str: value, version: m.next(), at: m.fresh()}
}

func (m *model) setEx(words []string) Result {
	command := strings.ToLower(words[0])
	at, bad := m.deadline(command, map[string]string{"setex": "EX", "psetex": "PX"}[command], words[2])
	if bad != nil {
		return *bad
	}
	m.put(words[1], words[3])
	m.expire(words[1], at)
	return OK()
}

func (m *model) setNX(words []string) Result {
	if m.take(words[1]) != nil {
		return Int(0)
	}
	m.put(words[1], words[2])
	return Int(1)
}

func (m *model) getSet(words []string) Result {
	old := m.get(words)
	if !old.IsError() {
		m.put(words[1], words[2])
	}
	return old
}

func (m *model) getDel(words []string) Result {
	m.take(words[1])
	old := m.get(words)
	if !old.IsError() {
		delete(m.keys, words[1])
	}
	return old
}

func (m *model) getEx(words []string) Result {
	o, _ := getExWords(words[2:])
	m.take(words[1])
	res := m.get(words)
	if res.Kind != KindBulk {
		return res
	}
	switch opt := o.ttl(); {
	case o.has("PERSIST"):
		m.expire(words[1], 0)
	case opt != "":
		at, bad := m.deadline("getex", opt, o[opt])
		if bad != nil {
			return *bad
		}
		m.expire(words[1], at)
	}
	return res
}

func (m *model) mset(words []string) Result {
	for i := 1; i < len(words); i += 2 {
		m.put(words[i], words[i+1])
	}
	return OK()
}

func (m *model) msetNX(words []string) Result {
	for i := 1; i < len(words); i += 2 {
		if m.take(words[i]) != nil {
			return Int(0)
		}
	}
	m.mset(words)
	return Int(1)
}

func staticDecrBy(args []string) *Result {
	if n, ok := integer(args[1]); !ok {
		return notInteger()
	} else if n == math.MinInt64 {
		return oops(CodeOverflow, "ERR decrement would overflow")
	}
	return nil
}

// incr is INCR, DECR, INCRBY and DECRBY.
func (m *model) incr(words []string) Result {
	by := int64(1)
	if len(words) == 3 {
		by, _ = integer(words[2])
	}
	if words[0][0]|0x20 == 'd' {
		by = -by
	}
	k := m.take(words[1])
	if bad := k.typed("string"); bad != nil {
		return *bad
	}
	n := int64(0)
	if k != nil {
		var ok bool
		if n, ok = integer(k.str); !ok {
			return *notInteger()
		}
	}
	n, ok := sum(n, by)
	if !ok {
		return Error(CodeOverflow, "ERR increment or decrement would overflow")
	}
	if k == nil {
		k = m.make(words[1], "string")
	}
	k.str, k.version = strconv.FormatInt(n, 10), m.next()
	return Int(n)
}

func tooLong() Result {
	return Error(CodeTooBig, "ERR string exceeds maximum allowed size (proto-max-bulk-len)")
}

func (m *model) appendTo(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("string"); bad != nil {
		return *bad
	}
	if k != nil && len(k.str)+len(words[2]) > m.maxValue {
		return tooLong()
	}
	if k == nil {
		k = m.make(words[1], "string")
	}
	k.str, k.version = k.str+words[2], m.next()
	return Int(int64(len(k.str)))
}

func staticSetRange(args []string) *Result {
	if n, ok := integer(args[1]); !ok {
		return notInteger()
	} else if n < 0 {
		return oops(CodeOutOfRange, "ERR offset is out of range")
	}
	return nil
}

func (m *model) setRange(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("string"); bad != nil {
		return *bad
	}
	old := ""
	if k != nil {
		old = k.str
	}
	if words[3] == "" {
		return Int(int64(len(old)))
	}
	offset, _ := integer(words[2])
	end, ok := sum(offset, int64(len(words[3])))
	if !ok || end > int64(m.maxValue) {
		return tooLong()
	}
	if k == nil {
		k = m.make(words[1], "string")
	}
	b := []byte(old + strings.Repeat("\x00", max(0, int(end)-len(old))))
	copy(b[offset:], words[3])
	k.str, k.version = string(b), m.next()
	return Int(int64(len(b)))
}

func (m *model) kvGet(words []string) Result {
	k := m.read(words[1])
	if k == nil {
		return Null()
	}
	value, pttl := Null(), int64(-1)
	if k.kind == "string" {
		value = bulk(k.str)
	}
	if k.at != 0 {
		pttl = k.at - m.now
	}
	return Array([]Result{value, Int(int64(k.version)), Int(int64(k.flags)), Int(pttl), Status(k.kind)})
}

func staticKVDel(args []string) *Result {
	if len(args) == 1 {
		return nil
	}
	if len(args) != 3 || !strings.EqualFold(args[1], "IFVERSION") {
		return syntaxError()
	}
	if _, ok := unsigned(args[2], math.MaxUint64); !ok {
		return notInteger()
	}
	return nil
}

func (m *model) kvDel(words []string) Result {
	k := m.take(words[1])
	if len(words) == 4 && !k.hasVersion(words[3]) {
		return versionError(k)
	}
	delete(m.keys, words[1])
	if k == nil {
		return Int(0)
	}
	return Int(1)
}
