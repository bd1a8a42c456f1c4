// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// traits are properties of a command as COMMAND INFO tells it.
type traits uint16

const (
	flagWrite traits = 1 << iota
	flagReadonly
	flagDenyOOM
	flagAdmin
	flagNoScript
	flagLoading
	flagStale
	flagFast
	flagNoAuth
	flagAllowBusy
	flagMovableKeys
	flagPubSub
	flagBlocking
	// flagMayReplicate: a pause of writes holds it back. It and those behind it are not told.
	flagMayReplicate
	// flagSubscribed: it is allowed to a connection of RESP2 that has subscriptions.
	flagSubscribed
)

// command is one row: either the router's (spec) or answered here (run), or a container of others
// (subs). It is immutable but for stat.
type command struct {
	name  string // lower case; with "container|" in front for a subcommand
	arity int    // as in Redis, the names counted
	flags traits
	group string // as COMMAND DOCS names it
	spec  *fsm.Spec
	run   func(ctx context.Context, s *session, args [][]byte) fsm.Result
	subs  map[string]*command // by upper name
	// tabled: a row of the data table answers it, which has its container's name. In a transaction it is that row's.
	tabled bool
	row    *command
	// slots is the last argument that has a slot without being a key, counted as Redis does; the first is 1.
	// 0: there are none.
	slots int
	stat  stat
	// detail is what COMMAND tells besides.
	detail *detail
	// nullArray: see nullArrays.
	nullArray, nullArrayCounted bool
}

// stat counts what became of a command.
type stat struct {
	calls, micros, rejected, failed atomic.Uint64
	// buckets count calls by the bits of their microseconds.
	buckets [32]atomic.Uint64
}

func (c *stat) ran(d time.Duration, failed bool) {
	c.calls.Add(1)
	c.buckets[min(bits.Len64(uint64(d.Microseconds())), len(c.buckets)-1)].Add(1)
	c.micros.Add(uint64(d.Microseconds()))
	if failed {
		c.failed.Add(1)
	}
}

func (c *command) arityFits(n int) bool {
	if c.arity < 0 {
		return n >= -c.arity
	}
	return n == c.arity
}

func (c *command) wrongArity() fsm.Result {
	return fsm.Errorf(fsm.CodeArity, "ERR wrong number of arguments for '%s' command", c.name)
}

// indexCommands builds the table: the rows of the data table that edges may run, the aliases of some,
// and the connection commands, which win over rows of the same name.
func (h *Handler) indexCommands() {
	h.commands = make(map[string]*command)
	for spec := range h.cfg.Table.All() {
		if spec.Internal {
			continue
		}
		h.commands[spec.Name] = routed(spec.Name, spec)
	}
	if spec, ok := h.cfg.Table.Lookup([]byte("FLUSHALL")); ok {
		h.commands["FLUSHDB"] = routed("FLUSHDB", spec)
	}
	for _, c := range slices.Concat(connectionCommands(), multiCommands(), pubsubCommands(), serverCommands(), clusterCommands(), []row{scriptCommand()}) {
		if c.needs != "" && h.commands[c.needs] == nil {
			continue
		}
		name := strings.ToUpper(c.name)
		for _, sub := range c.subs {
			if sub.tabled {
				sub.row = h.commands[name]
			}
		}
		h.commands[name] = c.command
	}
	known := readDetails(details, readGrammar(grammar))
	for _, name := range slices.Sorted(maps.Keys(h.commands)) {
		c := h.commands[name]
		h.list = append(h.list, c)
		c.learn(known)
		for _, sub := range c.subs {
			sub.learn(known)
		}
	}
}

func routed(name string, spec *fsm.Spec) *command {
	c := &command{name: strings.ToLower(name), arity: spec.Arity, spec: spec, group: groupOf(spec)}
	c.nullArray, c.nullArrayCounted = nullArrays(name)
	if spec.Write {
		c.flags |= flagWrite
	} else {
		c.flags |= flagReadonly
	}
	if spec.DenyOOM {
		c.flags |= flagDenyOOM
	}
	if spec.Categories&fsm.CatFast != 0 {
		c.flags |= flagFast
	}
	if spec.KeysFrom > 0 || spec.Announced != nil {
		c.flags |= flagMovableKeys
	}
	if spec.Script {
		c.flags = c.flags&^flagWrite | flagNoScript | flagStale
	}
	if spec.Pops != fsm.PopsNothing {
		c.flags |= flagBlocking | flagNoScript
	}
	return c
}

// row is a command answered here.
type row struct {
	*command
	// needs names a row without which there is none, empty for none.
	needs string
}

type runFunc = func(ctx context.Context, s *session, args [][]byte) fsm.Result

func local(name string, arity int, flags traits, run runFunc) row {
	return row{command: &command{name: name, arity: arity, flags: flags, group: groupClient, run: run}}
}

// tabled is local for a subcommand that a row of the data table answers.
func tabled(name string, arity int, flags traits, run runFunc) row {
	r := local(name, arity, flags, run)
	r.tabled = true
	return r
}

// container makes a command of subcommands. alone answers the bare name; nil makes that an error.
func container(name string, flags traits, alone runFunc, subs ...row) row {
	c := &command{name: name, arity: -2, flags: flags, group: "server", run: alone, subs: make(map[string]*command)}
	if alone != nil {
		c.arity = -1
	}
	for _, s := range subs {
		c.subs[strings.ToUpper(s.name)] = s.command
		s.name = name + "|" + s.name
		s.group = c.group
	}
	return row{command: c}
}

func (r row) in(group string) row {
	r.group = group
	for _, s := range r.subs {
		s.group = group
	}
	return r
}

// lookup finds a command by name in any case, without allocating.
func (h *Handler) lookup(name []byte) *command { return find(h.commands, name) }

func find(in map[string]*command, name []byte) *command {
	var upper [maxName]byte
	if len(name) > maxName {
		return nil
	}
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	return in[string(upper[:len(name)])]
}

// is tells whether a word of a command is word, which is upper case, in any case.
func is(b []byte, word string) bool { return fsm.EqualFold(b, word) }

// groupOf names a row's family as Redis' documentation does.
func groupOf(spec *fsm.Spec) string {
	switch c := spec.Categories; {
	case strings.HasPrefix(spec.Name, "KV."):
		return "kvorum"
	case spec.Whole && spec.Name != "SCAN":
		return "server"
	case c&fsm.CatScripting != 0:
		return "scripting"
	case c&fsm.CatString != 0:
		return "string"
	case c&fsm.CatList != 0:
		return "list"
	case c&fsm.CatHash != 0:
		return "hash"
	case c&fsm.CatSet != 0:
		return "set"
	case c&fsm.CatSortedSet != 0:
		return "sorted-set"
	case c&fsm.CatHyperLogLog != 0:
		return "hyperloglog"
	}
	return "generic"
}
