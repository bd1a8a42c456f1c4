// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// forwardVersion is the first byte of every forward frame. LANES.md has the byte table.
const forwardVersion = 1

// The kinds of forward requests.
const (
	forwardOpen  byte = 1
	forwardWrite byte = 2
	forwardRead  byte = 3
	// forwardPublish has frames of its own: BUS.md.
	forwardPublish byte = 4
)

// errFrame: a forward frame is not what any writer makes.
var errFrame = errors.New("shard: forward: malformed frame")

// forwardRequest is a Sub, an OPENSESSION or a batch of reads on its way to a leader.
type forwardRequest struct {
	Kind  byte
	Group uint32
	// Incarnation, Stream and Position order the frames of a lane; open and write.
	Incarnation, Stream, Position uint64
	// Session, Seq and Low are the Sub's; write.
	Session, Seq, Low uint64
	// Timeout bounds the work at the leader, in whole milliseconds on the wire; read.
	Timeout time.Duration
	// Voucher is the sender's own answer to the read fence; read.
	Voucher raftnode.Voucher
	// Room is what the replies of reads may take, in bytes; read and write.
	Room int64
	// Count counts the commands in Body.
	Count int
	Body  []byte
	// Reads are attached reads; write.
	Reads []fsm.AttachedRead

	// mine: this frame had its turn; not on the wire, as what follows.
	mine bool
	// room is for the replies of reads; answers and turn are what the frame holds beside it.
	room    fsm.Room
	answers int64
	turn    bool
}

func appendForwardRequest(dst []byte, q *forwardRequest) []byte {
	size := 80 + len(q.Body)
	for i := range q.Reads {
		size += 8 + fsm.CommandSize(&q.Reads[i].Cmd)
	}
	if dst == nil {
		dst = make([]byte, 0, size)
	}
	be := binary.BigEndian
	dst = append(dst, forwardVersion, q.Kind)
	dst = be.AppendUint32(dst, q.Group)
	if q.Kind == forwardRead {
		dst = be.AppendUint32(dst, uint32(min(max(q.Timeout.Milliseconds(), 1), math.MaxUint32)))
		dst = be.AppendUint64(dst, q.Voucher.Replica)
		dst = be.AppendUint64(dst, q.Voucher.Term)
	} else {
		dst = be.AppendUint64(dst, q.Incarnation)
		dst = be.AppendUint64(dst, q.Stream)
		dst = be.AppendUint64(dst, q.Position)
	}
	if q.Kind == forwardOpen {
		return dst
	}
	dst = be.AppendUint32(dst, uint32(min(max(q.Room, 0), fsm.MaxReply)))
	if q.Kind == forwardWrite {
		dst = be.AppendUint64(dst, q.Session)
		dst = be.AppendUint64(dst, q.Seq)
		dst = be.AppendUint64(dst, q.Low)
	}
	dst = be.AppendUint32(dst, uint32(q.Count))
	dst = be.AppendUint32(dst, uint32(len(q.Body)))
	dst = append(dst, q.Body...)
	if q.Kind == forwardWrite {
		dst = be.AppendUint32(dst, uint32(len(q.Reads)))
		for i := range q.Reads {
			rd := &q.Reads[i]
			dst = be.AppendUint32(dst, uint32(rd.After))
			dst = be.AppendUint32(dst, uint32(fsm.CommandSize(&rd.Cmd)))
			dst = fsm.AppendCommand(dst, &rd.Cmd)
		}
	}
	return dst
}

// parseForwardRequest is the reverse. Everything aliases src.
func parseForwardRequest(src []byte) (forwardRequest, error) {
	d := frame{src: src}
	if v := d.byte(); d.ok() && v != forwardVersion {
		return forwardRequest{}, fmt.Errorf("%w: version %d", errFrame, v)
	}
	q := forwardRequest{Kind: d.byte(), Group: d.uint32()}
	switch q.Kind {
	case forwardRead:
		q.Timeout = time.Duration(d.uint32()) * time.Millisecond
		q.Voucher = raftnode.Voucher{Replica: d.uint64(), Term: d.uint64()}
	case forwardOpen, forwardWrite:
		q.Incarnation, q.Stream, q.Position = d.uint64(), d.uint64(), d.uint64()
	default:
		d.bad = true
	}
	if q.Kind != forwardOpen {
		q.Room = min(int64(d.uint32()), fsm.MaxReply)
	}
	if q.Kind == forwardWrite {
		q.Session, q.Seq, q.Low = d.uint64(), d.uint64(), d.uint64()
	}
	if q.Kind != forwardOpen {
		q.Count = d.count(maxForwardCommands)
		q.Body = d.bytes(int(d.uint32()))
	}
	if q.Kind == forwardWrite {
		for n := d.count(maxForwardCommands); n > 0 && d.ok(); n-- {
			q.Reads = append(q.Reads, d.attached())
		}
	}
	if d.ok() && (len(d.src) != 0 || q.Count > len(q.Body)) {
		d.bad = true
	}
	if q.Kind == forwardWrite && (q.Session == 0 || q.Seq == 0 || q.Low > q.Seq) {
		d.bad = true
	}
	if !d.ok() {
		return forwardRequest{}, errFrame
	}
	return q, nil
}

// maxForwardCommands bounds the commands of one frame.
const maxForwardCommands = maxBatchCommands

