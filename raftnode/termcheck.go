// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Term checks travel as requests of the control class behind the byte controlTermCheck, all numbers
// little-endian:
//
//	request: version u8 | count u16 | count × (group u32 | replica u64)
//	reply:   version u8 | flags u8 | count × (state u8 | term u64 | last log u64 | applied u64)
//
// The reply's items stand in the order of the request's. They are bound to the request by the link,
// which never gives a reply to another request.
const (
	termCheckVersion = 1

	// flagLowDisk: the answering node is below its disk reserve.
	flagLowDisk = 1

	// stateRefused: no such replica here, or it is stopping, or has no configuration yet. stateLed is
	// stateOK of a replica that knows its leader, stateOrphaned that of one whose leader's process is
	// gone, stateStanding that of a candidate.
	stateRefused  = 0
	stateOK       = 1
	stateLed      = 2
	stateOrphaned = 3
	stateStanding = 4

	questionBytes = 12
	replyBytes    = 25
	// maxQuestions bounds the items of one frame; the rest goes into the next.
	maxQuestions = 4096
)

// First byte of every request of the control class.
const (
	controlTermCheck = 0
	controlUpper     = 1
)

var errMalformed = errors.New("raftnode: malformed term check")

// question asks a replica on a lane's node for its term. A nil round is a poll: it only refreshes
// what is known of the peer.
type question struct {
	g       *Group
	replica uint64
	round   *round
	voter   raft.ServerID // who is asked; only with a round
	// lastLog is how far the asker's log reaches.
	lastLog uint64
}

type questionKey struct {
	group   uint32
	replica uint64
}

// lane carries the term checks to one peer node: one request in flight, all groups together. What is
// asked meanwhile waits for the next request, one question a replica.
type lane struct {
	n    *Node
	node string
	kick chan struct{}

	// stop ends the lane before its node ends.
	stop chan struct{}

	mu struct {
		sync.Mutex
		next map[questionKey]question
		// over: nobody answers any more.
		over bool
	}
}

// lane returns the lane to a node, started at the first use.
func (n *Node) lane(node string) *lane {
	if m := n.lanes.Load(); m != nil {
		if l, ok := (*m)[node]; ok {
			return l
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	next := make(map[string]*lane)
	if m := n.lanes.Load(); m != nil {
		maps.Copy(next, *m)
	}
	if l, ok := next[node]; ok {
		return l
	}
	l := &lane{n: n, node: node, kick: make(chan struct{}, 1), stop: make(chan struct{})}
	l.mu.next = make(map[questionKey]question)
	next[node] = l
	n.lanes.Store(&next)
	if n.mu.closed {
		l.mu.over = true
		return l
	}
	n.wg.Go(l.run)
	return l
}

// dropLane ends the lane to a node that left.
func (n *Node) dropLane(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.lanes.Load()
	if m == nil || (*m)[node] == nil {
		return
	}
	close((*m)[node].stop)
	next := maps.Clone(*m)
	delete(next, node)
	n.lanes.Store(&next)
}

// ask queues a question. Of two questions about one replica the one whose round is not decided stays; a round that is
// displaced by one has been decided, or failed, already.
func (l *lane) ask(q question) {
	key := questionKey{q.g.id, q.replica}
	l.mu.Lock()
	if l.mu.over {
		l.mu.Unlock()
		q.fail()
		return
	}
	old, ok := l.mu.next[key]
	displaces := !ok || q.round != nil && !q.round.over()
	if displaces {
		l.mu.next[key] = q
	}
	l.mu.Unlock()
	if ok && displaces {
		old.fail()
	}
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *lane) run() {
	defer l.end()
	for {
		select {
		case <-l.kick:
		case <-l.stop:
			return
		case <-l.n.ctx.Done():
			return
		}
		for qs := l.take(); len(qs) > 0; qs = l.take() {
			l.exchange(qs)
		}
	}
}

// end fails what is asked from now on.
func (l *lane) end() {
	l.mu.Lock()
	l.mu.over = true
	l.mu.Unlock()
	for qs := l.take(); len(qs) > 0; qs = l.take() {
		for _, q := range qs {
			q.fail()
		}
	}
}

// take returns up to maxQuestions questions. What was asked before take is sent after it.
func (l *lane) take() []question {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]question, 0, min(len(l.mu.next), maxQuestions))
	for key, q := range l.mu.next {
		if len(out) == maxQuestions {
			break
		}
		out = append(out, q)
		delete(l.mu.next, key)
	}
	return out
}

func (q question) fail() {
	if q.round != nil {
		q.round.answer(q.voter, false, 0)
	}
}

