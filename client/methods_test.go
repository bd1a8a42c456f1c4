// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/client/wire"
)

// Goal: every method sends what it says and understands the answer, over shared and exclusive
// connections.
func TestMethods(t *testing.T) {
	for _, opts := range [][]client.Option{nil, {client.WithExclusiveConns(2)}, {client.WithoutTokens()}} {
		cl := newCluster(t, 1)
		c := cl.dial(opts...)
		testStrings(t, c)
		testCollections(t, c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		cl.close()
	}
}

type check struct {
	name      string
	got, want any
	err       error
}

func report(t *testing.T, checks []check) {
	t.Helper()
	for _, c := range checks {
		if c.err != nil || fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v, err %v", c.name, c.got, c.want, c.err)
		}
	}
}

func testStrings(t *testing.T, c *client.Client) {
	ctx := context.Background()
	var list []check
	add := func(name string, got, want any, err error) { list = append(list, check{name, got, want, err}) }
	_, ok, err := c.Get(ctx, "k")
	add("get of nothing", ok, false, err)
	add("set", nil, nil, c.Set(ctx, "k", []byte("value")))
	v, ok, err := c.Get(ctx, "k")
	add("get", string(v)+fmt.Sprint(ok), "valuetrue", err)
	n, err := c.Append(ctx, "k", []byte("+"))
	add("append", n, 6, err)
	n, err = c.Exists(ctx, "k", "none", "k")
	add("exists", n, 2, err)
	_, ok, err = c.TTL(ctx, "none")
	add("ttl of nothing", ok, false, err)
	ttl, ok, err := c.TTL(ctx, "k")
	add("ttl for ever", fmt.Sprint(ttl < 0, ok), "true true", err)
	ok, err = c.Expire(ctx, "k", time.Minute)
	add("expire", ok, true, err)
	ttl, _, err = c.TTL(ctx, "k")
	add("ttl", ttl, time.Minute, err)
	add("set for", nil, nil, c.SetFor(ctx, "s", []byte("x"), 1500*time.Millisecond))
	ttl, _, err = c.TTL(ctx, "s")
	add("ttl of it", ttl, 1500*time.Millisecond, err)
	n, err = c.Incr(ctx, "n")
	add("incr", n, 1, err)
	n, err = c.IncrBy(ctx, "n", -5)
	add("incrby", n, -4, err)
	vals, err := c.MGet(ctx, "n", "none", "s")
	add("mget", fmt.Sprintf("%s %v %s", vals[0], vals[1] == nil, vals[2]), "-4 true x", err)
	ver, err := c.SetIf(ctx, "v", []byte("1"), 0)
	add("set if absent", ver > 0, true, err)
	e, ok, err := c.GetEntry(ctx, "v")
	add("entry", fmt.Sprintf("%s %v %v %v %v", e.Value, e.Version == ver, e.Flags, e.TTL < 0, e.Type), "1 true 0 true string", err)
	add("entry found", ok, true, nil)
	_, err = c.SetIf(ctx, "v", []byte("2"), ver+1)
	add("set if another version", errors.Is(err, client.ErrVersion), true, nil)
	next, err := c.SetIf(ctx, "v", []byte("2"), ver)
	add("set if the version", next > ver, true, err)
	add("delete if another version", errors.Is(c.DelIf(ctx, "v", ver), client.ErrVersion), true, nil)
	add("delete if the version", nil, nil, c.DelIf(ctx, "v", next))
	_, ok, err = c.GetEntry(ctx, "v")
	add("entry of nothing", ok, false, err)
	n, err = c.Del(ctx, "k", "none")
	add("del", n, 1, err)
	n, err = c.DBSize(ctx)
	add("dbsize", n, 2, err)
	_, err = c.Incr(ctx, "s")
	add("not an integer", errors.Is(err, client.ErrNotInteger) && err.Error() == "client: ERR value is not an integer or out of range", true, nil)
	report(t, list)
}

