// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// linkOp is a question of one node to another over raftnode.ClassControl. Both sides speak JSON.
type linkOp string

// The questions.
const (
	opPropose  linkOp = "propose"  // proposal → proposed: put a control command into the log
	opMember   linkOp = "member"   // memberQuestion → memberAnswer
	opPing     linkOp = "ping"     // nothing → nothing
	opReport   linkOp = "report"   // nothing → nodeReport
	opTransfer linkOp = "transfer" // transferOrder → nothing
	opDigest   linkOp = "digest"   // digestOrder → []ReplicaDigest
	opCapture  linkOp = "capture"  // captureOrder → captureGrant
	opSlots    linkOp = "slots"    // slotsOrder → slotsAnswer
)

const (
	// linkWait bounds one question when its context allows more.
	linkWait = 3 * time.Second
	// retryMin and retryMax bound the pause between attempts to reach the control leader.
	retryMin = 20 * time.Millisecond
	retryMax = 500 * time.Millisecond
)

// linkRequest and linkReply are what travels. A reply has Error or Body.
type (
	linkRequest struct {
		Op   linkOp          `json:"op"`
		Body json.RawMessage `json:"body,omitempty"`
	}
	linkReply struct {
		Error string `json:"error,omitempty"`
		// Cause is the number in linkCauses of the sentinel that the error wraps; 0 for none.
		Cause int `json:"cause,omitempty"`
		// Leader is who leads the control group, as the answering node knows it.
		Leader string          `json:"leader,omitempty"`
		Body   json.RawMessage `json:"body,omitempty"`
	}
)

// linkCauses gives the sentinels that travel, by number. Numbers are stable: append only.
func linkCauses() []error {
	return []error{
		nil, ErrUninitialised, ErrConflict, ErrRefused, ErrNoControlLeader, ErrNoSuchNode, ErrNoSuchGroup, ErrVersion,
		ErrClosing, ErrLeft, ErrLastNode,
	}
}

// linkError is an error that came from another node: its text, and the sentinel it wraps.
type linkError struct {
	text   string
	cause  error
	leader string
}

func (e *linkError) Error() string { return e.text }
func (e *linkError) Unwrap() error { return e.cause }

// encodeReply makes the reply to a question.
func encodeReply(body any, err error, leader string) ([]byte, error) {
	r := linkReply{Leader: leader}
	if err != nil {
		r.Error = err.Error()
		r.Cause = max(0, slices.IndexFunc(linkCauses(), func(c error) bool { return c != nil && errors.Is(err, c) }))
	} else if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("shard: encode reply: %w", err)
		}
		r.Body = raw
	}
	return json.Marshal(r)
}

// decodeReply takes a reply apart into body, which may be nil.
func decodeReply(raw []byte, body any) error {
	var r linkReply
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("shard: decode reply: %w", err)
	}
	if r.Error != "" {
		e := &linkError{text: r.Error, leader: r.Leader}
		if causes := linkCauses(); r.Cause > 0 && r.Cause < len(causes) {
			e.cause = causes[r.Cause]
		}
		return e
	}
	if body == nil {
		return nil
	}
	if err := json.Unmarshal(r.Body, body); err != nil {
		return fmt.Errorf("shard: decode reply: %w", err)
	}
	return nil
}

// ask puts a question to another member, and waits linkWait at most.
func (n *Node) ask(ctx context.Context, node string, op linkOp, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	return n.askLong(ctx, node, op, body, answer)
}

// askLong puts a question to another member, and waits as long as ctx allows.
func (n *Node) askLong(ctx context.Context, node string, op linkOp, body, answer any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("shard: ask %s: %w", op, err)
	}
	req, err := json.Marshal(linkRequest{Op: op, Body: raw})
	if err != nil {
		return fmt.Errorf("shard: ask %s: %w", op, err)
	}
	reply, err := n.rn.Call(ctx, node, raftnode.ClassControl, req)
	if err != nil {
		return fmt.Errorf("shard: ask %s of node %s: %w", op, node, err)
	}
	return decodeReply(reply, answer)
}

// handleControl answers the questions of other members.
func (n *Node) handleControl(ctx context.Context, _ string, raw []byte) ([]byte, error) {
	var req linkRequest
	if err := json.Unmarshal(raw, &req); err != nil {
		return nil, fmt.Errorf("shard: bad question: %w", err)
	}
	body, err := n.answer(ctx, &req)
	return encodeReply(body, err, n.controlLeader())
}

