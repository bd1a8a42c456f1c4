// SPDX-License-Identifier: Apache-2.0

// Package check judges histories. A checker answers with the anomalies it can prove; a checker that
// cannot decide says so, and undecided is never a pass.
//
// All functions are pure and may run concurrently on different histories.
package check

import (
	"fmt"
	"slices"
	"sort"

	"github.com/kvorum/kvorum/integration/history"
)

// Anomaly is one proved violation.
type Anomaly struct {
	// Kind is a short stable name: lost-append, stale-read, fork, duplicate, aborted-read, garbage,
	// order, not-linearizable, undecided.
	Kind string
	Key  string
	Text string
}

func (a Anomaly) String() string { return fmt.Sprintf("%s on %q: %s", a.Kind, a.Key, a.Text) }

// ListAppend checks RPUSH/LRANGE histories in which every appended element is unique. The longest
// successful read of a key gives the order of its elements; every other answer must agree with it
// and with real time. Linear in the history but for sorting (Kingsbury and Alvaro, "Elle", VLDB
// 2020, section 4, restricted to single-key transactions).
func ListAppend(ops []history.Op) []Anomaly {
	var found []Anomaly
	byKey := history.ByKey(ops)
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		c := newListCheck(key, byKey[key])
		c.run()
		found = append(found, c.found...)
	}
	return found
}

type listCheck struct {
	key     string
	appends map[string]history.Op
	adds    []history.Op // successful appends
	reads   []history.Op // successful reads
	order   []string     // the longest read
	pos     map[string]int
	found   []Anomaly
}

func newListCheck(key string, ops []history.Op) *listCheck {
	c := &listCheck{key: key, appends: map[string]history.Op{}, pos: map[string]int{}}
	for _, op := range ops {
		switch op.Func {
		case history.Append:
			c.appends[op.Arg] = op
			if op.Out == history.OK {
				c.adds = append(c.adds, op)
			}
		case history.ReadList:
			if op.Out == history.OK {
				c.reads = append(c.reads, op)
			}
		}
	}
	return c
}

func (c *listCheck) fail(kind, format string, args ...any) {
	c.found = append(c.found, Anomaly{Kind: kind, Key: c.key, Text: fmt.Sprintf(format, args...)})
}

func (c *listCheck) run() {
	for _, r := range c.reads {
		if len(r.List) > len(c.order) {
			c.order = r.List
		}
	}
	for i, e := range c.order {
		if at, twice := c.pos[e]; twice {
			c.fail("duplicate", "element %s stands at %d and at %d", e, at, i)
		}
		c.pos[e] = i
		op, known := c.appends[e]
		switch {
		case !known:
			c.fail("garbage", "element %s was never appended", e)
		case op.Out == history.Fail:
			c.fail("aborted-read", "element %s was reported as never applied (%s) and was read", e, op.Err)
		}
	}
	c.prefixes()
	c.realTime()
	c.lengths()
}

// prefixes: every read is a prefix of the longest one; elements never leave or change place.
func (c *listCheck) prefixes() {
	for _, r := range c.reads {
		if !slices.Equal(r.List, c.order[:len(r.List)]) {
			c.fail("fork", "read of client %d at %d saw %v, which is no prefix of %v", r.Client, r.Call, r.List, c.order)
		}
	}
}

// realTime sweeps the history by time. It keeps, of everything that has ended, the longest list a
// read saw and the furthest acknowledged element; whatever begins later must include both.
func (c *listCheck) realTime() {
	type event struct {
		at    int64
		begin bool
		op    history.Op
	}
	events := make([]event, 0, 2*(len(c.reads)+len(c.appends)))
	for _, op := range c.reads {
		events = append(events, event{op.Call, true, op}, event{op.Return, false, op})
	}
	for _, op := range c.appends {
		events = append(events, event{op.Call, true, op})
		if op.Out == history.OK {
			events = append(events, event{op.Return, false, op})
		}
	}
	// At equal times a beginning comes first: intervals that touch are concurrent.
	sort.SliceStable(events, func(i, j int) bool {
		if events[i].at != events[j].at {
			return events[i].at < events[j].at
		}
		return events[i].begin && !events[j].begin
	})
	// need: the shortest list a read that begins now may return.
	need, why := 0, "nothing"
	for _, ev := range events {
		switch {
		case ev.op.Func == history.ReadList && ev.begin:
			if len(ev.op.List) < need {
				c.fail("stale-read", "read of client %d [%d,%d] saw %d elements, but %s had ended before it began and needs %d",
					ev.op.Client, ev.op.Call, ev.op.Return, len(ev.op.List), why, need)
			}
		case ev.op.Func == history.ReadList:
			if len(ev.op.List) > need {
				need, why = len(ev.op.List), fmt.Sprintf("a read of client %d", ev.op.Client)
			}
		case ev.begin:
			if at, seen := c.pos[ev.op.Arg]; seen && at < need {
				c.fail("order", "element %s at %d was appended after %s (%d elements) had ended", ev.op.Arg, at, why, need)
			}
		default:
			at, seen := c.pos[ev.op.Arg]
			if !seen {
				c.unseen(ev.op)
				continue
			}
			if at+1 > need {
				need, why = at+1, fmt.Sprintf("the append of %s", ev.op.Arg)
			}
		}
	}
}

// unseen: an acknowledged append that no read shows is lost if any read began after it ended.
func (c *listCheck) unseen(op history.Op) {
	for _, r := range c.reads {
		if r.Call > op.Return {
			c.fail("lost-append", "element %s, acknowledged at %d, is missing from the read of client %d that began at %d",
				op.Arg, op.Return, r.Client, r.Call)
			return
		}
	}
}

// lengths: RPUSH answers the length after the push, so the element stands at that length minus one.
func (c *listCheck) lengths() {
	for _, op := range c.adds {
		if at, seen := c.pos[op.Arg]; seen && op.Len != 0 && int64(at+1) != op.Len {
			c.fail("order", "RPUSH of %s answered %d, but the element stands at %d", op.Arg, op.Len, at)
		}
	}
}
