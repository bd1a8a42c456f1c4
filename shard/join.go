// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

const (
	// joinWait bounds one member's answer to a join.
	joinWait = 8 * time.Second
	// joinRounds is how often all members are tried when none answers.
	joinRounds = 3
	// joinPause lies between two rounds.
	joinPause = 500 * time.Millisecond
)

// Init founds a cluster with this node as its first. It returns when every slot can be written; when
// ctx ends before that, the founding goes on by itself.
func (n *Node) Init(ctx context.Context, o InitOptions) error {
	settings, err := o.settings()
	if err != nil {
		return fmt.Errorf("shard: init: %w", err)
	}
	if err := n.claim(); err != nil {
		return fmt.Errorf("shard: init: %w", err)
	}
	defer n.unclaim()
	var random [32]byte
	if _, err := io.ReadFull(n.h.Rand, random[:]); err != nil {
		return fmt.Errorf("shard: init: %w", err)
	}
	id := &identity{
		Phase: phaseFounding, ClusterID: hex.EncodeToString(random[:16]), HashKey: random[16:],
		Settings: &settings, Control: 1,
	}
	if err := n.begin(id); err != nil {
		return fmt.Errorf("shard: init: %w", err)
	}
	select {
	case err := <-n.founding(id):
		if err != nil {
			return fmt.Errorf("shard: init: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("shard: init: not done yet, it goes on: %w", context.Cause(ctx))
	}
	return nil
}

// founding ends the founding of a cluster in the background; the channel gets the outcome.
func (n *Node) founding(id *identity) <-chan error {
	done := make(chan error, 1)
	ok := n.spawn(func() {
		err := n.found(n.ctx, id)
		if err != nil && n.ctx.Err() == nil {
			n.log.Error("founding the cluster failed", "error", err)
		}
		done <- err
	})
	if !ok {
		done <- ErrClosing
	}
	return done
}

// begin stores who the node now is, which is the moment it becomes that, and starts its replica of
// the control group and the agent.
func (n *Node) begin(id *identity) error {
	if err := id.save(n.rn); err != nil {
		return err
	}
	n.book.Store(id)
	if err := n.startControl(id); err != nil {
		return err
	}
	n.startAgent()
	n.kick()
	return nil
}

// found gets the cluster of a founding node founded: DESIGN.md §3, from step 3 on.
func (n *Node) found(ctx context.Context, id *identity) error {
	cmd := controlCommand(&cmdFound{
		ClusterID: id.ClusterID, HashKey: id.HashKey, ClusterVersion: fsm.MaxClusterVersion,
		Settings: *id.Settings, Node: n.self(), Slots: firstSlots(id.Settings.Groups),
	})
	for pause := retryMin; n.View() == nil; pause = min(2*pause, retryMax) {
		_, err := n.proposeHere(ctx, cmd)
		if err == nil {
			break
		}
		if errors.Is(err, ErrRefused) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
	member := *id
	member.Phase, member.Settings = phaseMember, nil
	member.Peers, member.Revision = map[string]string{n.ID(): n.self().Addrs["peer"]}, 1
	if err := member.save(n.rn); err != nil {
		return err
	}
	n.book.Store(&member)
	n.kick()
	return n.replicasMoved.until(ctx, n.serving)
}

// firstSlots spreads all slots over groups 1 … n of equal weight.
func firstSlots(groups int) []slotRun {
	equal := make([]weightedGroup, groups)
	for i := range equal {
		equal[i] = weightedGroup{ID: uint32(i + 1), Weight: 1}
	}
	table := [SlotCount]uint32(*planSlots(new(slotTable), equal))
	return slotRuns(&table)
}

// serving tells whether this node leads every data group and each owns its slots.
func (n *Node) serving() bool {
	v := n.View()
	if v == nil {
		return false
	}
	for i := range v.Groups {
		if v.Groups[i].ID == controlGroup {
			continue
		}
		if r := n.local(v.Groups[i].ID); r == nil || r.serving.Load() != v.Epoch {
			return false
		}
	}
	return n.router.SlotMap() != nil
}

// joinRequest and joinAnswer travel over raftnode.ClassJoin, the answer inside a linkReply.
type (
	joinRequest struct {
		Node NodeInfo `json:"node"`
		// MaxVersion is the highest cluster version that the joining program knows.
		MaxVersion uint32 `json:"maxVersion"`
	}
	joinAnswer struct {
		ClusterID string            `json:"clusterId"`
		HashKey   []byte            `json:"hashKey"`
		Control   uint64            `json:"control"`
		Peers     map[string]string `json:"peers"`
		Revision  uint64            `json:"revision"`
	}
)

// Join makes this node a member of the cluster that one of members belongs to. It returns when this
// node has caught up with the control group. Replicas of data groups arrive later. When it fails
// after the node became a member, with ctx's error, the node goes on joining by itself.
func (n *Node) Join(ctx context.Context, members []string) error {
	if err := n.claim(); err != nil {
		return fmt.Errorf("shard: join: %w", err)
	}
	defer n.unclaim()
	if len(members) == 0 {
		return fmt.Errorf("shard: join: %w: no member was named", ErrUnreachable)
	}
	answer, err := n.askToJoin(ctx, members)
	if err != nil {
		return fmt.Errorf("shard: join: %w", err)
	}
	if len(answer.HashKey) != 16 || answer.ClusterID == "" || answer.Control == 0 {
		return fmt.Errorf("shard: join: %w: the member's answer is incomplete", ErrRefused)
	}
	id := &identity{
		Phase: phaseMember, ClusterID: answer.ClusterID, HashKey: answer.HashKey,
		Control: answer.Control, Peers: answer.Peers, Revision: answer.Revision,
	}
	if err := n.begin(id); err != nil {
		return fmt.Errorf("shard: join: %w", err)
	}
	if err := n.waitRevision(ctx, answer.Revision); err != nil {
		return fmt.Errorf("shard: join: member of cluster %s, not caught up yet: %w", id.ClusterID, err)
	}
	n.log.Info("joined", "cluster", id.ClusterID, "replica", id.Control)
	return nil
}

// askToJoin asks the members in turn, in a few rounds, until one says yes or the cluster says no.
func (n *Node) askToJoin(ctx context.Context, members []string) (*joinAnswer, error) {
	var last error
	for round := range joinRounds {
		if round > 0 {
			select {
			case <-time.After(joinPause):
			case <-ctx.Done():
				return nil, last
			}
		}
		var errs []error
		for _, m := range members {
			answer, err := n.askMember(ctx, m)
			if err == nil {
				return answer, nil
			}
			if errors.Is(err, ErrRefused) || errors.Is(err, ErrVersion) || errors.Is(err, ErrLeft) {
				return nil, err
			}
			errs = append(errs, fmt.Errorf("%s: %w", m, err))
		}
		last = errors.Join(errs...)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

// askMember asks one member, at its peer address or at one that ResolvePeer understands.
func (n *Node) askMember(ctx context.Context, addr string) (*joinAnswer, error) {
	answer, err := n.askPeerToJoin(ctx, addr)
	if !errors.Is(err, ErrUnreachable) || n.cfg.ResolvePeer == nil {
		return answer, err
	}
	resolve, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	peer, rerr := n.cfg.ResolvePeer(resolve, addr)
	if rerr != nil {
		return nil, fmt.Errorf("%w; as a client address: %w", err, rerr)
	}
	return n.askPeerToJoin(ctx, peer)
}

func (n *Node) askPeerToJoin(ctx context.Context, addr string) (*joinAnswer, error) {
	req, err := json.Marshal(joinRequest{Node: n.self(), MaxVersion: fsm.MaxClusterVersion})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	raw, err := n.rn.CallAddr(ctx, addr, raftnode.ClassJoin, req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	answer := new(joinAnswer)
	err = decodeReply(raw, answer)
	if errors.Is(err, ErrUninitialised) {
		return nil, ErrMemberUninitialised
	}
	return answer, err
}

// handleJoin lets a node in, through the control group's leader.
func (n *Node) handleJoin(ctx context.Context, from string, raw []byte) ([]byte, error) {
	var req joinRequest
	if err := json.Unmarshal(raw, &req); err != nil {
		return nil, fmt.Errorf("shard: bad join request: %w", err)
	}
	answer, err := n.admit(ctx, from, &req)
	return encodeReply(answer, err, "")
}

func (n *Node) admit(ctx context.Context, from string, req *joinRequest) (*joinAnswer, error) {
	v := n.View()
	switch {
	case n.book.Load().Phase == phaseLeft:
		return nil, fmt.Errorf("%w: the member asked has left its cluster", ErrLeft)
	case v == nil:
		return nil, ErrUninitialised
	case from != req.Node.ID:
		return nil, fmt.Errorf("%w: node %s asks for node %s", ErrRefused, from, req.Node.ID)
	case req.MaxVersion < v.ClusterVersion:
		return nil, fmt.Errorf("%w: the cluster is at version %d, the joining node knows up to %d", ErrVersion, v.ClusterVersion, req.MaxVersion)
	}
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	rev, err := n.propose(ctx, &cmdAddNode{Node: req.Node})
	if err != nil {
		return nil, err
	}
	v = n.View()
	g, _ := v.Group(controlGroup)
	r, ok := g.replicaOn(req.Node.ID)
	if !ok {
		return nil, fmt.Errorf("%w: node %s was removed meanwhile", ErrRefused, req.Node.ID)
	}
	a := &joinAnswer{
		ClusterID: v.ClusterID, HashKey: v.HashKey[:], Control: r.Number,
		Peers: make(map[string]string, len(v.Nodes)), Revision: rev,
	}
	for _, node := range v.Nodes {
		a.Peers[node.ID] = node.Addrs["peer"]
	}
	return a, nil
}
