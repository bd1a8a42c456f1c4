// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"slices"
	"strconv"
	"strings"
)

func modelLists() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"LPUSH":  {arity: -3, write: write, grows: grows, run: (*model).push},
		"RPUSH":  {arity: -3, write: write, grows: grows, run: (*model).push},
		"LPOP":   {arity: -2, write: write, static: staticPop("lpop"), run: (*model).pop},
		"RPOP":   {arity: -2, write: write, static: staticPop("rpop"), run: (*model).pop},
		"LLEN":   {arity: 2, run: (*model).llen},
		"LRANGE": {arity: 4, static: integers(1, 2), run: (*model).lrange},
		"LINDEX": {arity: 3, run: (*model).lindex},
		"LSET":   {arity: 4, write: write, grows: grows, run: (*model).lset},
		"LREM":   {arity: 4, write: write, static: integers(1), run: (*model).lrem},
		"LTRIM":  {arity: 4, write: write, static: integers(1, 2), run: (*model).ltrim},
	}
}

// changed notes a new collection under a name: empty ones vanish.
func (m *model) changed(name string, k *modelKey) {
	k.version = m.next()
	if len(k.list)+len(k.fields)+len(k.set)+len(k.scores) == 0 {
		delete(m.keys, name)
	}
}

func (m *model) push(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("list"); bad != nil {
		return *bad
	}
	if k == nil {
		k = m.make(words[1], "list")
	}
	for _, w := range words[2:] {
		if strings.EqualFold(words[0], "LPUSH") {
			k.list = slices.Insert(k.list, 0, w)
		} else {
			k.list = append(k.list, w)
		}
	}
	m.changed(words[1], k)
	return Int(int64(len(k.list)))
}

func staticPop(command string) func([]string) *Result {
	return func(args []string) *Result {
		if len(args) > 2 {
			return wrongArity(command)
		}
		if len(args) == 2 {
			if n, ok := integer(args[1]); !ok || n < 0 {
				return oops(CodeNotInteger, "ERR value is out of range, must be positive")
			}
		}
		return nil
	}
}

func (m *model) pop(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("list"); bad != nil {
		return *bad
	}
	if k == nil {
		return Null()
	}
	n := int64(1)
	if len(words) == 3 {
		if n, _ = integer(words[2]); n == 0 {
			return Array(nil)
		}
	}
	var out []string
	for ; n > 0 && len(k.list) > 0; n-- {
		at := 0
		if strings.EqualFold(words[0], "RPOP") {
			at = len(k.list) - 1
		}
		out = append(out, k.list[at])
		k.list = slices.Delete(k.list, at, at+1)
	}
	m.changed(words[1], k)
	if len(words) == 2 {
		return bulk(out[0])
	}
	return bulks(out)
}

// listOf gives the elements under a name.
func (m *model) listOf(name string) ([]string, *Result) {
	k := m.read(name)
	if bad := k.typed("list"); bad != nil || k == nil {
		return nil, bad
	}
	return k.list, nil
}

func (m *model) llen(words []string) Result {
	list, bad := m.listOf(words[1])
	if bad != nil {
		return *bad
	}
	return Int(int64(len(list)))
}

func (m *model) lrange(words []string) Result {
	list, bad := m.listOf(words[1])
	if bad != nil {
		return *bad
	}
	lo, hi := within(words[2], words[3], len(list))
	return bulks(list[lo:hi])
}

// place finds the element that a word names; -1 for none.
func place(word string, n int) (int, *Result) {
	i, ok := integer(word)
	if !ok {
		return 0, notInteger()
	}
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return -1, nil
	}
	return int(i), nil
}

func (m *model) lindex(words []string) Result {
	list, bad := m.listOf(words[1])
	if bad != nil {
		return *bad
	}
	if list == nil {
		return Null()
	}
	i, bad := place(words[2], len(list))
	switch {
	case bad != nil:
		return *bad
	case i < 0:
		return Null()
	}
	return bulk(list[i])
}

func (m *model) lset(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("list"); bad != nil {
		return *bad
	}
	if k == nil {
		return Error(CodeNoSuchKey, "ERR no such key")
	}
	i, bad := place(words[2], len(k.list))
	switch {
	case bad != nil:
		return *bad
	case i < 0:
		return Error(CodeOutOfRange, "ERR index out of range")
	}
	k.list[i] = words[3]
	m.changed(words[1], k)
	return OK()
}

func (m *model) lrem(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("list"); bad != nil {
		return *bad
	}
	if k == nil {
		return Int(0)
	}
	count, _ := integer(words[2])
	var at []int
	for i, e := range k.list {
		if e == words[3] {
			at = append(at, i)
		}
	}
	switch n := int64(len(at)); {
	case count > 0 && count < n:
		at = at[:count]
	case count < 0 && count > -n:
		at = at[n+count:]
	}
	if len(at) == 0 {
		return Int(0)
	}
	for _, i := range slices.Backward(at) {
		k.list = slices.Delete(k.list, i, i+1)
	}
	m.changed(words[1], k)
	return Int(int64(len(at)))
}

