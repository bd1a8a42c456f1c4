// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bufio"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const keyspaceChannel = "__keyspace@0__:"

// overheard are rivals that tell of events.
type overheard struct {
	rivals
	d *diary
	// events is a connection that gets those of Redis.
	events *redisServer
}

// listen makes a Redis tell of events, and gives a connection that gets them.
func listen(t *testing.T, redis *redisServer, classes string) *redisServer {
	t.Helper()
	conn, err := net.Dial("unix", redis.c.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	events := &redisServer{c: conn, r: bufio.NewReader(conn)}
	events.do(t, "PSUBSCRIBE", keyspaceChannel+"*")
	redis.do(t, "CONFIG", "SET", "notify-keyspace-events", classes)
	return events
}

// theirs are the events of Redis since it was asked last.
func (o *overheard) theirs(t failer) (list []string) {
	o.redis.do(t, "PUBLISH", keyspaceChannel, "end")
	for {
		m := o.events.reply(t).Elems
		key, event := string(m[2].Str)[len(keyspaceChannel):], string(m[3].Str)
		if key == "" && event == "end" {
			return list
		}
		list = append(list, event+" "+key)
	}
}

func (o *overheard) ours() (list []string) {
	for _, l := range strings.Split(o.d.read(), ", ") {
		if _, what, ok := strings.Cut(l, " "); ok {
			list = append(list, what)
		}
	}
	return list
}

// untimed leaves out what Redis tells of when it comes across a key that is past its deadline.
func untimed(list []string) []string {
	return slices.DeleteFunc(list, func(l string) bool { return strings.HasPrefix(l, eventExpired+" ") })
}

// play runs a command on both and compares the events.
func (o *overheard) play(l line) {
	o.ours()
	o.theirs(o.t)
	o.rivals.play(l)
	ours, theirs := untimed(o.ours()), untimed(o.theirs(o.t))
	switch words := rendered(l, o.n-1, o.base); strings.ToUpper(words[0]) {
	case "PFCOUNT", "DBSIZE": // the rivals write to Redis
		return
	case "SPOP": // Redis is told what to remove
		for i := range theirs {
			theirs[i] = strings.Replace(theirs[i], "srem ", "spop ", 1)
		}
	}
	if !slices.Equal(ours, theirs) {
		o.t.Fatalf("%#v\n ours %q\nredis %q\nbefore:\n%s", l, ours, theirs, strings.Join(o.history[max(0, len(o.history)-20):], "\n"))
	}
}

// TestEventsAgainstRedis runs random commands on a machine and on a real Redis, which both tell of all classes of
// events that writes have, and compares the events of each command, of all its keys in one order. Only those of
// deadlines that pass are left out: Redis tells of them some time later.
func TestEventsAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	events := listen(t, redis, "KAn")
	differences := readDifferences(t)
	check := func(draw func(t *rapid.T) []line) func(t *rapid.T) {
		return func(t *rapid.T) {
			redis.do(t, "FLUSHALL")
			base := time.Now().UnixMilli()
			tm, d := newHeard(t)
			d.wanted &^= ClassMiss
			tm.clock = base
			o := &overheard{rivals: rivals{t: t, redis: redis, tm: tm, m: newModel(base), differences: differences, base: base}, d: d, events: events}
			t.Repeat(map[string]func(*rapid.T){
				"commands": func(t *rapid.T) {
					for _, l := range draw(t) {
						o.play(l)
					}
				},
			})
		}
	}
	t.Run("all", rapid.MakeCheck(check(func(t *rapid.T) []line { return drawLines(t, 0) })))
	names := slices.Sorted(maps.Keys(families))
	t.Run("families", rapid.MakeCheck(func(t *rapid.T) {
		family := families[rapid.SampledFrom(names).Draw(t, "family")]
		check(func(t *rapid.T) []line { return drawFamily(t, family) })(t)
	}))
}
