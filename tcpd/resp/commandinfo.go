// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"strconv"
	"strings"

	"github.com/kvorum/kvorum/fsm"
)

// detail is what Redis 7 tells of a command beside its arguments' number and its keys' places.
type detail struct {
	since, group            string
	flags, categories, tips []string
	keys                    []keySpec
	arguments               []argument
}

// keySpec tells where keys begin, how the others are found from there, and what is done to them.
type keySpec struct {
	flags []string
	// index is the first key's place, the name counted as 0. 0: keyword announces it, which is looked for from
	// place from on, backwards when that is negative; without a keyword nothing is known.
	index, from int
	keyword     string
	// numbered: the first key's place has the number of keys. Otherwise they are last further on at most, or
	// end so many before the last argument when last is negative, step apart; limit 2: only the first half.
	numbered          bool
	last, step, limit int
}

// readDetails reads details, a list of Redis' commands. A line has a command's name, the version of Redis that brought
// it, its family, flags, categories, tips, and key specifications; - is an empty list. A specification is its flags,
// where it begins (an index, a keyword and where it is looked for from, or ?) and how it goes on (last/step/limit, # for
// a number of keys, or ?).
func readDetails(text string, arguments map[string][]argument) map[string]*detail {
	all := make(map[string]*detail)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		d := &detail{since: words[1], group: words[2], flags: list(words[3]), categories: list(words[4]), tips: list(words[5]), arguments: arguments[words[0]]}
		for i, category := range d.categories {
			d.categories[i] = "@" + category
		}
		for _, word := range words[6:] {
			parts := strings.Split(word, "@")
			k := keySpec{flags: list(parts[0])}
			if begin, from, ok := strings.Cut(parts[1], ":"); ok {
				k.keyword, k.from = begin, number(from)
			} else if begin != "?" {
				k.index = number(begin)
			}
			if k.numbered = parts[2] == "#"; !k.numbered && parts[2] != "?" {
				find := strings.Split(parts[2], "/")
				k.last, k.step, k.limit = number(find[0]), number(find[1]), number(find[2])
			}
			d.keys = append(d.keys, k)
		}
		all[words[0]] = d
	}
	return all
}

func list(word string) []string {
	if word == "-" {
		return nil
	}
	return strings.Split(word, ",")
}

// number reads a number of details.
func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		panic("resp: details: " + word)
	}
	return n
}

// learn gives the command its detail.
func (c *command) learn(known map[string]*detail) {
	if c.detail = known[c.name]; c.detail == nil {
		c.detail = c.detailOf()
	}
}

// detailOf is what is told of a command that Redis 7.0 does not have, from its row.
func (c *command) detailOf() *detail {
	d := &detail{since: "7.0.0", group: c.group, flags: c.flagWords(), categories: c.categories()}
	if c.spec != nil && c.spec.FirstKey > 0 {
		last := c.spec.LastKey
		if last >= 0 {
			last -= c.spec.FirstKey
		}
		d.keys = append(d.keys, keySpec{flags: c.access(), index: c.spec.FirstKey, last: last, step: c.spec.KeyStep})
	}
	if c.spec != nil && c.spec.KeysFrom > 0 {
		d.keys = append(d.keys, keySpec{flags: c.access(), index: c.spec.KeysFrom, numbered: true})
	}
	return d
}

// places are where keys begin, where they end and how far they are apart, as COMMAND INFO told it before there were
// specifications; 0 for none.
func (c *command) places() (first, last, step int) {
	if c.spec != nil {
		return c.spec.FirstKey, c.spec.LastKey, c.spec.KeyStep
	}
	if len(c.detail.keys) == 0 || c.detail.keys[0].index == 0 || c.detail.keys[0].step == 0 {
		return 0, 0, 0
	}
	k := &c.detail.keys[0]
	if last = k.last; last >= 0 {
		last += k.index
	}
	return k.index, last, k.step
}

// describe words a command as COMMAND INFO does.
func (c *command) describe() fsm.Result {
	var subs []*command
	for _, name := range sortedNames(c.subs) {
		subs = append(subs, c.subs[name])
	}
	tips := fsm.Result{Kind: fsm.KindSet}
	for _, tip := range c.detail.tips {
		tips.Elems = append(tips.Elems, bulk(tip))
	}
	keys := fsm.Result{Kind: fsm.KindSet}
	for i := range c.detail.keys {
		keys.Elems = append(keys.Elems, c.detail.keys[i].describe())
	}
	first, last, step := c.places()
	children := fsm.Result{Kind: fsm.KindSet, Elems: describe(subs).Elems}
	return fsm.Array([]fsm.Result{
		bulk(c.name), fsm.Int(int64(c.arity)), set(c.detail.flags), fsm.Int(int64(first)), fsm.Int(int64(last)), fsm.Int(int64(step)),
		set(c.detail.categories), tips, keys, children,
	})
}

func (k *keySpec) describe() fsm.Result {
	search, found := "unknown", []fsm.Result{}
	switch {
	case k.keyword != "":
		search, found = "keyword", []fsm.Result{bulk("keyword"), bulk(k.keyword), bulk("startfrom"), fsm.Int(int64(k.from))}
	case k.index > 0:
		search, found = "index", []fsm.Result{bulk("index"), fsm.Int(int64(k.index))}
	}
	way, more := "unknown", []fsm.Result{}
	switch {
	case k.numbered:
		way, more = "keynum", []fsm.Result{bulk("keynumidx"), fsm.Int(0), bulk("firstkey"), fsm.Int(1), bulk("keystep"), fsm.Int(1)}
	case k.step > 0:
		way, more = "range", []fsm.Result{bulk("lastkey"), fsm.Int(int64(k.last)), bulk("keystep"), fsm.Int(int64(k.step)), bulk("limit"), fsm.Int(int64(k.limit))}
	}
	return fsm.Map([]fsm.Result{
		bulk("flags"), set(k.flags),
		bulk("begin_search"), fsm.Map([]fsm.Result{bulk("type"), bulk(search), bulk("spec"), fsm.Map(found)}),
		bulk("find_keys"), fsm.Map([]fsm.Result{bulk("type"), bulk(way), bulk("spec"), fsm.Map(more)}),
	})
}

// treats tells what is done to the key at this place of the arguments, the name not counted.
func (c *command) treats(at int, args [][]byte) []string {
	name := strings.ToUpper(c.name)
	switch {
	case name == "SET" && !c.spec.Answers(args):
		return []string{"OW", "update"}
	case name == "SET":
		return []string{"RW", "access", "update"}
	case name == "BITFIELD" && readsBits(args):
		return []string{"RO", "access"}
	}
	var flags []string
	for i := range c.detail.keys {
		k := &c.detail.keys[i]
		if k.index > 0 && at >= k.index-1 || k.index == 0 && (flags == nil || at > 0) {
			flags = k.flags
		}
	}
	out := make([]string, 0, len(flags))
	for _, f := range flags {
		if f != "variable_flags" {
			out = append(out, f)
		}
	}
	return out
}

// readsBits tells whether a BITFIELD only reads.
func readsBits(args [][]byte) bool {
	for i := 1; i < len(args); i++ {
		switch {
		case is(args[i], "GET") && i+2 < len(args):
			i += 2
		case is(args[i], "OVERFLOW") && i+1 < len(args):
			i++
		default:
			return false
		}
	}
	return true
}