func (m *model) ltrim(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("list"); bad != nil {
		return *bad
	}
	if k == nil {
		return OK()
	}
	if lo, hi := within(words[2], words[3], len(k.list)); hi-lo < len(k.list) {
		k.list = slices.Clone(k.list[lo:hi])
		m.changed(words[1], k)
	}
	return OK()
}

func modelHashes() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"HSET":    {arity: -4, write: write, grows: grows, static: staticFields("hset"), run: (*model).hset},
		"HGET":    {arity: 3, run: (*model).hget},
		"HMGET":   {arity: -3, run: (*model).hmget},
		"HGETALL": {arity: 2, run: (*model).hgetall},
		"HKEYS":   {arity: 2, run: (*model).hkeys},
		"HVALS":   {arity: 2, run: (*model).hvals},
		"HLEN":    {arity: 2, run: (*model).hlen},
		"HEXISTS": {arity: 3, run: (*model).hexists},
		"HDEL":    {arity: -3, write: write, run: (*model).hdel},
		"HINCRBY": {arity: 4, write: write, grows: grows, static: integers(2), run: (*model).hincrBy},
	}
}

func staticFields(command string) func(args []string) *Result {
	return func(args []string) *Result {
		if len(args)%2 == 0 {
			return wrongArity(command)
		}
		return nil
	}
}

func (k *modelKey) field(name string) *modelField {
	for i := range k.fields {
		if k.fields[i].name == name {
			return &k.fields[i]
		}
	}
	return nil
}

// setField tells whether the field is new. Past 128 fields or 64 bytes the order is lost for good.
func (k *modelKey) setField(name, value string) bool {
	f := k.field(name)
	created := f == nil
	if created {
		k.fields = append(k.fields, modelField{name: name})
		f = &k.fields[len(k.fields)-1]
	}
	f.value = value
	k.large = k.large || len(k.fields) > 128 || len(name) > 64 || len(value) > 64
	return created
}

func (m *model) hset(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("hash"); bad != nil {
		return *bad
	}
	if k == nil {
		k = m.make(words[1], "hash")
	}
	created := int64(0)
	for i := 2; i < len(words); i += 2 {
		if k.setField(words[i], words[i+1]) {
			created++
		}
	}
	m.changed(words[1], k)
	return Int(created)
}

// hash gives the hash under a name, an empty one when there is none.
func (m *model) hash(name string) (*modelKey, *Result) {
	k := m.read(name)
	if k == nil {
		k = &modelKey{kind: "hash"}
	}
	return k, k.typed("hash")
}

func (m *model) hmget(words []string) Result {
	k, bad := m.hash(words[1])
	if bad != nil {
		return *bad
	}
	var elems []Result
	for _, name := range words[2:] {
		if f := k.field(name); f != nil {
			elems = append(elems, bulk(f.value))
		} else {
			elems = append(elems, Null())
		}
	}
	return Array(elems)
}

func (m *model) hget(words []string) Result {
	res := m.hmget(words)
	if res.IsError() {
		return res
	}
	return res.Elems[0]
}

func (m *model) hexists(words []string) Result {
	switch res := m.hget(words); res.Kind {
	case KindError:
		return res
	case KindNull:
		return Int(0)
	}
	return Int(1)
}

func (m *model) hlen(words []string) Result {
	k, bad := m.hash(words[1])
	if bad != nil {
		return *bad
	}
	return Int(int64(len(k.fields)))
}

func (m *model) hgetall(words []string) Result {
	k, bad := m.hash(words[1])
	if bad != nil {
		return *bad
	}
	var all []string
	for _, f := range k.fields {
		all = append(all, f.name, f.value)
	}
	return Map(bulks(all).Elems)
}

// hkeys and hvals take every second word of HGETALL.
func (m *model) hkeys(words []string) Result { return half(m.hgetall(words), 0) }

func (m *model) hvals(words []string) Result { return half(m.hgetall(words), 1) }

func half(all Result, from int) Result {
	if all.IsError() {
		return all
	}
	var elems []Result
	for i := from; i < len(all.Elems); i += 2 {
		elems = append(elems, all.Elems[i])
	}
	return Array(elems)
}

func (m *model) hdel(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("hash"); bad != nil {
		return *bad
	}
	if k == nil {
		return Int(0)
	}
	before := len(k.fields)
	k.fields = slices.DeleteFunc(k.fields, func(f modelField) bool { return slices.Contains(words[2:], f.name) })
	n := before - len(k.fields)
	if n > 0 {
		m.changed(words[1], k)
	}
	return Int(int64(n))
}

func (m *model) hincrBy(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("hash"); bad != nil {
		return *bad
	}
	n := int64(0)
	if k != nil {
		if f := k.field(words[2]); f != nil {
			var ok bool
			if n, ok = integer(f.value); !ok {
				return Error(CodeNotInteger, "ERR hash value is not an integer")
			}
		}
	}
	by, _ := integer(words[3])
	n, ok := sum(n, by)
	if !ok {
		return Error(CodeOverflow, "ERR increment or decrement would overflow")
	}
	if k == nil {
		k = m.make(words[1], "hash")
	}
	k.setField(words[2], strconv.FormatInt(n, 10))
	m.changed(words[1], k)
	return Int(n)
}
