// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/logstore"
)

// Names in a replica's folder.
const (
	snapshotsName = "snapshots"
	walName       = "wal"
	boltName      = "bolt"
	voteName      = "vote"
)

// stores are the files of one replica: its log, and its term and vote.
type stores struct {
	logs   logstore.Store
	stable raft.StableStore
	close  func() error
}

// minTailBytes is what every group may hold of its newest entries however many groups there are: more
// than is outstanding in a group at a time.
const minTailBytes = 1 << 20

// tailShare is each group's part of the node's memory for newest entries.
func (n *Node) tailShare(groups int) int64 {
	return max(minTailBytes, n.cfg.LogTailBytes/int64(max(1, groups)))
}

// openStores opens a replica's files. One that was here before must still have its log, or it has
// forgotten what it acknowledged, and its vote, or it could vote twice in a term.
func (g *Group) openStores(startedBefore bool) (stores, error) {
	var s stores
	var err error
	if err := g.checkLogStore(); err != nil {
		return stores{}, err
	}
	opts := logstore.Options{
		SegmentBytes: g.n.cfg.SegmentBytes, TailBytes: g.n.tailShare(len(g.n.running()) + 1), MustExist: startedBefore,
		Fatal: g.n.fatal, Logger: g.log, Rand: g.n.h.Rand,
	}
	switch g.n.cfg.LogStore {
	case LogStoreBolt:
		s.logs, err = logstore.OpenBolt(path.Join(g.dir, boltName), opts)
	default:
		s.logs, err = logstore.OpenWAL(g.n.h.FS, path.Join(g.dir, walName), opts)
	}
	if _, ok := errors.AsType[*logstore.DamageError](err); ok {
		err = fmt.Errorf("%w: %w", ErrDataLost, err)
	}
	if err != nil {
		return stores{}, err
	}
	vote := []logstore.VoteOption{logstore.OnFatal(g.n.fatal)}
	if startedBefore {
		vote = append(vote, logstore.MustExist())
	}
	stable, err := logstore.OpenVoteFile(g.n.h.FS, path.Join(g.dir, voteName), g.n.cat.id, vote...)
	if errors.Is(err, logstore.ErrVoteMissing) {
		err = fmt.Errorf("%w: %w", ErrDataLost, err)
	}
	if err != nil {
		return stores{}, errors.Join(err, s.logs.Close())
	}
	s.stable = stable
	s.close = func() error { return errors.Join(stable.Close(), s.logs.Close()) }
	return s, nil
}

// checkLogStore refuses to open an empty log of one kind beside the log of the other kind: the replica
// would have forgotten what it acknowledged.
func (g *Group) checkLogStore() error {
	other, name := LogStoreWAL, walName
	if g.n.cfg.LogStore == LogStoreWAL {
		other, name = LogStoreBolt, boltName
	}
	_, err := g.n.h.FS.Stat(path.Join(g.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s has a log in %q, and the node was started with %q", ErrLogStore, g.dir, other, g.n.cfg.LogStore)
}
