// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

func unexpected(v Value) error { return fmt.Errorf("%w: kind %d", ErrUnexpected, v.Kind) }

func asBytes(v Value, err error) ([]byte, bool, error) {
	switch {
	case err != nil:
		return nil, false, err
	case v.IsNull():
		return nil, false, nil
	case v.Kind == wire.KindBulk || v.Kind == wire.KindStatus:
		return v.Str, true, nil
	default:
		return nil, false, unexpected(v)
	}
}

func asInt(v Value, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	if v.Kind != wire.KindInt {
		return 0, unexpected(v)
	}
	return v.Int, nil
}

func asList(v Value, err error) ([][]byte, error) {
	if err != nil {
		return nil, err
	}
	if v.Kind != wire.KindArray && v.Kind != wire.KindMap && v.Kind != wire.KindSet {
		return nil, unexpected(v)
	}
	list := make([][]byte, len(v.Elems))
	for i := range v.Elems {
		if !v.Elems[i].IsNull() {
			list[i] = v.Elems[i].Str
		}
	}
	return list, nil
}

// Get reads a string; ok is false when there is none.
func (c *Client) Get(ctx context.Context, key string) (value []byte, ok bool, err error) {
	return asBytes(c.Do(ctx, Get(key)))
}

// Entry is a value with what belongs to it.
type Entry struct {
	// Value is nil for other types than strings.
	Value   []byte
	Version uint64
	Flags   uint32
	// TTL is negative without a deadline.
	TTL  time.Duration
	Type string
}

// GetEntry reads a value with its version; ok is false when there is none.
func (c *Client) GetEntry(ctx context.Context, key string) (e Entry, ok bool, err error) {
	v, err := c.Do(ctx, GetWithVersion(key))
	if err != nil || v.IsNull() {
		return e, false, err
	}
	if v.Kind != wire.KindArray || len(v.Elems) < 5 {
		return e, false, unexpected(v)
	}
	e.Value, e.Version, e.Flags = v.Elems[0].Str, uint64(v.Elems[1].Int), uint32(v.Elems[2].Int)
	e.TTL, e.Type = time.Duration(v.Elems[3].Int)*time.Millisecond, string(v.Elems[4].Str)
	return e, true, nil
}

// Set stores a string for ever.
func (c *Client) Set(ctx context.Context, key string, value []byte) error {
	_, err := c.Do(ctx, Set(key, value))
	return err
}

// SetFor stores a string for some time, whole milliseconds.
func (c *Client) SetFor(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := c.Do(ctx, SetFor(key, value, ttl))
	return err
}

// SetIf stores a string if the key's version is the given one, 0 for a key that must not exist, and
// returns the new version. Otherwise the error matches ErrVersion.
func (c *Client) SetIf(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	n, err := asInt(c.Do(ctx, SetIf(key, value, version)))
	return uint64(n), err
}

// Del deletes keys and returns how many there were. Keys in several slots are not deleted at once.
func (c *Client) Del(ctx context.Context, keys ...string) (int64, error) {
	return asInt(c.Do(ctx, Del(keys...)))
}

// DelIf deletes a key if its version is the given one; otherwise the error matches ErrVersion.
func (c *Client) DelIf(ctx context.Context, key string, version uint64) error {
	_, err := c.Do(ctx, DelIf(key, version))
	return err
}

// Exists returns how many of the keys there are.
func (c *Client) Exists(ctx context.Context, keys ...string) (int64, error) {
	return asInt(c.Do(ctx, Exists(keys...)))
}

// Incr adds 1 to an integer and returns the sum.
func (c *Client) Incr(ctx context.Context, key string) (int64, error) { return c.IncrBy(ctx, key, 1) }

// IncrBy adds to an integer and returns the sum.
func (c *Client) IncrBy(ctx context.Context, key string, n int64) (int64, error) {
	return asInt(c.Do(ctx, IncrBy(key, n)))
}

// Append appends to a string and returns its length.
func (c *Client) Append(ctx context.Context, key string, value []byte) (int64, error) {
	return asInt(c.Do(ctx, Append(key, value)))
}

// MGet reads several strings, nil for each that there is not. It is no snapshot over several slots.
func (c *Client) MGet(ctx context.Context, keys ...string) ([][]byte, error) {
	return asList(c.Do(ctx, MGet(keys...)))
}

// Expire gives a key a time to live, whole milliseconds; ok is false when there is no such key.
func (c *Client) Expire(ctx context.Context, key string, ttl time.Duration) (ok bool, err error) {
	n, err := asInt(c.Do(ctx, Expire(key, ttl)))
	return n == 1, err
}

