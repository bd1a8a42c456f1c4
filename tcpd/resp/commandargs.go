// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"strconv"
	"strings"

	"github.com/kvorum/kvorum/fsm"
)

// argument is an argument of a command as COMMAND DOCS tells it.
type argument struct {
	name, kind, token, since string
	flags                    []string
	keySpec                  string // of a key
	parts                    []argument
}

// readGrammar reads grammar, which has a command's name on each line, and its arguments. An argument is its name, its
// type's letter, its token, the version of Redis that brought it, its flags (? optional, * multiple, + with the token
// each time) and for a key the number of its specification, with slashes between; and in parentheses its parts.
func readGrammar(text string) map[string][]argument {
	all := make(map[string][]argument)
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		all[name], _ = readArguments(rest)
	}
	return all
}

// readArguments reads arguments up to a closing parenthesis or the end, and gives what is behind.
func readArguments(text string) (all []argument, rest string) {
	for {
		end := strings.IndexAny(text, " ()")
		if end < 0 {
			end = len(text)
		}
		a := readArgument(text[:end])
		if text = text[end:]; strings.HasPrefix(text, "(") {
			a.parts, text = readArguments(text[1:])
		}
		all = append(all, a)
		if text == "" || text[0] == ')' {
			return all, strings.TrimPrefix(text, ")")
		}
		text = text[1:]
	}
}

func readArgument(word string) argument {
	const fields = 6
	f := make([]string, fields)
	copy(f, strings.Split(word, "/"))
	a := argument{name: f[0], token: f[2], since: f[3], keySpec: f[5]}
	a.kind = map[string]string{
		"t": "pure-token", "k": "key", "s": "string", "i": "integer", "o": "oneof", "b": "block", "d": "double", "p": "pattern", "u": "unix-time",
	}[f[1]]
	for _, flag := range f[4] {
		a.flags = append(a.flags, map[rune]string{'?': "optional", '*': "multiple", '+': "multiple_token"}[flag])
	}
	return a
}

func describeArguments(all []argument) fsm.Result {
	out := make([]fsm.Result, len(all))
	for i := range all {
		out[i] = all[i].describe()
	}
	return fsm.Array(out)
}

func (a *argument) describe() fsm.Result {
	pairs := []fsm.Result{bulk("name"), bulk(a.name), bulk("type"), bulk(a.kind)}
	if n, err := strconv.Atoi(a.keySpec); err == nil {
		pairs = append(pairs, bulk("key_spec_index"), fsm.Int(int64(n)))
	}
	if a.token != "" {
		pairs = append(pairs, bulk("token"), bulk(a.token))
	}
	if a.since != "" {
		pairs = append(pairs, bulk("since"), bulk(a.since))
	}
	if len(a.flags) > 0 {
		pairs = append(pairs, bulk("flags"), set(a.flags))
	}
	if len(a.parts) > 0 {
		pairs = append(pairs, bulk("arguments"), describeArguments(a.parts))
	}
	return fsm.Map(pairs)
}
