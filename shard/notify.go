// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/fsm"
)

// Limits of the events that wait to be published.
const (
	// maxNotices and maxNoticeBytes bound them, the latter with noticeOverhead for each.
	maxNotices     = 1 << 16
	maxNoticeBytes = 16 << 20
	noticeOverhead = 64
)

// Channels of events, as Redis names them; the rest of a name is the key or the event.
const (
	keyChannel   = "__keyspace@0__:"
	eventChannel = "__keyevent@0__:"
)

// notices publishes the events of the groups that this node leads: nobody waits for them, those of a group go out in
// the order in which they happened, and what finds no room is dropped and counted.
type notices struct {
	r *Router
	// wanted has fsm.Classes, 0 while nothing is to be published.
	wanted  atomic.Uint32
	dropped atomic.Uint64

	mu struct {
		sync.Mutex
		queue []notice
		bytes int
		// sending: a goroutine empties the queue.
		sending, closed bool
	}
}

// notice is one event.
type notice struct {
	event string
	key   []byte
}

func (it *notice) size() int { return noticeOverhead + len(it.event) + len(it.key) }

var _ fsm.Listener = (*notices)(nil)

// want sets the classes of events that are published from now on, as notify-keyspace-events names them.
func (n *notices) want(setting string) {
	c, ok := fsm.ParseClasses(setting)
	if !ok || c&(fsm.ClassByKey|fsm.ClassByEvent) == 0 {
		c = 0
	}
	n.wanted.Store(uint32(c))
}

// Wanted implements fsm.Listener.
func (n *notices) Wanted() fsm.Classes { return fsm.Classes(n.wanted.Load()) }

// Happened implements fsm.Listener.
func (n *notices) Happened(_ fsm.Classes, event string, key []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	it := notice{event: event, key: append([]byte(nil), key...)}
	if n.mu.closed || len(n.mu.queue) >= maxNotices || len(n.mu.queue) > 0 && n.mu.bytes+it.size() > maxNoticeBytes {
		n.dropped.Add(1)
		return
	}
	n.mu.queue = append(n.mu.queue, it)
	n.mu.bytes += it.size()
	if !n.mu.sending {
		n.mu.sending = true
		n.r.work.Go(n.send)
	}
}

// send publishes until there is nothing left.
func (n *notices) send() {
	for {
		batch, more := n.take()
		if !more {
			return
		}
		n.r.bus.announce(batch)
	}
}

// take takes what is published at once off the queue; false when the sender is to end.
func (n *notices) take() (batch []Message, more bool) {
	classes := n.Wanted()
	n.mu.Lock()
	defer n.mu.Unlock()
	q, size, taken := n.mu.queue, 0, 0
	for ; taken < len(q) && len(batch)+2 <= maxBusFrameMessages && size < maxBusFrame && !n.mu.closed; taken++ {
		it := &q[taken]
		size += it.size()
		if classes&fsm.ClassByKey != 0 {
			batch = append(batch, Message{Channel: append([]byte(keyChannel), it.key...), Data: []byte(it.event)})
		}
		if classes&fsm.ClassByEvent != 0 {
			batch = append(batch, Message{Channel: []byte(eventChannel + it.event), Data: it.key})
		}
	}
	clear(q[:taken])
	if n.mu.queue = q[taken:]; taken == len(q) {
		n.mu.queue = nil
	}
	n.mu.bytes -= size
	n.mu.sending = taken > 0
	return batch, n.mu.sending
}

// close drops what waits; the sender ends with the Router's context.
func (n *notices) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.closed = true
}
