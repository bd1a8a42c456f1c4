// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode/logstore"
	"github.com/kvorum/kvorum/snapshots"
)

// keyCurrentTerm is raft's key for the term in its stable store.
const keyCurrentTerm = "CurrentTerm"

func replicaDir(group uint32, replica uint64) string { return fmt.Sprintf("%d-%d", group, replica) }

// claim keeps other lifecycle calls away from a group until the returned function is called.
func (n *Node) claim(group uint32) (release func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.mu.closed:
		return nil, ErrClosed
	case n.mu.busy[group]:
		return nil, ErrExists
	}
	n.mu.busy[group] = true
	n.starts.Add(1)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.mu.busy, group)
		n.starts.Done()
	}, nil
}

// publish adds or, with a nil g, removes a running group.
func (n *Node) publish(group uint32, g *Group) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := &groupTable{byID: make(map[uint32]*Group)}
	for _, have := range n.running() {
		if have.id != group {
			next.byID[have.id] = have
			next.list = append(next.list, have)
		}
	}
	if g != nil {
		next.byID[group] = g
		next.list = append(next.list, g)
		slices.SortFunc(next.list, func(a, b *Group) int { return int(int64(a.id) - int64(b.id)) })
	}
	n.table.Store(next)
	for _, have := range next.list {
		have.logs.SetTailBytes(n.tailShare(len(next.list)))
	}
}

// StartGroup starts a replica, new or from its files, and records it. The machine's state is loaded
// from the newest snapshot when it returns; the log behind it is applied as the group learns what is
// committed.
func (n *Node) StartGroup(cfg GroupConfig) (*Group, error) {
	g, err := n.startGroup(cfg)
	if err != nil {
		return nil, fmt.Errorf("raftnode: start group %d: %w", cfg.Group, advise(err))
	}
	return g, nil
}

// advise adds to an error about lost data what to do, unless it says so already.
func advise(err error) error {
	if _, said := errors.AsType[*logstore.DamageError](err); said || !errors.Is(err, ErrDataLost) {
		return err
	}
	return fmt.Errorf("%w; %s", err, logstore.Advice)
}

func (n *Node) startGroup(cfg GroupConfig) (*Group, error) {
	if cfg.Machine == nil || cfg.Replica == 0 {
		return nil, errors.New("a machine and a replica number from 1 are required")
	}
	if id, _ := n.Cluster(); id == "" {
		return nil, errors.New("the node belongs to no cluster yet")
	}
	release, err := n.claim(cfg.Group)
	if err != nil {
		return nil, err
	}
	defer release()
	if _, ok := n.Group(cfg.Group); ok {
		return nil, ErrExists
	}
	record, known := n.cat.group(cfg.Group)
	switch {
	case known && record.Replica != cfg.Replica:
		return nil, fmt.Errorf("%w: it is recorded as replica %d", ErrExists, record.Replica)
	case !known || cfg.Bootstrap && !record.Founder:
		record.Replica, record.Founder = cfg.Replica, cfg.Bootstrap
		if err := n.cat.putGroup(cfg.Group, record); err != nil {
			return nil, err
		}
	}
	g := n.newGroup(cfg)
	if err := g.open(record); err != nil {
		return nil, err
	}
	if err := g.startInstance(); err != nil {
		return nil, errors.Join(err, g.stores.close())
	}
	n.publish(cfg.Group, g)
	return g, nil
}

