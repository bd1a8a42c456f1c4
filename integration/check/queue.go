// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kvorum/kvorum/integration/history"
)

// Queues checks lists that are pushed to at one end and popped from at the other: what was popped was pushed, once and
// before; and what was pushed first comes first. If they were drained, popped empty after all else, what was acknowledged
// was popped, but for one element for each pop whose outcome nobody learnt. Values are unique. tagOf names what an
// operation's key belongs to: a pop waits at all keys of one tag.
func Queues(ops []history.Op, tagOf func(key string) string, drained bool) (found []Anomaly) {
	tags := make(map[string]*queueCheck)
	for i := range ops {
		tag := tagOf(ops[i].Key)
		c := tags[tag]
		if c == nil {
			c = &queueCheck{tag: tag, pushed: make(map[string]*history.Op), popped: make(map[string]*history.Op)}
			tags[tag] = c
		}
		c.add(&ops[i])
	}
	for _, c := range tags {
		c.judge(drained)
		found = append(found, c.found...)
	}
	return found
}

// queueCheck is the history of the keys of one tag.
type queueCheck struct {
	tag            string
	pushed, popped map[string]*history.Op // by value
	twice          []*history.Op
	// unknown counts the pops whose outcome nobody learnt.
	unknown int
	found   []Anomaly
}

func (c *queueCheck) add(op *history.Op) {
	switch {
	case op.Func == history.Append:
		c.pushed[op.Arg] = op
	case op.Func != history.Pop:
	case op.Out == history.Unknown:
		c.unknown++
	case op.Out == history.OK && op.Found:
		if c.popped[op.Value] != nil {
			c.twice = append(c.twice, op)
			return
		}
		c.popped[op.Value] = op
	}
}

func (c *queueCheck) fail(kind, format string, args ...any) {
	c.found = append(c.found, Anomaly{Kind: kind, Key: c.tag, Text: fmt.Sprintf(format, args...)})
}

func (c *queueCheck) judge(drained bool) {
	for _, op := range c.twice {
		c.fail("duplicate", "element %s was popped by client %d and by client %d", op.Value, c.popped[op.Value].Client, op.Client)
	}
	for value, pop := range c.popped {
		switch push := c.pushed[value]; {
		case push == nil || push.Key != pop.Key:
			c.fail("phantom", "element %s was popped from %s, where nobody pushed it", value, pop.Key)
		case push.Out == history.Fail:
			c.fail("aborted-read", "element %s was reported as never pushed, and was popped", value)
		case pop.Return < push.Call:
			c.fail("future", "element %s was popped before it was pushed", value)
		}
	}
	lost := 0
	for value, push := range c.pushed {
		if push.Out == history.OK && c.popped[value] == nil {
			lost++
		}
	}
	if drained && lost > c.unknown {
		c.fail("lost", "%d elements are gone, and only %d pops have an unknown outcome", lost, c.unknown)
	}
	c.order()
}

// order looks for two elements of a key of which the later one was popped first.
func (c *queueCheck) order() {
	byKey := make(map[string][]*history.Op)
	for value := range c.popped {
		if push := c.pushed[value]; push != nil && push.Out == history.OK {
			byKey[push.Key] = append(byKey[push.Key], push)
		}
	}
	for _, pushes := range byKey {
		slices.SortFunc(pushes, func(a, b *history.Op) int { return cmp.Compare(a.Return, b.Return) })
		for i, first := range pushes {
			for _, then := range pushes[i+1:] {
				if a, b := c.popped[first.Arg], c.popped[then.Arg]; first.Return < then.Call && b.Return < a.Call {
					c.fail("order", "element %s was pushed before %s and popped behind it", first.Arg, then.Arg)
				}
			}
		}
	}
}
