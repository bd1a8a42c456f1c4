// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// Kinds of forward requests about waits; WAITS.md has the byte tables.
const (
	forwardWaits byte = 5
	forwardWake  byte = 6
)

// waitEntry is a ticket as a frame tells it.
type waitEntry struct {
	ticket uint64
	// done is the number of the last wake that the ticket is done with.
	done uint32
	age  time.Duration
	// pops is PopsNothing when the keys are not told.
	pops fsm.Pops
	keys [][]byte
}

// waitsRequest tells a leader about an edge's tickets.
type waitsRequest struct {
	group               uint32
	incarnation, number uint64
	whole               bool
	entries             []waitEntry
	ended               []uint64
}

// wake tells an edge that a ticket's key has something.
type wake struct {
	ticket uint64
	number uint32
	key    uint32
}

type wakeRequest struct {
	group       uint32
	incarnation uint64
	wakes       []wake
}

func waitsHead(kind byte, group uint32, incarnation uint64) []byte {
	dst := binary.BigEndian.AppendUint32([]byte{forwardVersion, kind}, group)
	return binary.BigEndian.AppendUint64(dst, incarnation)
}

func encodeWaits(q *waitsRequest) []byte {
	be := binary.BigEndian
	dst := be.AppendUint64(waitsHead(forwardWaits, q.group, q.incarnation), q.number)
	whole := byte(0)
	if q.whole {
		whole = 1
	}
	dst = be.AppendUint32(append(dst, whole), uint32(len(q.entries)))
	for i := range q.entries {
		e := &q.entries[i]
		dst = be.AppendUint64(dst, e.ticket)
		dst = be.AppendUint32(dst, e.done)
		dst = be.AppendUint64(dst, uint64(max(e.age.Milliseconds(), 0)))
		dst = append(dst, byte(e.pops))
		if e.pops == fsm.PopsNothing {
			continue
		}
		dst = be.AppendUint32(dst, uint32(len(e.keys)))
		for _, key := range e.keys {
			dst = append(be.AppendUint32(dst, uint32(len(key))), key...)
		}
	}
	return appendTickets(dst, q.ended)
}

func encodeWakes(q *wakeRequest) []byte {
	be := binary.BigEndian
	dst := be.AppendUint32(waitsHead(forwardWake, q.group, q.incarnation), uint32(len(q.wakes)))
	for _, w := range q.wakes {
		dst = be.AppendUint64(dst, w.ticket)
		dst = be.AppendUint32(dst, w.number)
		dst = be.AppendUint32(dst, w.key)
	}
	return dst
}

func appendTickets(dst []byte, tickets []uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(tickets)))
	for _, t := range tickets {
		dst = binary.BigEndian.AppendUint64(dst, t)
	}
	return dst
}

// waitsFrame opens a request of the kind; the group and the incarnation come first.
func waitsFrame(src []byte, kind byte) (d frame, group uint32, incarnation uint64) {
	d = frame{src: src}
	if d.byte() != forwardVersion || d.byte() != kind {
		d.bad = true
	}
	return d, d.uint32(), d.uint64()
}

// parseWaits is the reverse of encodeWaits. Keys alias src.
func parseWaits(src []byte) (q waitsRequest, err error) {
	d, group, incarnation := waitsFrame(src, forwardWaits)
	q = waitsRequest{group: group, incarnation: incarnation, number: d.uint64(), whole: d.byte() == 1}
	for n := d.count(maxNodeWaits); n > 0 && d.ok(); n-- {
		e := waitEntry{ticket: d.uint64(), done: d.uint32(), age: time.Duration(min(d.uint64(), maxWaitAge)) * time.Millisecond, pops: fsm.Pops(d.byte())}
		if e.pops != fsm.PopsNothing {
			for k := d.count(len(d.src) / 4); k > 0 && d.ok(); k-- {
				e.keys = append(e.keys, d.bytes(int(d.uint32())))
			}
			d.bad = d.bad || len(e.keys) == 0
		}
		q.entries = append(q.entries, e)
	}
	q.ended = d.tickets()
	return q, d.finish()
}

// maxWaitAge bounds the age of a wait on the wire, in milliseconds.
const maxWaitAge = uint64(math.MaxInt64 / time.Millisecond / 2)

func parseWakes(src []byte) (q wakeRequest, err error) {
	d, group, incarnation := waitsFrame(src, forwardWake)
	q = wakeRequest{group: group, incarnation: incarnation}
	for n := d.count(maxWakes); n > 0 && d.ok(); n-- {
		q.wakes = append(q.wakes, wake{ticket: d.uint64(), number: d.uint32(), key: d.uint32()})
	}
	return q, d.finish()
}

func (d *frame) tickets() (out []uint64) {
	for n := d.count(maxNodeWaits); n > 0 && d.ok(); n-- {
		out = append(out, d.uint64())
	}
	return out
}

// finish is nil when all of the frame was read and made sense.
func (d *frame) finish() error {
	if !d.ok() || len(d.src) > 0 {
		return errFrame
	}
	return nil
}

// waitsReply answers either kind: a refusal, or lists of tickets.
func waitsReply(v verdict, hint raftnode.Hint, lists ...[]uint64) []byte {
	dst := appendReplyHead(nil, v, hint)
	for _, list := range lists {
		dst = appendTickets(dst, list)
	}
	return dst
}

// parseWaitsReply returns the refusal, or the leader's term, and fills lists.
func parseWaitsReply(src []byte, lists ...*[]uint64) (term uint64, err error) {
	d := frame{src: src}
	if term, err = d.replyHead(); err != nil {
		return term, err
	}
	for _, list := range lists {
		*list = d.tickets()
	}
	return term, d.finish()
}
