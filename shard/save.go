// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

const (
	// leaderPatience is how long a group may be without a leader before a save or restore fails.
	leaderPatience = 2 * time.Minute
	// movedPatience is how long a group may own other slots than the map says: a restore that was dropped
	// is being cleared up.
	movedPatience = 10 * time.Second
	// maxRecaptures bounds the captures of one group that broke off.
	maxRecaptures = 8
)

// Save writes the data of the whole cluster to w, as DESIGN.md §11 says: every write that was acknowledged
// before Save was called is in it, and perhaps later ones. Only with a nil error is what was written a save.
func (n *Node) Save(ctx context.Context, w io.Writer) error {
	h, err := n.takeHold(ctx, HoldSave)
	if err != nil {
		return fmt.Errorf("shard: save: %w", err)
	}
	err = n.save(h.ctx, w)
	if lost := context.Cause(h.ctx); lost != nil {
		err = lost // whatever failed, failed for this
	}
	if released := h.release(false); released != nil {
		n.log.Warn("hold not released", "hold", h.id, "error", released)
	}
	if err != nil {
		return fmt.Errorf("shard: save: %w", err)
	}
	return nil
}

// owners gives the slots of each group that has some, and the groups in ascending order.
func (v *View) owners() (map[uint32]*fsm.Cover, []uint32) {
	covers := make(map[uint32]*fsm.Cover)
	var groups []uint32
	for slot, g := range v.Slots {
		c := covers[g]
		if c == nil {
			c = new(fsm.Cover)
			covers[g] = c
			groups = append(groups, g)
		}
		c.Add(uint16(slot))
	}
	slices.Sort(groups)
	return covers, groups
}

func (n *Node) save(ctx context.Context, w io.Writer) error {
	v := n.view.Load()
	covers, groups := v.owners()
	if covers[controlGroup] != nil {
		return fmt.Errorf("%w: some slots have no owner", fsm.ErrSaveMoved)
	}
	settings, err := json.Marshal(&v.Settings)
	if err != nil {
		return err
	}
	sw, err := fsm.NewSaveWriter(w, fsm.SaveHead{
		Cluster: v.ClusterID, ClusterVersion: v.ClusterVersion, Epoch: v.Epoch,
		Created: n.h.Wall.Now().UnixMilli(), Program: n.cfg.Version, Keys: n.aboutKeys(ctx),
		Groups: groups, Settings: settings,
	})
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := n.saveGroup(ctx, sw, g, covers[g]); err != nil {
			return err
		}
	}
	return sw.Close()
}

// aboutKeys is how many keys there are, as far as the nodes that answer know.
func (n *Node) aboutKeys(ctx context.Context) (keys uint64) {
	s, err := n.Status(ctx)
	if err != nil {
		return 0
	}
	for i := range s.Groups {
		keys += s.Groups[i].Keys
	}
	return keys
}

// saveGroup captures a group at its leader and copies it; a copy that breaks off begins anew.
func (n *Node) saveGroup(ctx context.Context, sw *fsm.SaveWriter, group uint32, want *fsm.Cover) error {
	movedUntil := time.Now().Add(movedPatience)
	for try := 1; ; try++ {
		var c io.ReadCloser
		err := n.atLeader(ctx, group, leaderPatience, func(node string) (err error) {
			c, err = n.openCapture(ctx, group, node)
			return err
		})
		if err != nil {
			return err
		}
		err = sw.Group(group, want, c)
		if closed := c.Close(); closed != nil && ctx.Err() == nil {
			n.log.Debug("capture not closed", "group", group, "error", closed)
		}
		switch {
		case err == nil:
			return nil
		case sw.Broken() != nil, ctx.Err() != nil, try >= maxRecaptures:
			return err
		case errors.Is(err, fsm.ErrSaveMoved):
			if time.Now().After(movedUntil) {
				return err
			}
			try = 0
		default:
			n.log.Warn("capture broke off and begins anew", "group", group, "error", err)
		}
		select {
		case <-time.After(retryMax):
		case <-ctx.Done():
		}
	}
}
