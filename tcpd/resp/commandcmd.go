// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kvorum/kvorum/fsm"
)

func commandCommand() row {
	const f = flagLoading | flagStale
	return container(
		"command", f, func(_ context.Context, s *session, _ [][]byte) fsm.Result { return describe(s.h.list) },
		local("count", 2, f, func(_ context.Context, s *session, _ [][]byte) fsm.Result { return fsm.Int(int64(len(s.h.list))) }),
		local("docs", -2, f, runCommandDocs),
		local("getkeys", -4, f, runCommandGetKeys),
		local("help", 2, f, help("COMMAND", []string{
			"(no subcommand)", "    Return details about all commands.",
			"COUNT", "    Return the total number of commands in this server.",
			"LIST [FILTERBY (MODULE <name> | ACLCAT <category> | PATTERN <pattern>)]", "    Return a list of all commands in this server.",
			"INFO [<command-name> ...]", "    Return details about commands, all if no names are given.",
			"DOCS [<command-name> ...]", "    Return documentation details about commands, all if no names are given.",
			"GETKEYS <full-command>", "    Return the keys from a full command.",
		})),
		local("info", -2, f, runCommandInfo),
		local("list", -2, f, runCommandList),
	)
}

// named finds a command, or a subcommand written as container|name.
func (h *Handler) named(name []byte) *command {
	first, second, sub := strings.Cut(string(name), "|")
	c := h.lookup([]byte(first))
	if c != nil && sub {
		return find(c.subs, []byte(second))
	}
	return c
}

func describe(list []*command) fsm.Result {
	out := make([]fsm.Result, len(list))
	for i, c := range list {
		out[i] = c.describe()
	}
	return fsm.Array(out)
}

func set(words []string) fsm.Result {
	r := fsm.Result{Kind: fsm.KindSet}
	for _, w := range words {
		r.Elems = append(r.Elems, fsm.Status(w))
	}
	return r
}

// describe words a command as COMMAND INFO does.
func (c *command) describe() fsm.Result {
	first, last, step := 0, 0, 0
	var specs []fsm.Result
	if c.spec != nil && c.spec.FirstKey > 0 {
		first, last, step = c.spec.FirstKey, c.spec.LastKey, c.spec.KeyStep
		specs = append(specs, keySpec(c.access(), first, rangeSpec(first, last, step)))
	}
	if c.slots != 0 {
		first, last, step = 1, c.slots, 1
		specs = append(specs, keySpec([]string{"not_key"}, first, rangeSpec(first, last, step)))
	}
	if c.spec != nil && c.spec.KeysFrom > 0 {
		specs = append(specs, keySpec(c.access(), c.spec.KeysFrom, fsm.Map([]fsm.Result{
			bulk("type"), bulk("keynum"),
			bulk("spec"), fsm.Map([]fsm.Result{bulk("keynumidx"), fsm.Int(0), bulk("firstkey"), fsm.Int(1), bulk("keystep"), fsm.Int(1)}),
		})))
	}
	var subs []*command
	for _, name := range sortedNames(c.subs) {
		subs = append(subs, c.subs[name])
	}
	keys := fsm.Result{Kind: fsm.KindSet, Elems: specs}
	children := fsm.Result{Kind: fsm.KindSet, Elems: describe(subs).Elems}
	return fsm.Array([]fsm.Result{
		bulk(c.name), fsm.Int(int64(c.arity)), set(c.flagWords()), fsm.Int(int64(first)), fsm.Int(int64(last)), fsm.Int(int64(step)),
		set(c.categories()), set(nil), keys, children,
	})
}

// access words what is done to keys.
func (c *command) access() []string {
	if c.spec.Write {
		return []string{"RW", "update"}
	}
	return []string{"RO", "access"}
}

// keySpec words where keys begin and how the others are found.
func keySpec(flags []string, index int, find fsm.Result) fsm.Result {
	return fsm.Map([]fsm.Result{
		bulk("flags"), set(flags),
		bulk("begin_search"), fsm.Map([]fsm.Result{bulk("type"), bulk("index"), bulk("spec"), fsm.Map([]fsm.Result{bulk("index"), fsm.Int(int64(index))})}),
		bulk("find_keys"), find,
	})
}

func rangeSpec(first, last, step int) fsm.Result {
	if last >= 0 {
		last -= first
	}
	return fsm.Map([]fsm.Result{
		bulk("type"), bulk("range"),
		bulk("spec"), fsm.Map([]fsm.Result{bulk("lastkey"), fsm.Int(int64(last)), bulk("keystep"), fsm.Int(int64(step)), bulk("limit"), fsm.Int(0)}),
	})
}

