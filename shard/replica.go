// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// replicaHost starts and ends replicas; *raftnode.Node is one. While it restarts a group in place it
// answers ErrExists for the group, and once it closes, ErrClosed for any.
type replicaHost interface {
	StartGroup(cfg raftnode.GroupConfig) (*raftnode.Group, error)
	StopGroup(group uint32) error
	RemoveGroup(group uint32) error
	// Group returns a running group, Groups lists the recorded ones.
	Group(group uint32) (*raftnode.Group, bool)
	Groups() []raftnode.GroupRecord
}

// replica is a group's replica that runs on this node.
type replica struct {
	id      uint32
	number  uint64
	group   *raftnode.Group
	machine *groupMachine
	// keyspace is nil for the control group.
	keyspace *fsm.Keyspace
	// wake asks the keeper to look.
	wake chan struct{}
	// stop ends the keeper, done is closed when it has ended.
	stop, done chan struct{}
	// bootstrap: this replica founded its group. restart asks the agent to restart it.
	bootstrap bool
	restart   atomic.Bool
	// mark asks the keeper to tell the group its settings once more.
	mark atomic.Bool
	// serving is the epoch at which this replica, leading, has found its group to own all its slots;
	// 0 before that.
	serving atomic.Uint64
}

// ready is nil when the replica knows a leader and has applied what it has.
func (r *replica) ready() error {
	st := r.group.Status()
	if st.Leader.Node == "" {
		return fmt.Errorf("shard: group %d has no leader", r.id)
	}
	if st.Applied+catchUpLag < st.LastLog {
		return fmt.Errorf("shard: group %d has applied %d of %d entries", r.id, st.Applied, st.LastLog)
	}
	return nil
}

// localReplicas lists the running replicas by group.
func (n *Node) localReplicas() []*replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]*replica, 0, len(n.mu.replicas))
	for _, r := range n.mu.replicas {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *replica) int { return cmp.Compare(a.id, b.id) })
	return out
}

// holdings lists what runs here, and what is recorded here and does not run.
func (n *Node) holdings() []heldReplica {
	running := n.localReplicas()
	out := make([]heldReplica, 0, len(running))
	runs := make(map[uint32]bool, len(running))
	for _, r := range running {
		out = append(out, heldReplica{Group: r.id, Number: r.number})
		runs[r.id] = true
	}
	for _, r := range n.host.Groups() {
		if !runs[r.Group] {
			out = append(out, heldReplica{Group: r.Group, Number: r.Replica, Idle: true})
		}
	}
	return out
}

// local returns the running replica of a group, nil when there is none.
func (n *Node) local(group uint32) *replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.replicas[group]
}

