// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/link"
)

// receive answers one message that is meant for this replica. from is the sender's proven node id.
func (t *Transport) receive(ctx context.Context, from string, e envelope, body []byte) ([]byte, error) {
	h := t.hooks.Load()
	if h == nil {
		return nil, ErrNotReady
	}
	sender := sender{ServerID(from, e.From), header(from, e)}
	if err := t.takeTurn(ctx); err != nil {
		return nil, err
	}
	switch e.Type {
	case typeAppend:
		return t.receiveAppend(ctx, h, sender, body)
	case typeVote:
		return t.receiveVote(ctx, h, sender, body)
	case typePreVote:
		return t.receivePreVote(ctx, h, sender, body)
	case typeTimeoutNow:
		return t.receiveTimeoutNow(ctx, h, sender, body)
	}
	t.passTurn(nil)
	return nil, fmt.Errorf("%w: type %d", ErrMalformed, e.Type)
}

// sender is who a message is from, with the header raft is shown.
type sender struct {
	id     raft.ServerID
	header raft.RPCHeader
}

func header(from string, e envelope) raft.RPCHeader {
	id := []byte(ServerID(from, e.From))
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersion(e.Protocol), ID: id, Addr: id}
}

// takeTurn waits until raft is handling no other message of ours. The rules that compare a message
// with raft's state are applied while the turn is held, so no other message changes that state
// before raft sees this one.
func (t *Transport) takeTurn(ctx context.Context) error {
	var before <-chan raft.RPCResponse
	select {
	case before = <-t.turn:
	case <-t.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
	if before == nil {
		return nil
	}
	select {
	case <-before:
		return nil
	case <-t.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		t.passTurn(before)
		return fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
}

// Settled tells whether raft has answered all that came so far: its log does not grow by it any more. False
// after Close.
func (t *Transport) Settled() bool {
	var before <-chan raft.RPCResponse
	select {
	case before = <-t.turn:
	default:
		return false
	}
	if before == nil {
		t.passTurn(nil)
		return true
	}
	select {
	case <-before:
		t.passTurn(nil)
		return true
	default:
		t.passTurn(before)
		return false
	}
}

// passTurn ends the holder's turn. before, if not nil, is the answer raft still owes: the next
// holder waits for it.
func (t *Transport) passTurn(before <-chan raft.RPCResponse) { t.turn <- before }

// hand gives a message to raft, waits for the answer and passes the turn.
func (t *Transport) hand(ctx context.Context, command any, body io.Reader) (any, error) {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case t.consumer <- raft.RPC{Command: command, Reader: body, RespChan: answer}:
	case <-t.ctx.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		t.passTurn(nil)
		return nil, fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
	select {
	case r := <-answer:
		t.passTurn(nil)
		return r.Response, r.Error
	case <-t.ctx.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		t.passTurn(answer)
		return nil, fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
}

// ok begins a good reply.
func ok() []byte { return append(make([]byte, 0, 24), statusOK) }

func (t *Transport) receiveAppend(ctx context.Context, h *Hooks, from sender, body []byte) ([]byte, error) {
	a, err := parseAppend(body)
	if err == nil {
		err = checkEntries(a)
	}
	if err == nil {
		clampCommit(a)
		index, term := localSnapshot(h)
		err = raiseAppend(a, index, term)
	}
	if err != nil {
		t.passTurn(nil)
		return nil, err
	}
	a.RPCHeader, a.Leader = from.header, from.header.Addr
	answer, err := t.hand(ctx, a, nil)
	if err != nil {
		return nil, err
	}
	resp, good := answer.(*raft.AppendEntriesResponse)
	if !good {
		return nil, fmt.Errorf("transport: raft answered %T", answer)
	}
	return appendAppendReply(ok(), resp), nil
}

// localSnapshot is the snapshot that W11 goes by: a complete one whose state is loaded.
func localSnapshot(h *Hooks) (index, term uint64) {
	index, term = h.LocalSnapshot()
	if index > h.Applied() {
		return 0, 0
	}
	return index, term
}

func (t *Transport) receiveVote(ctx context.Context, h *Hooks, from sender, body []byte) ([]byte, error) {
	v, err := parseVote(body)
	if err != nil {
		t.passTurn(nil)
		return nil, err
	}
	if !h.HasConfiguration() { // W9
		t.passTurn(nil)
		return appendVerdict(ok(), h.Term(), false), nil
	}
	v.RPCHeader, v.Candidate = from.header, from.header.Addr
	answer, err := t.hand(ctx, v, nil)
	if err != nil {
		return nil, err
	}
	resp, good := answer.(*raft.RequestVoteResponse)
	if !good {
		return nil, fmt.Errorf("transport: raft answered %T", answer)
	}
	return appendVerdict(ok(), resp.Term, resp.Granted), nil
}

func (t *Transport) receivePreVote(ctx context.Context, h *Hooks, from sender, body []byte) ([]byte, error) {
	v, err := parsePreVote(body)
	if err != nil {
		t.passTurn(nil)
		return nil, err
	}
	if !h.HasConfiguration() { // W9
		t.passTurn(nil)
		return appendVerdict(ok(), h.Term(), false), nil
	}
	v.RPCHeader = from.header
	answer, err := t.hand(ctx, v, nil)
	if err != nil {
		return nil, err
	}
	resp, good := answer.(*raft.RequestPreVoteResponse)
	if !good {
		return nil, fmt.Errorf("transport: raft answered %T", answer)
	}
	return appendVerdict(ok(), resp.Term, resp.Granted), nil
}

// receiveTimeoutNow passes the order on only in its own term and from that term's leader (W3).
func (t *Transport) receiveTimeoutNow(ctx context.Context, h *Hooks, from sender, body []byte) ([]byte, error) {
	term, err := parseTimeoutNow(body)
	if err == nil && (term != h.Term() || h.Leader() != from.id || !h.HasConfiguration()) {
		err = ErrStaleTransfer
	}
	if err != nil {
		t.passTurn(nil)
		return nil, err
	}
	if _, err := t.hand(ctx, &raft.TimeoutNowRequest{RPCHeader: from.header}, nil); err != nil {
		return nil, err
	}
	return ok(), nil
}

// Stand makes raft stand for election at once, over its vote stickiness, unless leader is no longer
// the leader it knows, or term its term. The caller knows that the leader's process is gone, and that
// a majority of the voters know it too (W14). It waits for raft's main loop.
func (t *Transport) Stand(ctx context.Context, leader raft.ServerID, term uint64) error {
	h := t.hooks.Load()
	if h == nil {
		return ErrNotReady
	}
	if err := t.takeTurn(ctx); err != nil {
		return err
	}
	if leader == t.self || leader == "" {
		t.passTurn(nil)
		return ErrStaleTransfer
	}
	return t.stand(ctx, h, leader, leader, term)
}

// StandAlone is Stand for the only voter of its group, which need not wait for a leader to show: there
// is none, and nobody to ask for a vote.
func (t *Transport) StandAlone(ctx context.Context, term uint64) error {
	h := t.hooks.Load()
	if h == nil {
		return ErrNotReady
	}
	if err := t.takeTurn(ctx); err != nil {
		return err
	}
	return t.stand(ctx, h, "", t.self, term)
}

// stand gives the order in the name of a server, if leader and term are those that raft knows.
func (t *Transport) stand(ctx context.Context, h *Hooks, leader, name raft.ServerID, term uint64) error {
	if term != h.Term() || h.Leader() != leader || !h.HasConfiguration() {
		t.passTurn(nil)
		return ErrStaleTransfer
	}
	id := []byte(name)
	head := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: id, Addr: id}
	_, err := t.hand(ctx, &raft.TimeoutNowRequest{RPCHeader: head}, nil)
	return err
}

// receiveSnapshot answers a snapshot that is meant for this replica.
func (t *Transport) receiveSnapshot(ctx context.Context, from string, e envelope, rest []byte, body io.Reader) ([]byte, error) {
	h := t.hooks.Load()
	if h == nil {
		return nil, ErrNotReady
	}
	s, err := parseInstall(rest)
	switch {
	case err != nil:
		return nil, err
	case e.Type != typeInstall, !readableConfiguration(s.Configuration):
		return nil, fmt.Errorf("%w: snapshot", ErrMalformed)
	}
	// A sender that sets no deadline gets one.
	ctx, cancel := context.WithTimeout(ctx, InstallTimeout+link.Deadline(s.Size))
	defer cancel()
	if err := t.takeTurn(ctx); err != nil {
		return nil, err
	}
	if term := h.Term(); s.Term >= term && holds(h, s.LastLogIndex, s.LastLogTerm) {
		t.passTurn(nil)
		if err := drain(body, s.Size); err != nil {
			return nil, err
		}
		return appendVerdict(ok(), term, true), nil
	}
	id := header(from, e)
	s.RPCHeader, s.Leader = id, id.Addr
	answer, err := t.hand(ctx, s, io.LimitReader(body, s.Size+1))
	if err != nil {
		return nil, err
	}
	resp, good := answer.(*raft.InstallSnapshotResponse)
	if !good {
		return nil, fmt.Errorf("transport: raft answered %T", answer)
	}
	return appendVerdict(ok(), resp.Term, resp.Success), nil
}

// holds tells whether everything up to (index, term) is here already, in the snapshot or in the
// log (W11): installing would take the state back, or throw away acknowledged entries after it.
func holds(h *Hooks, index, term uint64) bool {
	local, _ := localSnapshot(h)
	return index <= local || h.HasEntry(index, term)
}

// drain reads a body to its end.
func drain(body io.Reader, size int64) error {
	n, err := io.Copy(io.Discard, io.LimitReader(body, size+1))
	if err != nil {
		return fmt.Errorf("transport: receive snapshot: %w", err)
	}
	if n != size {
		return fmt.Errorf("%w: %d instead of %d bytes", ErrSnapshotSize, n, size)
	}
	return nil
}
