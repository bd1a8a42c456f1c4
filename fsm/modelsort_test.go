// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
)

func modelSorts() map[string]modelCommand {
	return map[string]modelCommand{
		"SORT":    {arity: -2, write: true, grows: true, static: staticSort("STORE"), run: (*model).sortKey},
		"SORT_RO": {arity: -2, static: staticSort(""), run: (*model).sortKey},
	}
}

func staticSort(also string) func([]string) *Result {
	follow := map[string]int{"ASC": 0, "DESC": 0, "ALPHA": 0, "LIMIT": 2, "BY": 1, "GET": 1}
	if also != "" {
		follow[also] = 1
	}
	return func(args []string) *Result {
		for i := 1; i < len(args); i++ {
			word := strings.ToUpper(args[i])
			n, known := follow[word]
			if !known || i+n >= len(args) {
				return syntaxError()
			}
			if word == "LIMIT" {
				if bad := integers(i+1, i+2)(args); bad != nil {
					return bad
				}
			}
			i += n
		}
		return nil
	}
}

// modelSort is what the words of SORT ask for.
type modelSort struct {
	has          map[string]bool // ALPHA, DESC, STORE, BY
	from, count  int64
	by, to       string
	gets         []string
	keepsItsOwns bool
}

func readSort(words []string) modelSort {
	o := modelSort{has: map[string]bool{}, count: -1}
	for i := 2; i < len(words); i++ {
		switch word := strings.ToUpper(words[i]); word {
		case "ASC":
			o.has["DESC"] = false
		case "LIMIT":
			o.from, _ = integer(words[i+1])
			o.count, _ = integer(words[i+2])
			i += 2
		case "BY":
			i++
			o.by, o.has[word] = words[i], true
			o.keepsItsOwns = o.keepsItsOwns || !strings.Contains(o.by, "*")
		case "GET":
			i++
			o.gets = append(o.gets, words[i])
		case "STORE":
			i++
			o.to, o.has[word] = words[i], true
		default:
			o.has[word] = true
		}
	}
	return o
}

// elements are a collection's, in the order in which it has them.
func (k *modelKey) elements() []string {
	out := slices.Clone(k.list)
	for member := range k.set {
		out = append(out, member)
	}
	for _, p := range k.ranked() {
		out = append(out, p.name)
	}
	return out
}

// pointed is what a pattern leads to for an element.
func (m *model) pointed(pattern, elem string) (string, bool) {
	if pattern == "#" {
		return elem, true
	}
	head, tail, ok := strings.Cut(pattern, "*")
	if !ok {
		return "", false
	}
	name, field, deep := strings.Cut(tail, "->")
	if !deep || field == "" {
		name, deep = tail, false
	}
	k := m.read(head + elem + name)
	switch {
	case k == nil || !deep && k.kind != "string":
		return "", false
	case !deep:
		return k.str, true
	}
	for _, f := range k.fields {
		if f.name == field {
			return f.value, true
		}
	}
	return "", false
}

// weighed is an element with what it is sorted by.
type weighed struct {
	elem, text string
	there      bool
	score      float64
}

// sorted gives the elements in the order that is asked for; false when one has no number.
func (m *model) sorted(o *modelSort, elems []string) (all []weighed, ok bool) {
	ok = true
	for _, e := range elems {
		w := weighed{elem: e, text: e, there: true}
		if o.has["BY"] {
			w.text, w.there = m.pointed(o.by, e)
		}
		if !o.has["ALPHA"] && w.there {
			text := strings.TrimLeft(w.text, " \t\n\v\f\r")
			text, _, _ = strings.Cut(text, "\x00")
			v, exact, fine := double(text)
			ok = ok && (fine && exact && !math.IsNaN(v) || w.text == "" || w.text[0] == 0)
			w.score = v
		}
		all = append(all, w)
	}
	if o.keepsItsOwns {
		return all, true
	}
	slices.SortFunc(all, func(a, b weighed) int {
		c := cmp.Compare(a.score, b.score)
		if o.has["ALPHA"] {
			c = cmp.Or(strings.Compare(a.text, b.text), 0)
			if a.there != b.there {
				c = map[bool]int{true: 1, false: -1}[a.there]
			}
		}
		if c = cmp.Or(c, strings.Compare(a.elem, b.elem)); o.has["DESC"] {
			return -c
		}
		return c
	})
	return all, ok
}

