// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/logstore"
)

const (
	// defaultChangeWait bounds a membership change whose context has no deadline.
	defaultChangeWait = 10 * time.Second
	// transferSlack is how many entries the target of a transfer may be behind.
	transferSlack = 64
)

// AddNonvoter adds a replica that receives the log and has no vote. prevIndex, when not 0, must be
// the index of the present membership (GroupStatus.ConfigIndex). Leader only, as all changes.
func (g *Group) AddNonvoter(ctx context.Context, node string, replica, prevIndex uint64) error {
	return g.change(ctx, "add nonvoter", node, replica, func(r *raft.Raft, id raft.ServerID, wait time.Duration) raft.Future {
		return r.AddNonvoter(id, raft.ServerAddress(id), prevIndex, wait)
	})
}

// Promote gives a nonvoter its vote; the caller has made sure that it is caught up.
func (g *Group) Promote(ctx context.Context, node string, replica, prevIndex uint64) error {
	return g.change(ctx, "promote", node, replica, func(r *raft.Raft, id raft.ServerID, wait time.Duration) raft.Future {
		return r.AddVoter(id, raft.ServerAddress(id), prevIndex, wait)
	})
}

// Demote takes a voter's vote.
func (g *Group) Demote(ctx context.Context, node string, replica, prevIndex uint64) error {
	return g.change(ctx, "demote", node, replica, func(r *raft.Raft, id raft.ServerID, wait time.Duration) raft.Future {
		return r.DemoteVoter(id, prevIndex, wait)
	})
}

// Remove removes a replica.
func (g *Group) Remove(ctx context.Context, node string, replica, prevIndex uint64) error {
	return g.change(ctx, "remove", node, replica, func(r *raft.Raft, id raft.ServerID, wait time.Duration) raft.Future {
		return r.RemoveServer(id, prevIndex, wait)
	})
}

// change runs one membership change. A nil error means committed; ErrUnknown that it may be in a log.
func (g *Group) change(ctx context.Context, op, node string, replica uint64,
	f func(*raft.Raft, raft.ServerID, time.Duration) raft.Future,
) error {
	wait := defaultChangeWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = time.Until(deadline)
	}
	if wait <= 0 || ctx.Err() != nil {
		return fmt.Errorf("raftnode: %s: %w", op, ErrTimeout)
	}
	if node == "" || strings.Contains(node, "/") {
		return fmt.Errorf("raftnode: %s: bad node id %q", op, node)
	}
	err := g.await(ctx, func(in *instance) error {
		future := f(in.raft, serverID(node, replica), wait)
		bindShutdown(future, in.dead)
		return g.changeError(future.Error())
	})
	if err != nil {
		return fmt.Errorf("raftnode: %s %s/%d: %w", op, node, replica, err)
	}
	return nil
}

func (g *Group) changeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader{Hint: g.Leader()}
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrTransferring
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrTimeout
	case strings.HasPrefix(err.Error(), "configuration changed since"):
		return ErrConfigChanged
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, logstore.ErrPoisoned):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// await runs f, which waits for raft, on a goroutine of the group and waits for it or for ctx. f goes
// on when ctx ends: it ends with the instance at the latest.
func (g *Group) await(ctx context.Context, f func(in *instance) error) error {
	done := make(chan error, 1)
	in := g.inst.Load()
	if in == nil || !in.enter() {
		return ErrClosed
	}
	go func() {
		defer in.leave()
		done <- f(in)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
	}
}

// Transfer hands leadership to a voter on node. The target must be live and caught up, and is tried
// once per term: a message of an earlier try may still be on its way. While a transfer is on, Subs
// wait in the queue. A nil error means that this replica no longer leads.
func (g *Group) Transfer(ctx context.Context, node string) error {
	target, err := g.transferTarget(ctx, node)
	if err == nil {
		err = g.await(ctx, func(in *instance) error { return g.transfer(in, target) })
	}
	if err != nil {
		return fmt.Errorf("raftnode: transfer to %s: %w", node, err)
	}
	return nil
}

func (g *Group) transfer(in *instance, target raft.ServerID) error {
	g.prop.hold(true)
	defer g.prop.hold(false)
	f := in.raft.LeadershipTransferToServer(target, raft.ServerAddress(target))
	bindShutdown(f, in.dead)
	switch err := f.Error(); {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader{Hint: g.Leader()}
	default:
		return fmt.Errorf("%w: %w", ErrTransferring, err)
	}
}

// transferTarget finds the voter on node, asks it how far it is, and marks it as tried in this term
// (W12).
func (g *Group) transferTarget(ctx context.Context, node string) (raft.ServerID, error) {
	in, term, err := g.leadingTerm()
	if err != nil {
		return "", err
	}
	var replica uint64
	found := false
	for _, s := range in.servers() {
		if at, number, ok := splitServerID(s.ID); ok && at == node && s.Suffrage == raft.Voter && s.ID != g.self {
			replica, found = number, true
		}
	}
	if !found {
		return "", fmt.Errorf("%w: no other voter there", ErrNotCaughtUp)
	}
	id := serverID(node, replica)
	a, err := g.askPeer(ctx, node, replica)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotCaughtUp, err)
	}
	if a.term != term || a.state != stateLed || a.lastLog+transferSlack < in.raft.LastIndex() {
		return "", fmt.Errorf("%w: it is at term %d, entry %d", ErrNotCaughtUp, a.term, a.lastLog)
	}
	g.transfers.Lock()
	defer g.transfers.Unlock()
	if g.transfers.term != term {
		g.transfers.term, g.transfers.tried = term, make(map[raft.ServerID]bool)
	}
	if g.transfers.tried[id] {
		return "", fmt.Errorf("%w: tried in term %d already", ErrNotCaughtUp, term)
	}
	g.transfers.tried[id] = true
	return id, nil
}

// askPeer asks one replica about itself, now.
func (g *Group) askPeer(ctx context.Context, node string, replica uint64) (peerAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, g.n.cfg.Heartbeat)
	defer cancel()
	reply, err := g.n.call(ctx, node, appendTermCheck(nil, []question{{g: g, replica: replica}}))
	if err == nil {
		err = checkReply(reply, 1)
	}
	if err != nil {
		return peerAnswer{}, err
	}
	a := parseAnswer(reply[2:])
	if !a.ok() {
		return peerAnswer{}, errors.New("no such replica runs there")
	}
	return a, nil
}
