// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/kvorum/kvorum/raftnode"
)

// Keys in the node's catalogue.
const (
	metaIdentity   = "shard/cluster"
	metaGonePrefix = "shard/gone/"
)

// phase is how far a node has come in its one life in one cluster. It only moves down this list.
type phase string

const (
	// phaseBlank: no cluster; nothing is stored.
	phaseBlank phase = ""
	// phaseFounding: this node founds a cluster and has not seen it founded.
	phaseFounding phase = "founding"
	// phaseMember: this node is, or was when it last knew, a member.
	phaseMember phase = "member"
	// phaseLeft: this node is a member no more.
	phaseLeft phase = "left"
)

// identity is what a node must know before it can hear from its cluster. It is stored as one value,
// so that a crash leaves the old one or the new one.
type identity struct {
	Phase     phase  `json:"phase"`
	ClusterID string `json:"clusterId"`
	HashKey   []byte `json:"hashKey"`
	// Settings are those of a cluster being founded.
	Settings *Settings `json:"settings,omitempty"`
	// Control is this node's replica number in the control group.
	Control uint64 `json:"control"`
	// Peers are the members' peer addresses at Revision, for the time before the View is here.
	Peers    map[string]string `json:"peers,omitempty"`
	Revision uint64            `json:"revision"`
}

func loadIdentity(rn *raftnode.Node) (*identity, error) {
	raw, err := rn.GetMeta(metaIdentity)
	if err != nil {
		return nil, fmt.Errorf("shard: read identity: %w", err)
	}
	id := new(identity)
	if raw == nil {
		return id, nil
	}
	if err := json.Unmarshal(raw, id); err != nil {
		return nil, fmt.Errorf("shard: read identity: %w", err)
	}
	if id.Phase == phaseLeft {
		return id, nil
	}
	if len(id.HashKey) != 16 || id.ClusterID == "" || id.Control == 0 {
		return nil, fmt.Errorf("shard: read identity: it is incomplete: %s", raw)
	}
	return id, nil
}

func (id *identity) save(rn *raftnode.Node) error {
	raw, err := json.Marshal(id)
	if err == nil {
		err = rn.PutMeta(metaIdentity, raw)
	}
	if err != nil {
		return fmt.Errorf("shard: save identity: %w", err)
	}
	return nil
}

// loadGone returns the highest replica number that this node deleted of each of the groups.
func loadGone(rn *raftnode.Node, groups []GroupInfo) (map[uint32]uint64, error) {
	gone := make(map[uint32]uint64, len(groups))
	for _, g := range groups {
		raw, err := rn.GetMeta(goneKey(g.ID))
		if err != nil {
			return nil, fmt.Errorf("shard: read tombstone: %w", err)
		}
		if raw == nil {
			continue
		}
		number, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("shard: read tombstone of group %d: %w", g.ID, err)
		}
		gone[g.ID] = number
	}
	return gone, nil
}

func goneKey(group uint32) string { return metaGonePrefix + strconv.FormatUint(uint64(group), 10) }