func (m *model) sortKey(words []string) Result {
	o := readSort(words)
	k := m.read(words[1])
	if o.has["STORE"] {
		k = m.take(words[1])
	}
	if k != nil && k.kind != "list" && k.kind != "set" && k.kind != "zset" {
		return *wrongType()
	}
	var elems []string
	if k != nil {
		elems = k.elements()
	}
	if o.keepsItsOwns && o.has["STORE"] && k != nil && k.kind == "set" {
		o.keepsItsOwns, o.has["ALPHA"], o.has["BY"] = false, true, false
	}
	all, ok := m.sorted(&o, elems)
	if !ok {
		return Error(CodeError, "ERR One or more scores can't be converted into double")
	}
	if o.keepsItsOwns && o.has["DESC"] && k != nil && k.kind != "set" {
		slices.Reverse(all)
	}
	n := int64(len(all))
	from := min(max(o.from, 0), n)
	end := n
	if o.count >= 0 {
		end = from + min(o.count, n-from)
	}
	var out []Result
	for _, w := range all[from:end] {
		if len(o.gets) == 0 {
			out = append(out, bulk(w.elem))
		}
		for _, p := range o.gets {
			if v, found := m.pointed(p, w.elem); found {
				out = append(out, bulk(v))
			} else {
				out = append(out, Null())
			}
		}
	}
	if !o.has["STORE"] {
		if o.keepsItsOwns && k != nil && k.kind == "set" && k.inAnyOrder(m.chosen, len(out), len(o.gets)) {
			return m.chosen
		}
		return Array(out)
	}
	m.take(o.to)
	delete(m.keys, o.to)
	if len(out) > 0 {
		to := m.make(o.to, "list")
		for _, e := range out {
			to.list = append(to.list, string(e.Str))
		}
		to.version = m.next()
	}
	return Int(int64(len(out)))
}

// inAnyOrder tells whether a reply has n of a set's members, each once, in the order that the set has them; when others
// are got for them, that it is as long as that.
func (k *modelKey) inAnyOrder(reply Result, n, gets int) bool {
	if len(reply.Elems) != n || gets > 0 {
		return len(reply.Elems) == n
	}
	seen := map[string]bool{}
	for _, e := range reply.Elems {
		_, member := k.set[string(e.Str)]
		if !member || seen[string(e.Str)] {
			return false
		}
		seen[string(e.Str)] = true
	}
	return true
}

// ambiguous tells whether Redis has no certain order for a SORT: a set's own, texts that are equal, or equal up to a
// zero byte.
func (m *model) ambiguous(words []string) bool {
	if len(words) < 2 || !strings.HasPrefix(strings.ToUpper(words[0]), "SORT") || staticSort("STORE")(words[1:]) != nil {
		return false
	}
	o, k := readSort(words), m.read(words[1])
	switch {
	case k == nil:
		return false
	case o.keepsItsOwns:
		return k.kind == "set" && !o.has["STORE"]
	case !o.has["ALPHA"]:
		return false
	}
	all, _ := m.sorted(&o, k.elements())
	seen := map[string]string{}
	for _, w := range all {
		text := w.text
		if !o.has["STORE"] {
			text, _, _ = strings.Cut(text, "\x00")
		}
		text += strconv.FormatBool(w.there)
		if other, again := seen[text]; again && other != w.elem {
			return true
		}
		seen[text] = w.elem
	}
	return false
}

