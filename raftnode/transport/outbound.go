// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/link"
)

const (
	// MaxAppendBytes bounds the entries of one append (W10); a single larger entry goes alone.
	MaxAppendBytes = 1 << 20
	// InstallTimeout is allowed for a snapshot beside the time its size needs: the other side
	// verifies, stores and loads it.
	InstallTimeout = 30 * time.Second

	copyBuffer = 256 << 10
)

// AppendEntries implements raft.Transport. It cuts args.Entries (W10) and lowers
// args.LeaderCommitIndex (W2) in place: raft reads args again to learn what was acknowledged. A
// failed append returns when another try makes sense (W13).
func (t *Transport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if isHeartbeat(args) {
		err := t.append(id, args, resp)
		if err == nil {
			t.answers.heard(id)
		}
		return err
	}
	answered := t.answers.next(id)
	err := t.append(id, args, resp)
	if err != nil {
		t.wait(args.Term, answered)
	}
	return err
}

// append makes one round trip, unless it was begun ahead (W16).
func (t *Transport) append(id raft.ServerID, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.mux.diskOverdue() {
		return ErrDiskOverdue
	}
	if err := checkEntries(args); err != nil {
		return err
	}
	cutEntries(args)
	clampCommit(args)
	if a := t.ahead.take(id, args); a != nil {
		if err := t.await(a, args, resp); err != nil {
			return err
		}
	} else if err := t.exchange(id, args, resp); err != nil {
		return err
	}
	vouched := uint64(0)
	if args.PrevLogEntry > 0 || len(args.Entries) > 0 {
		vouched = lastVouched(args)
	}
	t.progress.note(id, args.Term, vouched, resp)
	return nil
}

// exchange sends an append and takes its answer.
func (t *Transport) exchange(id raft.ServerID, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	node, head, err := t.head(typeAppend, id, args.RPCHeader, appendHeadSize(args))
	if err != nil {
		return err
	}
	reply, err := t.call(node, appendAppend(head, args))
	if err != nil {
		return err
	}
	return parseAppendReply(reply, resp)
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	node, head, err := t.head(typeVote, id, args.RPCHeader, 40)
	if err != nil {
		return err
	}
	reply, err := t.call(node, [][]byte{appendVote(head, args)})
	if err != nil {
		return err
	}
	resp.Term, resp.Granted, err = parseVerdict(reply)
	return err
}

// RequestPreVote implements raft.WithPreVote. raft takes an error for a yes if its text says that
// the command is unexpected, so no remote text is in this one's.
func (t *Transport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	node, head, err := t.head(typePreVote, id, args.RPCHeader, 40)
	if err != nil {
		return err
	}
	reply, err := t.call(node, [][]byte{appendPreVote(head, args)})
	if errors.Is(err, ErrRemote) {
		return ErrRemote
	}
	if err != nil {
		return err
	}
	resp.Term, resp.Granted, err = parseVerdict(reply)
	return err
}

// TimeoutNow implements raft.Transport. The order goes out only while this replica leads, and
// carries its term (W3).
func (t *Transport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, args *raft.TimeoutNowRequest, _ *raft.TimeoutNowResponse) error {
	h := t.hooks.Load()
	if h == nil {
		return ErrNotReady
	}
	term := h.Term()
	if h.Leader() != t.self || h.Term() != term {
		return ErrStaleTransfer
	}
	node, head, err := t.head(typeTimeoutNow, id, args.RPCHeader, 10)
	if err != nil {
		return err
	}
	_, err = t.call(node, [][]byte{appendTimeoutNow(head, term)})
	return err
}

// InstallSnapshot implements raft.Transport.
func (t *Transport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if t.mux.diskOverdue() {
		return ErrDiskOverdue
	}
	node, head, err := t.head(typeInstall, id, args.RPCHeader, 64+len(args.Configuration))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.ctx, InstallTimeout+link.Deadline(args.Size))
	defer cancel()
	s, err := t.mux.cfg.Link.OpenStream(ctx, node, link.ClassBulk, appendInstall(head, args))
	if err != nil {
		return err
	}
	defer s.Cancel()
	n, err := io.CopyBuffer(writerOnly{s}, io.LimitReader(data, args.Size), make([]byte, copyBuffer))
	switch {
	case errors.Is(err, link.ErrAnswered):
	case err != nil:
		return fmt.Errorf("transport: send snapshot: %w", err)
	case n != args.Size:
		return fmt.Errorf("%w: %d instead of %d bytes", ErrSnapshotSize, n, args.Size)
	}
	reply, err := s.Finish()
	if err != nil {
		return err
	}
	if reply, err = opened(reply); err != nil {
		return err
	}
	resp.Term, resp.Success, err = parseVerdict(reply)
	return err
}

// writerOnly hides everything but Write, so that io.CopyBuffer uses its buffer.
type writerOnly struct{ io.Writer }

// head begins a message to the replica id; room is for what the caller appends.
func (t *Transport) head(typ byte, id raft.ServerID, h raft.RPCHeader, room int) (node string, head []byte, err error) {
	if t.ctx.Err() != nil {
		return "", nil, ErrClosed
	}
	node, replica, err := ParseServerID(id)
	if err != nil {
		return "", nil, err
	}
	head = appendEnvelope(make([]byte, 0, envelopeSize+room), envelope{
		Type: typ, Group: t.group, From: t.replica, To: replica, Protocol: byte(h.ProtocolVersion),
	})
	return node, head, nil
}

// call makes one round trip and returns what follows a good status.
func (t *Transport) call(node string, parts [][]byte) ([]byte, error) {
	var reply []byte
	var err error
	if len(parts) == 1 {
		reply, err = t.mux.cfg.Link.Call(t.ctx, node, link.ClassRaft, parts[0])
	} else {
		reply, err = t.mux.cfg.Link.CallParts(t.ctx, node, link.ClassRaft, parts)
	}
	if err != nil {
		return nil, err
	}
	return opened(reply)
}

// opened checks the status of a reply.
func opened(reply []byte) ([]byte, error) {
	if len(reply) == 0 {
		return nil, fmt.Errorf("%w: empty reply", ErrMalformed)
	}
	if err := errorOf(reply[0], reply[1:]); err != nil {
		return nil, err
	}
	return reply[1:], nil
}
