// SPDX-License-Identifier: Apache-2.0

package client

import (
	"strconv"
	"strings"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

// Value is a command's answer.
type Value = wire.Value

// Cmd is a command before it is sent. The constructors below make the common ones, Command makes any.
// A Cmd may be used any number of times; what it was made of must not change while a call uses it.
type Cmd struct {
	op    wire.Op
	args  [][]byte
	stale bool
}

// Stale returns the command as a read that may be answered by any replica, as far as it got.
func (c Cmd) Stale() Cmd {
	c.stale = true
	return c
}

// Command makes a command by its name, in any case. A command that this package does not know is
// sent by name; it is taken for a write that must not be sent twice.
func Command(name string, args ...string) Cmd {
	c := Cmd{args: byteArgs(args)}
	return c.named(name)
}

// CommandBytes is Command for arguments that are bytes; they are not copied.
func CommandBytes(name string, args ...[]byte) Cmd {
	c := Cmd{args: args}
	return c.named(name)
}

func (c Cmd) named(name string) Cmd {
	if row := wire.LookupName(strings.ToUpper(name)); row != nil {
		c.op = row.Op
		return c
	}
	c.op = wire.OpNamed
	c.args = append([][]byte{[]byte(name)}, c.args...)
	return c
}

// byteArgs copies all arguments into one piece of memory.
func byteArgs(args []string) [][]byte {
	n := 0
	for _, a := range args {
		n += len(a)
	}
	room := make([]byte, 0, n)
	out := make([][]byte, len(args))
	for i, a := range args {
		at := len(room)
		room = append(room, a...)
		out[i] = room[at:len(room):len(room)]
	}
	return out
}

// made makes a command of keys and words, which are copied.
func made(op wire.Op, args ...string) Cmd { return Cmd{op: op, args: byteArgs(args)} }

// with adds arguments that are not copied.
func (c Cmd) with(args ...[]byte) Cmd {
	c.args = append(c.args, args...)
	return c
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// Get reads a string.
func Get(key string) Cmd { return made(wire.OpGet, key) }

// GetWithVersion reads a value with what belongs to it; see Client.GetEntry.
func GetWithVersion(key string) Cmd { return made(wire.OpKVGet, key) }

// Set stores a string for ever. value is not copied.
func Set(key string, value []byte) Cmd { return made(wire.OpSet, key).with(value) }

// SetFor stores a string for some time, whole milliseconds. value is not copied.
func SetFor(key string, value []byte, ttl time.Duration) Cmd {
	return Set(key, value).with([]byte("PX"), []byte(number(ttl.Milliseconds())))
}

// SetIf stores a string if the key's version is the given one; 0 means that the key must not exist.
// The answer is the new version. value is not copied.
func SetIf(key string, value []byte, version uint64) Cmd {
	return Set(key, value).with([]byte("IFVERSION"), strconv.AppendUint(nil, version, 10), []byte("WITHVERSION"))
}

// Del deletes keys and answers how many there were.
func Del(keys ...string) Cmd { return made(wire.OpDel, keys...) }

// DelIf deletes a key if its version is the given one.
func DelIf(key string, version uint64) Cmd {
	return made(wire.OpKVDel, key, "IFVERSION", strconv.FormatUint(version, 10))
}

// Exists answers how many of the keys there are.
func Exists(keys ...string) Cmd { return made(wire.OpExists, keys...) }

// IncrBy adds to an integer and answers the sum.
func IncrBy(key string, n int64) Cmd { return made(wire.OpIncrBy, key, number(n)) }

// Append appends to a string and answers its length. value is not copied.
func Append(key string, value []byte) Cmd { return made(wire.OpAppend, key).with(value) }

// MGet reads several strings.
func MGet(keys ...string) Cmd { return made(wire.OpMGet, keys...) }

// Expire gives a key a time to live, whole milliseconds.
func Expire(key string, ttl time.Duration) Cmd {
	return made(wire.OpPExpire, key, number(ttl.Milliseconds()))
}

// TTL answers a key's time to live in milliseconds: -1 for ever, -2 no key.
func TTL(key string) Cmd { return made(wire.OpPTTL, key) }

// LPush adds to the front of a list and answers its length. Values are not copied.
func LPush(key string, values ...[]byte) Cmd { return made(wire.OpLPush, key).with(values...) }

// RPush adds to the end of a list and answers its length. Values are not copied.
func RPush(key string, values ...[]byte) Cmd { return made(wire.OpRPush, key).with(values...) }

// LPop takes the first element of a list.
func LPop(key string) Cmd { return made(wire.OpLPop, key) }

// RPop takes the last element of a list.
func RPop(key string) Cmd { return made(wire.OpRPop, key) }

// LIndex reads one element of a list; negative indexes count from the end.
func LIndex(key string, index int64) Cmd { return made(wire.OpLIndex, key, number(index)) }

// LSet replaces one element of a list. value is not copied.
func LSet(key string, index int64, value []byte) Cmd {
	return made(wire.OpLSet, key, number(index)).with(value)
}

// LRange reads the elements from first to last, both included; negative indexes count from the end.
func LRange(key string, first, last int64) Cmd {
	return made(wire.OpLRange, key, number(first), number(last))
}

// LLen answers a list's length.
func LLen(key string) Cmd { return made(wire.OpLLen, key) }

// HSet sets one field of a hash and answers 1 when it is new. value is not copied.
func HSet(key, field string, value []byte) Cmd { return made(wire.OpHSet, key, field).with(value) }

// HGet reads one field of a hash.
func HGet(key, field string) Cmd { return made(wire.OpHGet, key, field) }

// HGetAll reads all fields of a hash.
func HGetAll(key string) Cmd { return made(wire.OpHGetAll, key) }

// HDel deletes fields of a hash and answers how many there were.
func HDel(key string, fields ...string) Cmd {
	return made(wire.OpHDel, append([]string{key}, fields...)...)
}

// DBSize answers the number of keys of the whole cluster.
func DBSize() Cmd { return made(wire.OpDBSize) }

// FlushAll deletes every key of the whole cluster.
func FlushAll() Cmd { return made(wire.OpFlushAll) }