func (g *source) sortCommand() []string {
	words := []string{g.pick("SORT", "SORT", "SORT_RO", "sort"), g.pick(g.keyOf(listKeys), g.keyOf(setKeys), g.keyOf(zsetKeys))}
	pattern := func() string {
		return g.pick("*", "{t}*", "{t}*", "h*->f1", "{t}h*->f0", "*->f0", "nosort", "#", "", "k*", "*->", "h->f0", "s*", "{t}*x", "*{t}", "**")
	}
	for !g.chance(3) {
		switch g.IntN(9) {
		case 0:
			words = append(words, g.pick("ASC", "DESC", "desc"))
		case 1, 2:
			words = append(words, g.pick("ALPHA", "alpha"))
		case 3, 4:
			words = append(words, g.pick("LIMIT", "limit"), g.number(), g.number())
		case 5:
			words = append(words, g.pick("BY", "by"), pattern())
		case 6:
			words = append(words, g.pick("GET", "get"), pattern())
		case 7:
			words = append(words, g.pick("STORE", "store"), g.pick(g.key(), g.keyOf(listKeys)))
		case 8:
			words = append(words, g.pick("GET", "STORE", "BY", "LIMIT", "bogus", "ALPHA"))
		}
	}
	return words
}

// numberCommand makes what is to be sorted, and what it is to be sorted by.
func (g *source) numberCommand() []string {
	number := func() string {
		return g.pick("0", "1", "2", "3", "-1", "1.5", "-0", "10", "1e3", " 7", "0x10", "inf", "-inf", "1", "2", "", "x", "nan", "1\x002", " ", "3 ", "1e", "5.")
	}
	switch g.IntN(5) {
	case 0, 1:
		return g.several([]string{"RPUSH", g.keyOf(listKeys)}, func() []string { return []string{g.pick("0", "1", "2", "3", "20", "-1", number())} })
	case 2:
		return g.several([]string{"SADD", g.keyOf(setKeys)}, func() []string { return []string{g.pick("0", "1", "2", "3", "20", "-1", number())} })
	case 3:
		return g.several([]string{"MSET"}, func() []string { return []string{"{t}" + g.pick("0", "1", "2", "3", "20", "-1"), number()} })
	}
	return []string{"HSET", g.pick("h", "{t}h") + g.pick("0", "1", "2", "3"), g.pick("f0", "f1"), number()}
}

// TestSortElsewhere: patterns that lead out of the key's slot are followed where all slots are, by reads and writes and
// in transactions, and refused elsewhere, but for those whose hash tag shows that they do not.
func TestSortElsewhere(t *testing.T) {
	fill := func(tm *testMachine) {
		tm.script(`
			RPUSH {a}l 3 1 2 => 3
			MSET {a}w1 9 {a}w2 8 {a}w3 7 => +OK
		`)
	}
	all := newOwner(t)
	fill(all)
	all.script(`
		MSET w1 1 w2 0 w3 5 => +OK
		HSET h1 name one => 1
		SORT_RO {a}l BY w* => ["2" "1" "3"]
		SORT {a}l BY w* DESC GET # GET h*->name => ["3" nil "1" "one" "2" nil]
		SORT_RO {a}l BY {a}w* => ["3" "2" "1"]
		SORT {a}l BY w* GET w* STORE other => 3
		LRANGE other 0 -1 => ["0" "1" "5"]
	`)
	cmds := []Command{{Op: OpSortRO, Args: bytesOf("{a}l", "BY", "w*")}, {Op: OpSort, Args: bytesOf("{a}l", "BY", "w*", "STORE", "{a}l")}}
	if res := all.write(Exec(all.table, nil, nil, cmds)); show(res) != `[["2" "1" "3"] 3]` {
		t.Errorf("in a transaction: %s", show(res))
	}
	some := newTestMachine(t)
	some.must(Own(1, allSlots()[:Slots-1]))
	if SlotOf([]byte("{a}")) == Slots-1 {
		t.Fatal("the key has the last slot")
	}
	fill(some)
	some.script(`
		SORT_RO {a}l BY {a}w* GET # GET {a}w* => ["3" "7" "2" "8" "1" "9"]
		SORT {a}l BY {a}w* STORE {a}d => 3
		SORT_RO {a}l BY nosort GET nostar => [nil nil nil]
		SORT_RO {a}l BY w* => -ERR BY option of SORT denied in cluster mode.
		SORT {a}l GET w* => -ERR GET option of SORT denied in cluster mode.
		SORT {a}l BY *{a} => -ERR BY option of SORT denied in cluster mode.
		SORT {a}l BY {}{a}w* => -ERR BY option of SORT denied in cluster mode.
		SORT {a}l GET {b}w* STORE {a}d => -ERR GET option of SORT denied in cluster mode.
		LRANGE {a}d 0 -1 => ["3" "2" "1"]
	`)
}

