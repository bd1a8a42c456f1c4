// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"github.com/hashicorp/raft"
)

// stores are the files of one replica: its log, and its term and vote.
type stores struct {
	logs   raft.LogStore
	stable raft.StableStore
	close  func() error
}

func (g *Group) openStores() error {
	open := g.n.cfg.openStores
	s, err := open(g)
	if err != nil {
		return err
	}
	g.stores = s
	g.logs = &meter{LogStore: s.logs, n: g.n}
	return nil
}
