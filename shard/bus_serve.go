// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"sync"
)

// busSource is what is known of another node that publishes.
type busSource struct {
	// mu keeps the frames of one source in their order. Who has it hands messages over, which takes as long as patterns do.
	mu sync.Mutex
	// incarnation and sequence are those of the frame delivered last.
	incarnation, sequence uint64
}

// busFrame is a frame of messages.
type busFrame struct {
	incarnation, sequence uint64
	messages              []Message
}

// parseBusFrame takes a frame apart. The messages alias src.
func parseBusFrame(src []byte) (f busFrame, err error) {
	d := frame{src: src}
	if d.byte() != forwardVersion || d.byte() != forwardPublish {
		return f, errFrame
	}
	f.incarnation, f.sequence = d.uint64(), d.uint64()
	n := d.count(maxBusFrameMessages)
	for ; n > 0 && d.ok(); n-- {
		flags := d.byte()
		m := Message{Sharded: flags == busSharded, Script: flags == busScript}
		m.Channel = d.bytes(int(d.uint32()))
		m.Data = d.bytes(int(d.uint32()))
		d.bad = d.bad || flags > busScript
		f.messages = append(f.messages, m)
	}
	if !d.ok() || len(d.src) > 0 || f.sequence == 0 || len(f.messages) == 0 {
		return f, errFrame
	}
	return f, nil
}

// appendBusReply is the answer to a frame: a refusal, or the receivers of each message.
func appendBusReply(dst []byte, v verdict, counts []uint32) []byte {
	be := binary.BigEndian
	dst = append(be.AppendUint64(append(dst, forwardVersion, byte(v)), 0), 0)
	if v != answered {
		return dst
	}
	dst = be.AppendUint32(dst, uint32(len(counts)))
	for _, n := range counts {
		dst = be.AppendUint32(dst, n)
	}
	return dst
}

// serve delivers the messages of another node, unless a later frame of it was delivered before.
// What is not delivered by the end of ctx is not any more: its sender went on without.
func (b *Bus) serve(ctx context.Context, from string, req []byte) []byte {
	f, err := parseBusFrame(req)
	if err != nil {
		return appendBusReply(nil, refusedInvalid, nil)
	}
	s := b.source(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		b.counts.late.Add(1)
		return appendBusReply(nil, refusedOverloaded, nil)
	}
	if f.incarnation < s.incarnation || f.incarnation == s.incarnation && f.sequence <= s.sequence {
		b.counts.late.Add(1)
		return appendBusReply(nil, refusedOrder, nil)
	}
	s.incarnation, s.sequence = f.incarnation, f.sequence
	counts := make([]uint32, len(f.messages))
	receive := b.receive.Load()
	for i := range f.messages {
		if ctx.Err() != nil {
			b.counts.late.Add(1)
			break
		}
		switch m := &f.messages[i]; {
		case m.Script:
			counts[i] = uint32(b.r.scripts.hear(m))
		case receive != nil:
			counts[i] = uint32((*receive)(m))
		}
	}
	return appendBusReply(nil, answered, counts)
}

// source returns what is known of a node. Nodes that are no members any more are forgotten, so there are
// never more than members and newcomers.
func (b *Bus) source(node string) *busSource {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.mu.sources[node]
	if s != nil {
		return s
	}
	if places := b.r.m.Load(); places != nil && len(b.mu.sources) >= len(places.Nodes) {
		for other := range b.mu.sources {
			if _, member := places.Nodes[other]; !member {
				delete(b.mu.sources, other)
			}
		}
	}
	s = new(busSource)
	b.mu.sources[node] = s
	return s
}