// TestHeavySortBounds: sorting takes no more elements, bytes and room than the limits say.
func TestHeavySortBounds(t *testing.T) {
	racing.Heavy(t)
	tm := newOwner(t)
	var add [][]byte
	for range 1 << 18 {
		add = append(add, []byte("1"))
	}
	for range maxSorted >> 18 {
		tm.must(Command{Op: OpRPush, Args: append(bytesOf("l"), add...)})
	}
	tm.script(`
		SORT l LIMIT 0 1 => ["1"]
		SORT l LIMIT 0 1 STORE d => 1
		SORT l GET # GET # STORE d => -ERR too many elements to sort
		SORT_RO l GET # GET # => -ERR reply exceeds maximum allowed size
		RPUSH l 1 => 524289
		SORT_RO l LIMIT 0 1 => -ERR too many elements to sort
		SORT_RO l BY nosort LIMIT 524287 5 => ["1" "1"]
	`)
	query := func(room *Room, words ...string) Result {
		var out [1]Result
		cmd, _ := tm.command(words...)
		tm.m.Query([]Command{cmd}, out[:], 0, room)
		return out[0]
	}
	tm.do("RPOP", "l")
	if res := query(&Room{Free: maxSorted * sortScratch / 2}, "SORT_RO", "l", "LIMIT", "0", "1"); res.Kind != KindNone {
		t.Errorf("without room: %s", show(res))
	}
	room := Room{Free: maxSorted * sortScratch}
	if res := query(&room, "SORT_RO", "l", "LIMIT", "0", "1"); show(res) != `["1"]` || room.Used > 1000 {
		t.Errorf("with room: %s, %d bytes are used", show(res), room.Used)
	}
	long := pad("", MaxKeyBytes-10)
	if res := tm.do("SORT_RO", "l", "BY", long+"*"); show(res) != "-ERR too much to sort" {
		t.Errorf("long names: %s", show(res))
	}
}

// TestAnnouncedKey: the key that SORT stores at is one of the command's, wherever its word stands, the last one when
// there are several; its length and its slot count.
func TestAnnouncedKey(t *testing.T) {
	table := Data()
	for text, want := range map[string]string{
		"SORT a": "a", "SORT a STORE b": "a b", "SORT a store b DESC": "a b", "SORT a BY STORE GET STORE LIMIT 0 1 STORE b": "a b", "SORT a STORE b STORE c": "a c",
		"SORT a STORE": "a", "SORT_RO a BY b": "a",
	} {
		words := strings.Fields(text)
		spec, _ := table.Lookup([]byte(words[0]))
		var keys []string
		for _, key := range spec.Keys(bytesOf(words[1:]...)) {
			keys = append(keys, string(key))
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("%s: keys %s, want %s", text, got, want)
		}
	}
	tm := newTestMachine(t)
	tm.must(Own(1, []uint16{SlotOf([]byte("a"))}))
	if res := tm.do("SORT", "a", "STORE", "b"); res.Code != CodeSlotMoved {
		t.Errorf("a slot of another group: %s", show(res))
	}
	if res := tm.do("SORT", "a", "STORE", pad("", MaxKeyBytes+1)); show(res) != "-"+TextKeyTooBig {
		t.Errorf("a long key: %s", show(res))
	}
}