func (n *Node) answer(ctx context.Context, req *linkRequest) (any, error) {
	switch req.Op {
	case opPropose:
		return answerTo(req, func(p proposal) (proposed, error) {
			return n.proposeHere(ctx, fsm.Command{Op: p.Op, Args: [][]byte{p.Arg}})
		})
	case opMember:
		return answerTo(req, n.serveMember)
	case opPing:
		return nil, nil
	case opReport:
		return n.report(), nil
	case opTransfer:
		return answerTo(req, func(o transferOrder) (struct{}, error) { return struct{}{}, n.transferHere(ctx, o) })
	case opDigest:
		return answerTo(req, func(o digestOrder) ([]ReplicaDigest, error) { return n.digestHere(ctx, o) })
	case opCapture:
		return answerTo(req, func(o captureOrder) (captureGrant, error) { return n.serveCapture(ctx, o) })
	case opSlots:
		return answerTo(req, func(o slotsOrder) (slotsAnswer, error) { return n.serveSlots(ctx, o) })
	}
	return nil, fmt.Errorf("%w: question %q is not known", ErrRefused, req.Op)
}

func answerTo[Q, A any](req *linkRequest, f func(Q) (A, error)) (any, error) {
	var q Q
	if err := json.Unmarshal(req.Body, &q); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return f(q)
}

// proposal is a control command on its way to the leader, proposed its Revision afterwards.
type (
	proposal struct {
		Op  fsm.Op `json:"op"`
		Arg []byte `json:"arg"`
	}
	proposed struct {
		Revision uint64 `json:"revision"`
	}
)

// controlLeader is the node that leads the control group as far as known here.
func (n *Node) controlLeader() string {
	if r := n.local(controlGroup); r != nil {
		return r.group.Leader().Node
	}
	return ""
}

// proposeHere puts a command into the control group's log if this node leads it.
func (n *Node) proposeHere(ctx context.Context, cmd fsm.Command) (proposed, error) {
	r := n.local(controlGroup)
	if r == nil {
		return proposed{}, ErrUninitialised
	}
	res, err := submitOne(ctx, r.group, cmd)
	if _, ok := errors.AsType[raftnode.ErrNotLeader](err); ok {
		return proposed{}, fmt.Errorf("%w here: %w", ErrNoControlLeader, err)
	}
	if err != nil {
		return proposed{}, err
	}
	return proposed{Revision: uint64(res.Int)}, nil
}

// propose gets a control command applied through whichever node leads, and waits until this node
// has applied it too. It tries until ctx ends. Every command may be applied twice without harm, so an
// unknown outcome is tried again; ErrConflict and ErrRefused are final.
func (n *Node) propose(ctx context.Context, arg any) (uint64, error) {
	cmd := controlCommand(arg)
	pause := retryMin
	var last error
	for turn := 0; ; turn++ {
		rev, err := n.proposeVia(ctx, n.proposeTarget(turn, last), cmd)
		if err == nil {
			return rev, n.waitRevision(ctx, rev)
		}
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrRefused) || errors.Is(err, ErrClosing) {
			return 0, err
		}
		last = err
		select {
		case <-time.After(pause):
			pause = min(2*pause, retryMax)
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ErrNoControlLeader, last)
		}
	}
}

// proposeTarget chooses whom to ask: the leader known here, the one that the last node asked named, or
// else any member in turn.
func (n *Node) proposeTarget(turn int, last error) string {
	hint := n.controlLeader()
	if e, ok := errors.AsType[*linkError](last); ok && turn%2 == 1 && e.leader != "" {
		hint = e.leader
	}
	if hint != "" {
		return hint
	}
	peers := make([]string, 0, len(n.book.Load().Peers))
	for node := range n.book.Load().Peers {
		if node != n.ID() {
			peers = append(peers, node)
		}
	}
	if len(peers) == 0 {
		return n.ID()
	}
	slices.Sort(peers)
	return peers[turn%len(peers)]
}

func (n *Node) proposeVia(ctx context.Context, node string, cmd fsm.Command) (uint64, error) {
	if node == n.ID() {
		p, err := n.proposeHere(ctx, cmd)
		return p.Revision, err
	}
	var p proposed
	err := n.ask(ctx, node, opPropose, proposal{Op: cmd.Op, Arg: cmd.Args[0]}, &p)
	return p.Revision, err
}

// waitRevision waits until the View here has reached a revision.
func (n *Node) waitRevision(ctx context.Context, rev uint64) error {
	return n.viewMoved.until(ctx, func() bool { return n.view.Load().Revision >= rev })
}

// submitOne proposes one command and returns its result.
func submitOne(ctx context.Context, g *raftnode.Group, cmd fsm.Command) (fsm.Result, error) {
	sub := &fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &cmd)}
	if err := submitSub(ctx, g, sub); err != nil {
		return fsm.Result{}, err
	}
	return sub.Results[0], nil
}

// submitSub proposes a Sub outside any session and waits until it is applied; a command's error
// result is an error.
func submitSub(ctx context.Context, g *raftnode.Group, sub *fsm.Sub) error {
	done := make(chan error, 1)
	g.Submit(sub, func(_ *fsm.Sub, err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", raftnode.ErrUnknown, context.Cause(ctx))
	}
	for _, res := range sub.Results {
		switch {
		case res.IsError() && res.Code == fsm.CodeVersion:
			return ErrConflict
		case res.IsError():
			return fmt.Errorf("%w: %s", ErrRefused, res.Str)
		}
	}
	return nil
}