func (d *frame) attached() fsm.AttachedRead {
	after := d.count(maxForwardCommands)
	body := d.bytes(int(d.uint32()))
	if !d.ok() {
		return fsm.AttachedRead{}
	}
	cmd, n, err := fsm.ParseCommand(body)
	if err != nil || n != len(body) {
		d.bad = true
	}
	return fsm.AttachedRead{After: after, Cmd: cmd}
}

// maxReplyBytes bounds the results in one reply frame. Those of the writes always fit: they are bounded
// where they run.
const maxReplyBytes = fsm.MaxReply + 1<<20

// appendReplyHead appends what every answer begins with.
func appendReplyHead(dst []byte, v verdict, hint raftnode.Hint) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, forwardVersion, byte(v)), hint.Term)
	node := hint.Node[:min(len(hint.Node), math.MaxUint8)]
	return append(append(dst, byte(len(node))), node...)
}

// replyHead takes it off the front, and returns the refusal if it is one.
func (d *frame) replyHead() (term uint64, err error) {
	if d.byte() != forwardVersion {
		return 0, errFrame
	}
	v := verdict(d.byte())
	hint := raftnode.Hint{Term: d.uint64()}
	hint.Node = string(d.bytes(int(d.byte())))
	if !d.ok() || v == answered {
		return hint.Term, nil
	}
	if v > refusedTimeout || len(d.src) > 0 {
		return 0, errFrame
	}
	return hint.Term, &refusal{verdict: v, hint: hint}
}

// appendForwardReply appends the answer to a request of kind: a refusal, or sub with its results.
func appendForwardReply(dst []byte, kind byte, v verdict, hint raftnode.Hint, sub *fsm.Sub) []byte {
	be := binary.BigEndian
	dst = appendReplyHead(dst, v, hint)
	if v != answered {
		return dst
	}
	if kind == forwardOpen {
		return be.AppendUint64(append(dst, byte(sub.Status)), sub.Next)
	}
	dropped := fsm.Result{} // a read that does not fit is answered as not run
	if kind == forwardWrite {
		dst = be.AppendUint64(append(dst, byte(sub.Status)), sub.Next)
		dropped = fsm.Error(fsm.CodeReplyDropped, fsm.TextReplyDropped) // a guard: they do fit
	}
	if kind == forwardWrite && sub.Status != fsm.SubApplied {
		return dst
	}
	left, size := maxReplyBytes, int64(0)
	for i := range sub.Results {
		size += fsm.ReplySize(&sub.Results[i])
	}
	for i := range sub.ReadResults {
		size += fsm.ReplySize(&sub.ReadResults[i])
	}
	if size > freeReply {
		dst = slices.Grow(dst, int(size)) // once: growing would copy it many times over
	}
	dst = appendResults(dst, sub.Results, &left, &dropped)
	if kind == forwardWrite {
		dst = appendResults(dst, sub.ReadResults, &left, &fsm.Result{})
	}
	return dst
}

// appendResults writes results while they fit into left bytes, and dropped in the place of the
// others. Results are let go as soon as they are written.
func appendResults(dst []byte, results []fsm.Result, left *int, dropped *fsm.Result) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(results)))
	for i := range results {
		from := len(dst)
		dst = fsm.AppendResult(dst, &results[i])
		if n := len(dst) - from; n <= *left {
			*left -= n
			results[i] = fsm.Result{}
			continue
		}
		dst = fsm.AppendResult(dst[:from], dropped)
		if dropped.Kind == fsm.KindNone {
			*left = 0 // no read is answered before an earlier one
		}
	}
	return dst
}

// parseForwardReply fills sub with the answer to a request of kind, or returns the refusal. The
// results alias src, which the caller must own.
func parseForwardReply(src []byte, kind byte, sub *fsm.Sub) error {
	d := frame{src: src}
	if _, err := d.replyHead(); err != nil {
		return err
	}
	if kind != forwardRead {
		sub.Status, sub.Next = fsm.SubStatus(d.byte()), d.uint64()
	}
	switch {
	case kind == forwardOpen:
		sub.Results = []fsm.Result{fsm.Int(int64(sub.Next))}
	case kind == forwardRead:
		sub.Results = d.results(sub.Results, sub.Writes)
	case sub.Status == fsm.SubApplied:
		sub.Results = d.results(sub.Results, sub.Writes)
		sub.ReadResults = d.results(sub.ReadResults, len(sub.Reads))
	}
	if !d.ok() || len(d.src) > 0 {
		return errFrame
	}
	return nil
}

// results reads exactly want results.
func (d *frame) results(room []fsm.Result, want int) []fsm.Result {
	if n := d.count(maxForwardCommands); n != want || !d.ok() {
		d.bad = true
		return nil
	}
	out := fsm.ResultRoom(room, want)
	for i := range out {
		res, n, err := fsm.ParseResult(d.src)
		if err != nil {
			d.bad = true
			return nil
		}
		out[i] = res
		d.src = d.src[n:]
	}
	return out
}

// frame takes values off the front of src. After the first fault every value is zero.
type frame struct {
	src []byte
	bad bool
}

func (d *frame) ok() bool { return !d.bad }

func (d *frame) bytes(n int) []byte {
	if d.bad || n < 0 || n > len(d.src) {
		d.bad = true
		return nil
	}
	b := d.src[:n:n]
	d.src = d.src[n:]
	return b
}

func (d *frame) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *frame) uint32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *frame) uint64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// count is a number of items, at most limit.
func (d *frame) count(limit int) int {
	n := d.uint32()
	if n > uint32(limit) {
		d.bad = true
		return 0
	}
	return int(n)
}
