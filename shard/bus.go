// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the bus. BUS.md has the protocol.
const (
	// publishWait is how long a publisher waits for the other nodes, and how long a message waits for
	// its turn to be sent; busTime adds the time for its bytes.
	publishWait = time.Second
	// busRate is how many bytes a second a link must carry.
	busRate = 16 << 20
	// maxBusBytes and maxBusMessages bound what waits for one peer; one message of any size may wait alone.
	maxBusBytes    = 16 << 20
	maxBusMessages = 8192
	// maxBusFrame and maxBusFrameMessages bound one frame; one message of any size is a frame by itself.
	maxBusFrame         = 1 << 20
	maxBusFrameMessages = 1024
)

// busTime is how long a frame, or the publisher of a message, of size bytes may wait.
func busTime(size int) time.Duration {
	return publishWait + time.Duration(float64(size)/busRate*float64(time.Second))
}

// Message is what a publisher sends to a channel.
type Message struct {
	// Sharded: a channel of SPUBLISH, which is another than the one of PUBLISH with the same name.
	Sharded bool
	// Script: it is about scripts, and for the other nodes alone. SCRIPTS.md.
	Script        bool
	Channel, Data []byte
}

// Bus carries messages to the other members of the cluster, at most once each, in the order of each
// publisher. Every method may be called from any goroutine.
type Bus struct {
	r       *Router
	receive atomic.Pointer[func(m *Message) int]
	counts  struct{ published, frames, dropped, late atomic.Uint64 }

	mu struct {
		sync.Mutex
		closed bool
		// sequence is that of the newest frame to any peer.
		sequence uint64
		peers    map[string]*busPeer
		sources  map[string]*busSource
	}
}

func (b *Bus) init(r *Router) {
	b.r = r
	b.mu.peers = make(map[string]*busPeer)
	b.mu.sources = make(map[string]*busSource)
}

// BusStats counts what a Bus did since it was made.
type BusStats struct {
	// Published messages went to other nodes in Frames; Dropped counts the messages, for each peer, that
	// found its queue full or waited in it too long.
	Published, Frames, Dropped uint64
	// Late frames of other nodes came behind a later one, or twice, and were not delivered.
	Late uint64
}

// Stats returns the counters.
func (b *Bus) Stats() BusStats {
	return BusStats{
		Published: b.counts.published.Load(), Frames: b.counts.frames.Load(), Dropped: b.counts.dropped.Load(), Late: b.counts.late.Load(),
	}
}

// Dropped counts the messages that were given up for another node, and the events that were not made into any.
func (b *Bus) Dropped() uint64 { return b.counts.dropped.Load() + b.r.notices.dropped.Load() }

// Receive sets who delivers the messages of other nodes and tells how many receivers each had. f must be
// quick and must not wait; it is called by many goroutines, for the messages of one node in their order.
// The message is f's until it returns.
func (b *Bus) Receive(f func(m *Message) int) { b.receive.Store(&f) }

// busPeer is the sending side towards one node; guarded by Bus.mu.
type busPeer struct {
	node  string
	queue []busItem
	bytes int
	// sending: a goroutine empties the queue.
	sending bool
	// lagging: it did not answer in time, so no publisher waits for it.
	lagging bool
}

// busItem is one message for one peer. body is shared by all peers and never changes.
type busItem struct {
	pub  *publishing
	body []byte
	due  time.Time
	// waited: the publisher waits for this peer.
	waited bool
}

// publishing is a call of Publish; guarded by Bus.mu but for done.
type publishing struct {
	left      int
	receivers int64
	done      chan struct{} // closed when left falls to 0
}

// settleLocked ends an item.
func (it *busItem) settleLocked(receivers uint32) {
	it.pub.receivers += int64(receivers)
	if !it.waited {
		return
	}
	if it.pub.left--; it.pub.left == 0 {
		close(it.pub.done)
	}
}