// dice draws a number for a read that takes chances.
func (n *Node) dice() uint64 {
	var b [8]byte
	_, _ = io.ReadFull(n.h.Rand, b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// startControl starts this node's replica of the control group.
func (n *Node) startControl(id *identity) error {
	if err := n.rn.SetCluster(id.ClusterID); err != nil {
		return fmt.Errorf("shard: start control group: %w", err)
	}
	return n.startReplica(controlGroup, id.Control, id.Phase == phaseFounding || id.Control == 1)
}

// hashKey is the cluster's.
func (n *Node) hashKey() (key [16]byte) {
	if id := n.book.Load(); id != nil {
		copy(key[:], id.HashKey)
	}
	return key
}

// startReplica starts a replica with its keeper. Callers are ordered: Open, then Init or Join, then
// the agent's moves, one of a group at a time.
func (n *Node) startReplica(group uint32, number uint64, bootstrap bool) error {
	r := &replica{
		id: group, number: number, bootstrap: bootstrap,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	id := n.book.Load()
	opts := fsm.Options{Cluster: id.ClusterID, Group: group, Fatal: n.fatal, Defect: n.defects.tell(n.log), Dice: n.dice}
	if group == controlGroup {
		r.machine = &groupMachine{Machine: fsm.NewMachine(controlTable(), newControlState(n.publish), opts)}
	} else {
		r.keyspace = fsm.NewKeyspace(n.table, fsm.KeyspaceConfig{
			HashKey: n.hashKey(), Memory: n.h.Memory, Waiters: &n.router.route(group).registry,
			Listener: &n.router.notices,
		})
		r.machine = &groupMachine{Machine: fsm.NewMachine(n.table, r.keyspace, opts)}
	}
	g, err := n.host.StartGroup(raftnode.GroupConfig{
		Group: group, Replica: number, Machine: r.machine, Bootstrap: bootstrap,
		Grows: n.grows,
		// 0 before the first View: such an entry asks nothing of its readers.
		ClusterVersion: func() uint32 { return n.view.Load().ClusterVersion },
		Events: raftnode.Events{
			LeaderChanged: func(group uint32, hint raftnode.Hint) {
				if group != controlGroup {
					n.router.leaderChanged(group, hint)
				}
				kick(r.wake)
				n.kick()
			},
			Leading:       func(uint32, bool) { kick(r.wake) },
			ConfigChanged: func(uint32, uint64) { kick(r.wake) },
		},
	})
	if err != nil {
		return fmt.Errorf("shard: start replica %d of group %d: %w", number, group, err)
	}
	r.group = g
	n.mu.Lock()
	n.mu.replicas[group] = r
	n.mu.Unlock()
	if group != controlGroup {
		n.router.attach(group, g)
		n.router.leaderChanged(group, g.Leader())
	}
	if !n.spawn(func() { defer close(r.done); n.keep(r) }) {
		close(r.done)
		return ErrClosing
	}
	return nil
}

// fatal is called when a machine met what it may not skip.
func (n *Node) fatal(err error) {
	n.cfg.Fatal(err) // first: a log that cannot be written does not keep the process
	var where slog.Attr
	if defect, ok := errors.AsType[*fsm.DefectError](err); ok {
		where = slog.String("stack", string(defect.Stack))
	}
	n.log.Error("replica stopped", slog.Any("error", err), where)
}

// grows tells whether a Sub may make data grow. Control commands are small and often free space.
func (n *Node) grows(sub *fsm.Sub) bool {
	body := sub.Body
	for len(body) > 0 {
		cmd, size, err := fsm.ParseCommand(body)
		if err != nil {
			return true
		}
		if n.table.Spec(cmd.Op) != nil && n.table.Grows(&cmd) {
			return true
		}
		body = body[size:]
	}
	return false
}

// passing tells whether a lifecycle call was refused for now, with nothing changed: the group is being
// restarted in place, or the node or its runtime is closing.
func passing(err error) bool {
	return errors.Is(err, raftnode.ErrExists) || errors.Is(err, raftnode.ErrClosed) || errors.Is(err, ErrClosing)
}

// dropReplica stops a replica and deletes its data for good; its number never runs here again. After
// an error the replica runs and is in service, or does neither and may still be recorded.
func (n *Node) dropReplica(group uint32, number uint64) error {
	if err := n.rn.PutMeta(goneKey(group), strconv.AppendUint(nil, number, 10)); err != nil {
		return fmt.Errorf("shard: drop replica %d of group %d: %w", number, group, err)
	}
	err := n.host.RemoveGroup(group)
	n.endStopped(group)
	if err != nil && !errors.Is(err, raftnode.ErrNoGroup) {
		return fmt.Errorf("shard: drop replica %d of group %d: %w", number, group, err)
	}
	n.log.Info("replica deleted", "group", group, "replica", number)
	return nil
}

// endStopped takes a group's replica out of service and joins its keeper, unless the group still runs.
func (n *Node) endStopped(group uint32) (ended bool) {
	r := n.local(group)
	if r == nil {
		return false
	}
	if _, runs := n.host.Group(group); runs {
		return false
	}
	n.mu.Lock()
	delete(n.mu.replicas, r.id)
	n.mu.Unlock()
	if r.id != controlGroup {
		n.router.detach(r.id)
	}
	close(r.stop)
	<-r.done
	return true
}

// restartReplica stops a replica and starts it again from its files. After an error the replica runs
// and is in service and still asks for its restart, or it does not run and is recorded.
func (n *Node) restartReplica(r *replica) error {
	err := n.host.StopGroup(r.id)
	if ended := n.endStopped(r.id); !ended || err != nil && !errors.Is(err, raftnode.ErrNoGroup) {
		return fmt.Errorf("shard: restart replica %d of group %d: %w", r.number, r.id, err)
	}
	return n.startReplica(r.id, r.number, r.bootstrap)
}