// TTL returns a key's time to live, negative when it has none; ok is false when there is no such key.
func (c *Client) TTL(ctx context.Context, key string) (ttl time.Duration, ok bool, err error) {
	n, err := asInt(c.Do(ctx, TTL(key)))
	return time.Duration(n) * time.Millisecond, err == nil && n != -2, err
}

// LPush adds to the front of a list and returns its length.
func (c *Client) LPush(ctx context.Context, key string, values ...[]byte) (int64, error) {
	return asInt(c.Do(ctx, LPush(key, values...)))
}

// RPush adds to the end of a list and returns its length.
func (c *Client) RPush(ctx context.Context, key string, values ...[]byte) (int64, error) {
	return asInt(c.Do(ctx, RPush(key, values...)))
}

// LPop takes the first element of a list; ok is false when there is none.
func (c *Client) LPop(ctx context.Context, key string) (value []byte, ok bool, err error) {
	return asBytes(c.Do(ctx, LPop(key)))
}

// RPop takes the last element of a list; ok is false when there is none.
func (c *Client) RPop(ctx context.Context, key string) (value []byte, ok bool, err error) {
	return asBytes(c.Do(ctx, RPop(key)))
}

// LIndex reads one element of a list; ok is false when there is none.
func (c *Client) LIndex(ctx context.Context, key string, index int64) (value []byte, ok bool, err error) {
	return asBytes(c.Do(ctx, LIndex(key, index)))
}

// LSet replaces one element of a list.
func (c *Client) LSet(ctx context.Context, key string, index int64, value []byte) error {
	_, err := c.Do(ctx, LSet(key, index, value))
	return err
}

// LRange reads the elements of a list from first to last, both included.
func (c *Client) LRange(ctx context.Context, key string, first, last int64) ([][]byte, error) {
	return asList(c.Do(ctx, LRange(key, first, last)))
}

// LLen returns a list's length.
func (c *Client) LLen(ctx context.Context, key string) (int64, error) {
	return asInt(c.Do(ctx, LLen(key)))
}

// HSet sets one field of a hash; fresh tells whether it is new.
func (c *Client) HSet(ctx context.Context, key, field string, value []byte) (fresh bool, err error) {
	n, err := asInt(c.Do(ctx, HSet(key, field, value)))
	return n == 1, err
}

// HGet reads one field of a hash; ok is false when there is none.
func (c *Client) HGet(ctx context.Context, key, field string) (value []byte, ok bool, err error) {
	return asBytes(c.Do(ctx, HGet(key, field)))
}

// HGetAll reads all fields of a hash; the map is empty when there is none.
func (c *Client) HGetAll(ctx context.Context, key string) (map[string][]byte, error) {
	list, err := asList(c.Do(ctx, HGetAll(key)))
	if err != nil {
		return nil, err
	}
	fields := make(map[string][]byte, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		fields[string(list[i])] = list[i+1]
	}
	return fields, nil
}

// HDel deletes fields of a hash and returns how many there were.
func (c *Client) HDel(ctx context.Context, key string, fields ...string) (int64, error) {
	return asInt(c.Do(ctx, HDel(key, fields...)))
}

// DBSize returns the number of keys of the whole cluster.
func (c *Client) DBSize(ctx context.Context) (int64, error) { return asInt(c.Do(ctx, DBSize())) }

// FlushAll deletes every key of the whole cluster.
func (c *Client) FlushAll(ctx context.Context) error {
	_, err := c.Do(ctx, FlushAll())
	return err
}

// Keys iterates over the keys of the whole cluster that match a pattern; empty matches all. Keys that
// are there from beginning to end come at least once. An error ends the iteration.
func (c *Client) Keys(ctx context.Context, pattern string) iter.Seq2[string, error] {
	const count = 500
	return func(yield func(string, error) bool) {
		args := []string{"0", "COUNT", strconv.Itoa(count)}
		if pattern != "" {
			args = append(args, "MATCH", pattern)
		}
		for {
			v, err := c.Do(ctx, made(wire.OpScan, args...))
			if err == nil && (v.Kind != wire.KindArray || len(v.Elems) != 2) {
				err = unexpected(v)
			}
			if err != nil {
				yield("", err)
				return
			}
			for _, k := range v.Elems[1].Elems {
				if !yield(string(k.Str), nil) {
					return
				}
			}
			if args[0] = string(v.Elems[0].Str); args[0] == "0" {
				return
			}
		}
	}
}
