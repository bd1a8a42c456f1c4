// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

// busHead is the size of what stands before the messages of a frame.
const busHead = 1 + 1 + 8 + 8 + 4

// busSharded is the flag of a message to a sharded channel.
const busSharded byte = 1

// busScript is the flag of a message about scripts.
const busScript byte = 2

func appendBusMessage(dst []byte, m *Message) []byte {
	if dst == nil {
		dst = make([]byte, 0, 9+len(m.Channel)+len(m.Data))
	}
	flags := byte(0)
	if m.Sharded {
		flags = busSharded
	}
	if m.Script {
		flags = busScript
	}
	be := binary.BigEndian
	dst = be.AppendUint32(append(dst, flags), uint32(len(m.Channel)))
	dst = append(dst, m.Channel...)
	dst = be.AppendUint32(dst, uint32(len(m.Data)))
	return append(dst, m.Data...)
}

// appendBusFrame makes the frame of some messages.
func appendBusFrame(incarnation, sequence uint64, items []busItem) []byte {
	size := busHead
	for i := range items {
		size += len(items[i].body)
	}
	be := binary.BigEndian
	dst := append(make([]byte, 0, size), forwardVersion, forwardPublish)
	dst = be.AppendUint64(dst, incarnation)
	dst = be.AppendUint64(dst, sequence)
	dst = be.AppendUint32(dst, uint32(len(items)))
	for i := range items {
		dst = append(dst, items[i].body...)
	}
	return dst
}

// parseBusReply returns the receivers of each of want messages.
func parseBusReply(src []byte, want int) ([]uint32, error) {
	d := frame{src: src}
	v, n := d.byte(), verdict(d.byte())
	d.uint64()
	d.bytes(int(d.byte()))
	switch {
	case !d.ok() || v != forwardVersion:
		return nil, errFrame
	case n != answered:
		return nil, &refusal{verdict: n}
	}
	if d.count(want) != want || len(d.src) != 4*want {
		return nil, errFrame
	}
	counts := make([]uint32, want)
	for i := range counts {
		counts[i] = d.uint32()
	}
	return counts, nil
}

// send empties a peer's queue, one frame after the other.
func (b *Bus) send(p *busPeer) {
	for {
		items, sequence := b.take(p)
		if len(items) == 0 {
			return
		}
		f := appendBusFrame(b.r.cfg.Incarnation, sequence, items)
		limit := busTime(len(f))
		began := time.Now()
		counts, err := b.ask(p.node, f, limit, len(items))
		b.settle(p, items, counts, err != nil, time.Since(began) >= limit/2)
	}
}

func (b *Bus) ask(node string, f []byte, limit time.Duration, want int) ([]uint32, error) {
	ctx, cancel := context.WithTimeout(b.r.ctx, limit)
	defer cancel()
	b.counts.frames.Add(1)
	reply, err := b.r.cfg.Link.Call(ctx, node, raftnode.ClassForward, f)
	if err != nil {
		return nil, fmt.Errorf("shard: publish: %w", err)
	}
	return parseBusReply(reply, want)
}

// take takes a frame's worth of messages off the queue; none when the sender is to end.
func (b *Bus) take(p *busPeer) (items []busItem, sequence uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, size, n := time.Now(), 0, 0
	for ; n < len(p.queue) && len(items) < maxBusFrameMessages; n++ {
		it := &p.queue[n]
		late := b.mu.closed || now.After(it.due)
		if !late && len(items) > 0 && size+len(it.body) > maxBusFrame {
			break
		}
		p.bytes -= len(it.body)
		if late {
			b.counts.dropped.Add(1)
			it.settleLocked(0)
			continue
		}
		size += len(it.body)
		items = append(items, *it)
	}
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	if p.queue = p.queue[:rest]; rest == 0 && cap(p.queue) > maxBusFrameMessages {
		p.queue = nil
	}
	p.sending = len(items) > 0
	b.mu.sequence++
	return items, b.mu.sequence
}

// settle hands out what the peer answered. slow: it took long.
func (b *Bus) settle(p *busPeer, items []busItem, counts []uint32, failed, slow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !failed {
		p.lagging = false
	} else if slow {
		p.lagging = true
		p.nobodyWaitsLocked()
	}
	for i := range items {
		n := uint32(0)
		if !failed {
			n = counts[i]
		}
		items[i].settleLocked(n)
	}
}

// nobodyWaitsLocked lets those go on who wait for a peer that has just turned out to lag.
func (p *busPeer) nobodyWaitsLocked() {
	for i := range p.queue {
		if it := &p.queue[i]; it.waited {
			it.settleLocked(0)
			it.waited = false
		}
	}
}
