// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/native"
)

// slackPercent is how far over its configured total a node's resident memory may be.
const slackPercent = 15

// part is one named piece of the memory that a node is configured to use, in bytes.
type part struct {
	name string
	// used is what this load can occupy of it, whole what the node was given: the least of the
	// load's own size and whole.
	used, whole int64
}

// budget is a node's configured total.
type budget []part

// budgetOf lists what a node may hold, from the flags that it is started with and from the constants
// of its layers. A connection has no more under way than a pipeline of commands of the largest size,
// so that bounds the queues and the replies of all of them together.
func budgetOf(s *settings) budget {
	conns := int64(s.conns+nodeCount-1) / nodeCount
	underWay := int64(s.conns) * int64(min(s.pipeline, native.DefaultMaxInFlight)) * (maxValue + keyRoom + fsmRoom)
	return budget{
		{"maxmemory", int64(s.maxMemory), int64(s.maxMemory)},
		{"log tail (--log-tail)", int64(s.logTail), int64(s.logTail)},
		{"connection buffers (tcpd.BaseBuffer in and out, tcpd.DefaultBudget)", conns * 2 * tcpd.BaseBuffer, conns*2*tcpd.BaseBuffer + tcpd.DefaultBudget},
		{"commands accepted (shard.DefaultQueueBytes)", min(underWay, shard.DefaultQueueBytes), shard.DefaultQueueBytes},
		{"proposals (raftnode.DefaultQueueBytes)", min(underWay, raftnode.DefaultQueueBytes), raftnode.DefaultQueueBytes},
		{"replies (shard.DefaultReplyBytes, here and for other nodes)", min(underWay, 2*shard.DefaultReplyBytes), 2 * shard.DefaultReplyBytes},
		{"replies kept of sessions (fsm.MaxSessionBytes a group)", 0, int64(s.groups) * fsm.MaxSessionBytes},
	}
}

// keyRoom and fsmRoom are what a command's key and the rest of it add to its value, rounded up.
const keyRoom, fsmRoom = 32, 64

// total is the sum, of the whole budgets or of what this load can occupy of them.
func (b budget) total(whole bool) int64 {
	sum := int64(0)
	for _, p := range b {
		if whole {
			sum += p.whole
		} else {
			sum += p.used
		}
	}
	return sum
}

// limit is what a node's resident memory must stay under.
func (b budget) limit(whole bool) int64 { return b.total(whole) / 100 * (100 + slackPercent) }

func (b budget) text(whole bool) string {
	var t strings.Builder
	fmt.Fprintf(&t, "configured total of a node:            under this load    of the node\n")
	for _, p := range b {
		fmt.Fprintf(&t, "  %10s %10s  %s\n", mib(p.used), mib(p.whole), p.name)
	}
	fmt.Fprintf(&t, "  %10s %10s  sum\n", mib(b.total(false)), mib(b.total(true)))
	fmt.Fprintf(&t, "limit: %s + %d %% = %s\n", mib(b.total(whole)), slackPercent, mib(b.limit(whole)))
	return t.String()
}

func mib(n int64) string { return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20)) }