func (c *command) flagWords() (words []string) {
	for i, w := range []string{"write", "readonly", "denyoom", "admin", "noscript", "loading", "stale", "fast", "no_auth", "allow_busy", "movablekeys", "pubsub", "blocking"} {
		if c.flags&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return words
}

// categories words a command's ACL categories.
func (c *command) categories() (words []string) {
	if c.spec == nil {
		if c.flags&flagAdmin != 0 {
			words = append(words, "@admin")
		}
		if c.flags&flagPubSub != 0 {
			words = append(words, "@pubsub")
		}
		if c.flags&flagFast != 0 {
			words = append(words, "@fast")
		} else {
			words = append(words, "@slow")
		}
		if c.flags&flagAdmin != 0 {
			words = append(words, "@dangerous")
		}
		if c.group == groupClient {
			words = append(words, "@connection")
		}
		return words
	}
	for _, cat := range []struct {
		bit  uint64
		word string
	}{
		{fsm.CatKeyspace, "keyspace"},
		{fsm.CatRead, "read"},
		{fsm.CatWrite, "write"},
		{fsm.CatSet, "set"},
		{fsm.CatSortedSet, "sortedset"},
		{fsm.CatList, "list"},
		{fsm.CatHash, "hash"},
		{fsm.CatString, "string"},
		{fsm.CatHyperLogLog, "hyperloglog"},
		{fsm.CatBlocking, "blocking"},
		{fsm.CatAdmin, "admin"},
		{fsm.CatFast, "fast"},
		{fsm.CatSlow, "slow"},
		{fsm.CatDangerous, "dangerous"},
	} {
		if c.spec.Categories&cat.bit != 0 {
			words = append(words, "@"+cat.word)
		}
	}
	return words
}

func runCommandInfo(_ context.Context, s *session, args [][]byte) fsm.Result {
	if len(args) == 0 {
		return describe(s.h.list)
	}
	out := make([]fsm.Result, len(args))
	for i, name := range args {
		if c := s.h.named(name); c != nil {
			out[i] = c.describe()
		} else {
			out[i] = fsm.Null()
		}
	}
	return fsm.Array(out)
}

func runCommandDocs(_ context.Context, s *session, args [][]byte) fsm.Result {
	list := s.h.list
	if len(args) > 0 {
		list = nil
		for _, name := range args {
			if c := s.h.named(name); c != nil {
				list = append(list, c)
			}
		}
	}
	var out []fsm.Result
	for _, c := range list {
		out = append(out, bulk(c.name), c.docs())
	}
	return fsm.Map(out)
}

// docs tells a command's family; what it does is told by Redis' documentation.
func (c *command) docs() fsm.Result {
	summary := "As in Redis 7; differences are named in docs/REDIS.md"
	if c.group == "kvorum" {
		summary = "A command of Kvorum's own"
	}
	pairs := []fsm.Result{bulk("summary"), bulk(summary), bulk("since"), bulk("1.0.0"), bulk("group"), bulk(c.group)}
	var subs []fsm.Result
	for _, name := range sortedNames(c.subs) {
		subs = append(subs, bulk(c.subs[name].name), c.subs[name].docs())
	}
	if len(subs) > 0 {
		pairs = append(pairs, bulk("subcommands"), fsm.Map(subs))
	}
	return fsm.Map(pairs)
}

func runCommandGetKeys(_ context.Context, s *session, args [][]byte) fsm.Result {
	c := s.h.lookup(args[0])
	switch {
	case c == nil:
		return fail("ERR Invalid command specified")
	case c.spec == nil:
		return fail("ERR The command has no key arguments")
	case !c.arityFits(len(args)):
		return fail("ERR Invalid number of arguments specified for command")
	}
	var keys []fsm.Result
	for _, key := range c.spec.Keys(args[1:]) {
		keys = append(keys, fsm.Bulk(key))
	}
	if len(keys) == 0 {
		return fail("ERR The command has no key arguments")
	}
	return fsm.Array(keys)
}

func runCommandList(_ context.Context, s *session, args [][]byte) fsm.Result {
	keep := func(*command) bool { return true }
	switch {
	case len(args) == 0:
	case len(args) != 3 || !is(args[0], "FILTERBY"):
		return syntax()
	case is(args[1], "MODULE"):
		keep = func(*command) bool { return false }
	case is(args[1], "ACLCAT"):
		want := "@" + strings.ToLower(string(args[2]))
		keep = func(c *command) bool { return slices.Contains(c.categories(), want) }
	case is(args[1], "PATTERN"):
		pattern := strings.ToLower(string(args[2]))
		keep = func(c *command) bool { return matches(pattern, c.name) }
	default:
		return syntax()
	}
	out := []fsm.Result{}
	for _, c := range s.h.list {
		if keep(c) {
			out = append(out, bulk(c.name))
		}
		for _, name := range sortedNames(c.subs) {
			if keep(c.subs[name]) {
				out = append(out, bulk(c.subs[name].name))
			}
		}
	}
	return fsm.Array(out)
}

// matches tells whether a name fits a pattern of Redis; a name has no slashes.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func sortedNames(m map[string]*command) []string { return slices.Sorted(maps.Keys(m)) }
