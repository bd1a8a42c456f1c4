// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/kvorum/kvorum/internal/host"
)

// Keys of the catalogue.
const (
	keyNodeID      = "node/id"
	keyIncarnation = "node/incarnation"
	keyClusterID   = "cluster/id"
	keyEpoch       = "cluster/epoch"
	prefixGroup    = "group/"
	prefixMeta     = "meta/"
)

// nodeIDBytes is the length of a node id before it is written in hex.
const nodeIDBytes = 20

// maxMetaBytes bounds a value of PutMeta.
const maxMetaBytes = 1 << 20

// catalogRecord is a GroupRecord as stored.
type catalogRecord struct {
	Replica uint64 `json:"replica"`
	Founder bool   `json:"founder,omitempty"`
	// Started: the replica has run, so it has a vote file, and a founder has its first entry.
	Started bool `json:"started,omitempty"`
}

// catalog is the node's memory of what it is: small, and durable when a call returns.
type catalog struct {
	kv          host.KV
	id          string
	incarnation uint64

	mu struct {
		sync.Mutex
		cluster string
		epoch   uint64
		groups  map[uint32]catalogRecord
	}
}

// openCatalog reads the catalogue, making the node's id at the first start, and counts this start.
func openCatalog(kv host.KV, random io.Reader) (*catalog, error) {
	c := &catalog{kv: kv}
	c.mu.groups = make(map[uint32]catalogRecord)
	if err := kv.All(c.load); err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	set := make(map[string][]byte)
	if c.id == "" {
		b := make([]byte, nodeIDBytes)
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("make node id: %w", err)
		}
		c.id = hex.EncodeToString(b)
		set[keyNodeID] = []byte(c.id)
	}
	c.incarnation++
	set[keyIncarnation] = binary.BigEndian.AppendUint64(nil, c.incarnation)
	if err := kv.Update(set); err != nil {
		return nil, fmt.Errorf("write catalogue: %w", err)
	}
	return c, nil
}

func (c *catalog) load(key string, value []byte) error {
	number := func() (uint64, error) {
		if len(value) != 8 {
			return 0, fmt.Errorf("%s: %d bytes", key, len(value))
		}
		return binary.BigEndian.Uint64(value), nil
	}
	var err error
	switch {
	case key == keyNodeID:
		c.id = string(value)
	case key == keyIncarnation:
		c.incarnation, err = number()
	case key == keyClusterID:
		c.mu.cluster = string(value)
	case key == keyEpoch:
		c.mu.epoch, err = number()
	case strings.HasPrefix(key, prefixGroup):
		var group uint32
		if _, err = fmt.Sscanf(key, prefixGroup+"%d", &group); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		var r catalogRecord
		if err = json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		c.mu.groups[group] = r
	}
	return err
}

func (c *catalog) cluster() (id string, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.cluster, c.mu.epoch
}

// setCluster stores the cluster's id, once. Callers are serialised by the Node.
func (c *catalog) setCluster(id string) error {
	have, _ := c.cluster()
	switch {
	case id == "":
		return errors.New("empty cluster id")
	case have == id:
		return nil
	case have != "":
		return fmt.Errorf("%w: this data folder is of cluster %s", ErrOtherCluster, have)
	}
	if err := c.kv.Update(map[string][]byte{keyClusterID: []byte(id)}); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.cluster = id
	return nil
}

func groupKey(group uint32) string { return fmt.Sprintf("%s%010d", prefixGroup, group) }

func (c *catalog) group(group uint32) (catalogRecord, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.mu.groups[group]
	return r, ok
}

func (c *catalog) putGroup(group uint32, r catalogRecord) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode group record: %w", err)
	}
	if err := c.kv.Update(map[string][]byte{groupKey(group): value}); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.groups[group] = r
	return nil
}

func (c *catalog) dropGroup(group uint32) error {
	if err := c.kv.Update(map[string][]byte{groupKey(group): nil}); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.groups, group)
	return nil
}

// list gives the records in ascending order of group.
func (c *catalog) list() []GroupRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]GroupRecord, 0, len(c.mu.groups))
	for group, r := range c.mu.groups {
		out = append(out, GroupRecord{Group: group, Replica: r.Replica, Founder: r.Founder})
	}
	slices.SortFunc(out, func(a, b GroupRecord) int { return int(int64(a.Group) - int64(b.Group)) })
	return out
}

func (c *catalog) putMeta(key string, value []byte) error {
	if len(value) > maxMetaBytes {
		return fmt.Errorf("meta %s: %d bytes are over the limit of %d", key, len(value), maxMetaBytes)
	}
	return c.kv.Update(map[string][]byte{prefixMeta + key: value})
}

func (c *catalog) getMeta(key string) ([]byte, error) { return c.kv.Get(prefixMeta + key) }