func testCollections(t *testing.T, c *client.Client) {
	ctx := context.Background()
	var list []check
	add := func(name string, got, want any, err error) { list = append(list, check{name, got, want, err}) }
	b := func(s string) []byte { return []byte(s) }
	n, err := c.RPush(ctx, "l", b("b"), b("c"))
	add("rpush", n, 2, err)
	n, err = c.LPush(ctx, "l", b("a"))
	add("lpush", n, 3, err)
	add("lset", nil, nil, c.LSet(ctx, "l", -1, b("C")))
	all, err := c.LRange(ctx, "l", 0, -1)
	add("lrange", string(bytes.Join(all, nil)), "abC", err)
	v, ok, err := c.LIndex(ctx, "l", 1)
	add("lindex", string(v)+fmt.Sprint(ok), "btrue", err)
	_, ok, err = c.LIndex(ctx, "l", 9)
	add("lindex of nothing", ok, false, err)
	v, _, err = c.LPop(ctx, "l")
	add("lpop", string(v), "a", err)
	v, _, err = c.RPop(ctx, "l")
	add("rpop", string(v), "C", err)
	n, err = c.LLen(ctx, "l")
	add("llen", n, 1, err)
	fresh, err := c.HSet(ctx, "h", "f", b("1"))
	add("hset", fresh, true, err)
	fresh, err = c.HSet(ctx, "h", "f", b("2"))
	add("hset again", fresh, false, err)
	v, ok, err = c.HGet(ctx, "h", "f")
	add("hget", string(v)+fmt.Sprint(ok), "2true", err)
	m, err := c.HGetAll(ctx, "h")
	add("hgetall", fmt.Sprintf("%s", m), "map[f:2]", err)
	n, err = c.HDel(ctx, "h", "f", "none")
	add("hdel", n, 1, err)
	_, err = c.LLen(ctx, "n")
	add("wrong type", errors.Is(err, client.ErrWrongType), true, nil)
	add("flushall", nil, nil, c.FlushAll(ctx))
	n, err = c.DBSize(ctx)
	add("empty", n, 0, err)
	report(t, list)
}

func TestCommandByName(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	c := cl.dial()
	defer c.Close()
	ctx := context.Background()
	v, err := c.Do(ctx, client.Command("set", "k", "v", "GET"))
	if err != nil || !v.IsNull() {
		t.Errorf("%+v, err %v", v, err)
	}
	v, err = c.Do(ctx, client.CommandBytes("sTrLen", []byte("k")).Stale())
	if err != nil || v.Int != 1 || !cl.router.LastCaller().Stale {
		t.Errorf("%+v, err %v, caller %+v", v, err, cl.router.LastCaller())
	}
	_, err = c.Do(ctx, client.Command("nosuch", "k"))
	var out *client.CommandError
	if !errors.As(err, &out) || out.Code != wire.CodeUnknown || !errors.Is(err, client.ErrNoSuchCmd) {
		t.Errorf("err %v", err)
	}
	_, err = c.Do(ctx, client.Command("get"))
	if !errors.Is(err, client.ErrArity) {
		t.Errorf("err %v", err)
	}
}

// Goal: every key comes, once the keyspace is still, over many calls of SCAN.
func TestKeys(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	c := cl.dial()
	defer c.Close()
	ctx := context.Background()
	want := map[string]bool{}
	futures := []*client.Future{}
	for i := range 3000 {
		k := fmt.Sprintf("key-%d", i)
		if i%3 == 0 {
			want[k] = true
			k = "yes-" + k
		}
		futures = append(futures, c.Go(ctx, client.Set(k, []byte("x"))))
	}
	for _, f := range futures {
		if err := f.Err(ctx); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]bool{}
	for k, err := range c.Keys(ctx, "yes-*") {
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimPrefix(k, "yes-")] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	for range c.Keys(ctx, "") {
		break
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if seen := slices.Collect(maps.Keys(maps.Collect(c.Keys(done, "")))); len(seen) != 1 || seen[0] != "" {
		t.Errorf("keys after the end: %q", seen)
	}
}

// Goal: values of any size up to the server's limit pass, one past it is refused without harm.
func TestLargeValues(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	for i, opts := range [][]client.Option{nil, {client.WithExclusiveConns(1)}} {
		c := cl.dial(opts...)
		ctx := context.Background()
		for _, n := range []int{0, 1, 16 << 10, 64<<10 + 1, wire.MaxValue >> (4 * i)} {
			value := bytes.Repeat([]byte{byte(n)}, n)
			if err := c.Set(ctx, "big", value); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if got, _, err := c.Get(ctx, "big"); err != nil || !bytes.Equal(got, value) {
				t.Fatalf("%d bytes back: %d, err %v", n, len(got), err)
			}
		}
		err := c.Set(ctx, "big", make([]byte, wire.MaxValue+1))
		var out *client.CommandError
		if !errors.Is(err, client.ErrTooBig) || !errors.As(err, &out) {
			t.Errorf("over the value limit: %v", err)
		}
		err = c.Set(ctx, "big", make([]byte, wire.MaxFrame))
		if !errors.Is(err, client.ErrTooBig) || !errors.Is(err, client.ErrNotApplied) {
			t.Errorf("over the frame limit: %v", err)
		}
		if _, _, err := c.Get(ctx, "big"); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
}