// exchange sends one request and deals out the reply.
func (l *lane) exchange(qs []question) {
	ctx, cancel := context.WithTimeout(l.n.ctx, l.n.cfg.Heartbeat)
	defer cancel()
	sent := monotonic()
	reply, err := l.n.call(ctx, l.node, appendTermCheck(make([]byte, 0, 4+len(qs)*questionBytes), qs))
	if err == nil {
		err = checkReply(reply, len(qs))
	}
	if err != nil {
		for _, q := range qs {
			q.fail()
		}
		return
	}
	low := reply[1]&flagLowDisk != 0
	for i, q := range qs {
		a := parseAnswer(reply[2+i*replyBytes:])
		if a.ok() {
			a.lowDisk, a.sent, a.asked = low, sent, q.lastLog
			q.g.peers.heard(l.node, q.replica, a)
		}
		if q.round != nil {
			q.round.answer(q.voter, a.ok(), a.term)
		}
	}
}

func appendTermCheck(dst []byte, qs []question) []byte {
	dst = append(dst, controlTermCheck, termCheckVersion)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(qs)))
	for _, q := range qs {
		dst = binary.LittleEndian.AppendUint32(dst, q.g.id)
		dst = binary.LittleEndian.AppendUint64(dst, q.replica)
	}
	return dst
}

// answerTermCheck serves a request, its first byte taken off.
func (n *Node) answerTermCheck(req []byte) ([]byte, error) {
	if len(req) < 3 || req[0] != termCheckVersion {
		return nil, errMalformed
	}
	count := int(binary.LittleEndian.Uint16(req[1:]))
	req = req[3:]
	if len(req) != count*questionBytes {
		return nil, errMalformed
	}
	var flags byte
	if n.low.Load() {
		flags |= flagLowDisk
	}
	out := append(make([]byte, 0, 2+count*replyBytes), termCheckVersion, flags)
	for ; len(req) > 0; req = req[questionBytes:] {
		a := n.ownTerm(binary.LittleEndian.Uint32(req), binary.LittleEndian.Uint64(req[4:]))
		out = append(out, a.state)
		out = binary.LittleEndian.AppendUint64(out, a.term)
		out = binary.LittleEndian.AppendUint64(out, a.lastLog)
		out = binary.LittleEndian.AppendUint64(out, a.applied)
	}
	return out, nil
}

// ownTerm is step 6 of the read fence: no disk, no main loop.
func (n *Node) ownTerm(group uint32, replica uint64) (a peerAnswer) {
	g, ok := n.Group(group)
	if !ok || g.replica != replica {
		return a
	}
	in := g.inst.Load()
	if in == nil || !in.configured() {
		return a
	}
	a.term = in.raft.CurrentTerm()
	a.lastLog, a.applied = in.raft.LastIndex(), g.Applied()
	a.state = stateOK
	if _, id := in.raft.LeaderWithID(); id != "" {
		a.state = stateLed
		if node, _, _ := splitServerID(id); n.link.Gone(node) && in.trans.Settled() {
			a.state, a.lastLog = stateOrphaned, in.raft.LastIndex()
		}
	} else if in.standing.Load() || in.raft.State() == raft.Candidate {
		a.state = stateStanding
	}
	if in.closing.Load() {
		// Another instance of this replica may have voted meanwhile.
		return peerAnswer{}
	}
	return a
}

func checkReply(reply []byte, count int) error {
	if len(reply) != 2+count*replyBytes || reply[0] != termCheckVersion {
		return errMalformed
	}
	return nil
}

func parseAnswer(b []byte) peerAnswer {
	return peerAnswer{
		state:   b[0],
		term:    binary.LittleEndian.Uint64(b[1:]),
		lastLog: binary.LittleEndian.Uint64(b[9:]),
		applied: binary.LittleEndian.Uint64(b[17:]),
	}
}

// peerAnswer is what a replica said about itself.
type peerAnswer struct {
	state                  byte
	term, lastLog, applied uint64
	lowDisk                bool
	// sent is when it was asked; asked is how far the asker's log reached then.
	sent  time.Time
	asked uint64
}

// ok tells whether the answer proves anything.
func (a *peerAnswer) ok() bool { return a.state >= stateOK && a.state <= stateStanding }

// peerBook holds the last answer of each peer of a group; it is knowledge of the asking node only.
type peerBook struct {
	mu struct {
		sync.Mutex
		last map[peerKey]peerAnswer
	}
}

type peerKey struct {
	node    string
	replica uint64
}

func (p *peerBook) heard(node string, replica uint64, a peerAnswer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.last == nil {
		p.mu.last = make(map[peerKey]peerAnswer)
	}
	p.mu.last[peerKey{node, replica}] = a
}

func (p *peerBook) of(node string, replica uint64) (peerAnswer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.mu.last[peerKey{node, replica}]
	return a, ok
}

// keep forgets the replicas that are not members any more.
func (p *peerBook) keep(member func(node string, replica uint64) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.mu.last {
		if !member(k.node, k.replica) {
			delete(p.mu.last, k)
		}
	}
}