func (n *Node) newGroup(cfg GroupConfig) *Group {
	if m, ok := cfg.Machine.(interface{ Table() *fsm.Table }); ok && cfg.Grows == nil {
		cfg.Grows = growsBy(m.Table())
	}
	g := &Group{
		n: n, id: cfg.Group, replica: cfg.Replica, self: serverID(n.cat.id, cfg.Replica),
		cfg: cfg, machine: cfg.Machine,
		dir:  path.Join(n.cfg.Dir, groupsName, replicaDir(cfg.Group, cfg.Replica)),
		log:  n.log.With("group", cfg.Group),
		turn: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	g.prop.g, g.prop.kick, g.prop.clock.wall = g, make(chan struct{}, 1), n.h.Wall
	g.fence.g, g.applier.g, g.applier.subs = g, g, []*fsm.Sub{}
	return g
}

// open opens a replica's stores and, for a founder, writes its first entry.
func (g *Group) open(record catalogRecord) error {
	if err := g.n.h.FS.MkdirAll(g.dir, 0o700); err != nil {
		return err
	}
	dir, err := snapshots.OpenDir(g.n.h.FS, path.Join(g.dir, snapshotsName), g.n.cfg.SnapshotRetain)
	if err != nil {
		return err
	}
	dir.Pause(func() bool { return g.pause(removePause) })
	g.snaps = &snapStore{g: g, dir: dir, turn: make(chan struct{}, 1)}
	if err := g.snaps.load(); err != nil {
		return err
	}
	if g.stores, err = g.openStores(record.Started); err != nil {
		return err
	}
	if wrap := g.n.cfg.wrapStores; wrap != nil {
		g.stores = wrap(g, g.stores)
	}
	g.logs = &meter{Store: g.stores.logs, n: g.n, g: g}
	snapshot, _ := g.snaps.local()
	if err := g.found(record, snapshot); err != nil {
		return errors.Join(err, g.stores.close())
	}
	return nil
}

// found writes a founder's first entry, itself as the only voter, and notes that the replica has been
// started. The entry is written exactly once: the catalogue remembers it, and a log that is empty later
// means lost data. A crash between the steps leaves nothing that the next call does not write over;
// nobody has voted or heard of the group before the entry is there.
func (g *Group) found(record catalogRecord, snapshot uint64) error {
	if !record.Founder {
		if record.Started {
			return nil
		}
		record.Started = true
		return g.n.cat.putGroup(g.id, record)
	}
	last, err := g.logs.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	empty := last == 0 && snapshot == 0
	if record.Started {
		if empty {
			return fmt.Errorf("%w: this founder's log is empty", ErrDataLost)
		}
		return nil
	}
	if empty {
		if err := g.stores.stable.SetUint64([]byte(keyCurrentTerm), 1); err != nil {
			return fmt.Errorf("found: %w", err)
		}
		entry := &raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(
			raft.Configuration{Servers: []raft.Server{{
				Suffrage: raft.Voter, ID: g.self, Address: raft.ServerAddress(g.self),
			}}})}
		if err := g.logs.StoreLog(entry); err != nil {
			return fmt.Errorf("found: %w", err)
		}
	}
	record.Started = true
	return g.n.cat.putGroup(g.id, record)
}

// StopGroup stops a replica and keeps its files.
func (n *Node) StopGroup(group uint32) error {
	release, err := n.claim(group)
	if err != nil {
		return fmt.Errorf("raftnode: stop group %d: %w", group, err)
	}
	defer release()
	return n.stopGroup(group)
}

func (n *Node) stopGroup(group uint32) error {
	g, ok := n.Group(group)
	if !ok {
		return ErrNoGroup
	}
	err := g.stop()
	n.publish(group, nil)
	if err != nil {
		return fmt.Errorf("raftnode: stop group %d: %w", group, err)
	}
	return nil
}

// RemoveGroup stops a replica and deletes its record, then its files. What a crash leaves of the
// files goes at the next Open.
func (n *Node) RemoveGroup(group uint32) error {
	release, err := n.claim(group)
	if err != nil {
		return fmt.Errorf("raftnode: remove group %d: %w", group, err)
	}
	defer release()
	record, known := n.cat.group(group)
	if err := n.stopGroup(group); err != nil && !errors.Is(err, ErrNoGroup) {
		return err
	}
	if !known {
		return ErrNoGroup
	}
	if err := n.cat.dropGroup(group); err != nil {
		return fmt.Errorf("raftnode: remove group %d: %w", group, err)
	}
	dir := path.Join(n.cfg.Dir, groupsName, replicaDir(group, record.Replica))
	if err := n.h.FS.RemoveAll(dir); err != nil {
		return fmt.Errorf("raftnode: remove group %d: %w", group, err)
	}
	return nil
}

// hasEntry tells whether the log holds an entry with this term.
func (g *Group) hasEntry(index, term uint64) bool {
	var l raft.Log
	return g.logs.GetLog(index, &l) == nil && l.Term == term
}
