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
		local("getkeys", -4, f, runCommandGetKeys(false)),
		local("getkeysandflags", -4, f, runCommandGetKeys(true)),
		local("help", 2, f, help("COMMAND", []string{
			"(no subcommand)", "    Return details about all commands.",
			"COUNT", "    Return the total number of commands in this server.",
			"LIST [FILTERBY (MODULE <name> | ACLCAT <category> | PATTERN <pattern>)]", "    Return a list of all commands in this server.",
			"INFO [<command-name> ...]", "    Return details about commands, all if no names are given.",
			"DOCS [<command-name> ...]", "    Return documentation details about commands, all if no names are given.",
			"GETKEYS <full-command>", "    Return the keys from a full command.",
			"GETKEYSANDFLAGS <full-command>", "    Return the keys from a full command, and what it does to each.",
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

// access words what is done to keys.
func (c *command) access() []string {
	if c.spec.Write {
		return []string{"RW", "update"}
	}
	return []string{"RO", "access"}
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
		{fsm.CatScripting, "scripting"},
	} {
		if c.spec.Categories&cat.bit != 0 {
			words = append(words, "@"+cat.word)
		}
	}
	return words
}

// maxNames bounds the commands, or keys, of one question about commands.
const maxNames = 1 << 12

func tooManyNames() fsm.Result { return fail("ERR too many arguments") }

func runCommandInfo(_ context.Context, s *session, args [][]byte) fsm.Result {
	if len(args) > maxNames {
		return tooManyNames()
	}
	if len(args) == 0 {
		return describe(s.h.list)
	}
	out := make([]fsm.Result, len(args))
	seen := make(map[*command]fsm.Result)
	for i, name := range args {
		c := s.h.named(name)
		if c == nil {
			out[i] = fsm.Null()
			continue
		}
		if _, ok := seen[c]; !ok {
			seen[c] = c.describe()
		}
		out[i] = seen[c]
	}
	return fsm.Array(out)
}

func runCommandDocs(_ context.Context, s *session, args [][]byte) fsm.Result {
	if len(args) > maxNames {
		return tooManyNames()
	}
	list := s.h.list
	if len(args) > 0 {
		list = nil
		seen := make(map[*command]bool)
		for _, name := range args {
			if c := s.h.named(name); c != nil && !seen[c] {
				seen[c] = true
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

// docs tells a command's version and family; what it does is told by Redis' documentation.
func (c *command) docs() fsm.Result {
	summary := "As in Redis 7; differences are named in docs/REDIS.md"
	if c.group == "kvorum" {
		summary = "A command of Kvorum's own"
	}
	pairs := []fsm.Result{bulk("summary"), bulk(summary), bulk("since"), bulk(c.detail.since), bulk("group"), bulk(c.detail.group)}
	if len(c.detail.arguments) > 0 {
		pairs = append(pairs, bulk("arguments"), describeArguments(c.detail.arguments))
	}
	var subs []fsm.Result
	for _, name := range sortedNames(c.subs) {
		subs = append(subs, bulk(c.subs[name].name), c.subs[name].docs())
	}
	if len(subs) > 0 {
		pairs = append(pairs, bulk("subcommands"), fsm.Map(subs))
	}
	return fsm.Map(pairs)
}

// runCommandGetKeys is COMMAND GETKEYS and, with flags, COMMAND GETKEYSANDFLAGS.
func runCommandGetKeys(flags bool) runFunc {
	return func(_ context.Context, s *session, args [][]byte) fsm.Result {
		c := s.h.full(args)
		switch {
		case c == nil:
			return fail("ERR Invalid command specified")
		case len(args) > maxNames:
			return tooManyNames()
		case c.keyed() == nil || c.keyed().Whole || len(c.detail.keys) == 0:
			return fail("ERR The command has no key arguments")
		case !c.arityFits(len(args)):
			return fail("ERR Invalid number of arguments specified for command")
		}
		var keys []fsm.Result
		take := func(at int, key []byte) {
			if flags {
				keys = append(keys, fsm.Array([]fsm.Result{fsm.Bulk(key), set(c.treats(at, args[1:]))}))
			} else {
				keys = append(keys, fsm.Bulk(key))
			}
		}
		spec := c.keyed()
		for i, key := range spec.Keys(args[1:]) {
			take(i, key)
		}
		if first, end := spec.CountedKeys(args[1:]); len(keys) == 0 || spec.KeysFrom > 0 && first == end {
			return fail("ERR Invalid arguments specified for command")
		}
		return fsm.Array(keys)
	}
}

// full finds the command that some words are, or the subcommand.
func (h *Handler) full(words [][]byte) *command {
	c := h.lookup(words[0])
	if c == nil || c.subs == nil || len(words) < 2 {
		return c
	}
	return find(c.subs, words[1])
}

// keyed is the row that knows the places of a command's keys, nil for none.
func (c *command) keyed() *fsm.Spec {
	switch {
	case c.row != nil:
		return c.row.spec
	case c.spec != nil:
		return c.spec
	case len(c.detail.keys) == 0 || slices.Contains(c.detail.keys[0].flags, "not_key"):
		return nil
	case c.detail.keys[0].numbered:
		return &fsm.Spec{KeysFrom: c.detail.keys[0].index}
	}
	s := &fsm.Spec{}
	if s.FirstKey, s.LastKey, s.KeyStep = c.places(); s.FirstKey == 0 {
		return nil
	}
	return s
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
		keep = func(c *command) bool { return slices.Contains(c.detail.categories, want) }
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