// Publish sends m to every other member and returns how many receivers it had there, as far as they
// answered within the time of busTime. m is the caller's again when it returns.
func (b *Bus) Publish(ctx context.Context, m *Message) int64 {
	if b.alone() {
		return 0
	}
	return b.carry(ctx, appendBusMessage(nil, m))
}

// announce delivers messages here, and then to every other member. It returns when those have answered or their
// time is over, so there is never more of one caller on its way than of one announce.
func (b *Bus) announce(ms []Message) {
	if bodies := b.deliver(ms); bodies != nil {
		b.carry(b.r.ctx, bodies...)
	}
}

// offer is announce without waiting for the other members.
func (b *Bus) offer(ms []Message) {
	size, bodies := 0, b.deliver(ms)
	for _, body := range bodies {
		size += len(body)
	}
	if bodies != nil {
		b.enqueue(&publishing{done: make(chan struct{})}, bodies, time.Now().Add(busTime(size)))
	}
}

// deliver gives messages to the subscribers here, and tells what is to be carried to the other members.
func (b *Bus) deliver(ms []Message) (bodies [][]byte) {
	if receive := b.receive.Load(); receive != nil {
		for i := range ms {
			(*receive)(&ms[i])
		}
	}
	if len(ms) == 0 || b.alone() {
		return nil
	}
	bodies = make([][]byte, len(ms))
	for i := range ms {
		bodies[i] = appendBusMessage(nil, &ms[i])
	}
	return bodies
}

// alone tells whether there is no other member to send to.
func (b *Bus) alone() bool {
	places := b.r.m.Load()
	return places == nil || len(places.Nodes) < 2 || b.r.cfg.Link == nil
}

// carry sends messages to every other member and returns how many receivers they had. There is a Map.
func (b *Bus) carry(ctx context.Context, bodies ...[]byte) int64 {
	size := 0
	for _, body := range bodies {
		size += len(body)
	}
	limit := busTime(size)
	pub := &publishing{done: make(chan struct{})}
	if !b.enqueue(pub, bodies, time.Now().Add(limit)) {
		return 0
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-pub.done:
	case <-timer.C:
	case <-ctx.Done():
	case <-b.r.ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return pub.receivers
}

// enqueue puts messages into the queue of every other member; false when there is nobody to wait for.
func (b *Bus) enqueue(pub *publishing, bodies [][]byte, due time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return false
	}
	b.counts.published.Add(uint64(len(bodies)))
	places := b.r.m.Load()
	b.forgetLocked(places)
	for node := range places.Nodes {
		if node == b.r.cfg.Self {
			continue
		}
		p := b.mu.peers[node]
		if p == nil {
			p = &busPeer{node: node}
			b.mu.peers[node] = p
		}
		for _, body := range bodies {
			b.enqueueLocked(p, busItem{pub: pub, body: body, due: due, waited: !p.lagging})
		}
	}
	return pub.left > 0
}

func (b *Bus) enqueueLocked(p *busPeer, it busItem) {
	if len(p.queue) >= maxBusMessages || len(p.queue) > 0 && p.bytes+len(it.body) > maxBusBytes {
		b.counts.dropped.Add(1)
		return
	}
	p.queue = append(p.queue, it)
	p.bytes += len(it.body)
	if it.waited {
		it.pub.left++
	}
	if !p.sending {
		p.sending = true
		b.r.work.Go(func() { b.send(p) })
	}
}

// forgetLocked drops the peers that are no members any more and have nothing under way.
func (b *Bus) forgetLocked(places *Map) {
	if len(b.mu.peers) < len(places.Nodes) {
		return
	}
	for node, p := range b.mu.peers {
		if _, member := places.Nodes[node]; !member && !p.sending {
			delete(b.mu.peers, node)
		}
	}
}

// close keeps new messages from being sent; what is under way ends with the router's context.
func (b *Bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.closed = true
}
