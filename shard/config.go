// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// Limits of a cluster. Each is checked where the value enters.
const (
	// MaxGroups bounds the data groups that ever exist at one time.
	MaxGroups = 1024
	// MaxNodes bounds the members of a cluster.
	MaxNodes = 1024
	// MaxReplicas bounds the voters of a data group.
	MaxReplicas = 7
	// MaxWeight bounds a node's weight; 1 is the least.
	MaxWeight = 1000
	// MaxNameLen bounds, in bytes, a node's name, zone and each of its addresses.
	MaxNameLen = 255
	// MaxAddrs bounds the protocols that a node lists an address for.
	MaxAddrs = 16
	// DefaultGroups is the number of data groups of a new cluster.
	DefaultGroups = 4
	// DefaultReplicas is the number of voters of a data group once there are enough nodes.
	DefaultReplicas = 3
	// DefaultPolicy is the eviction policy of a new cluster.
	DefaultPolicy = "noeviction"
)

// Config is what a node needs beside its host and its consensus runtime. Zero fields take the
// values of withDefaults.
type Config struct {
	// Name is the node's name for people; empty means the first 8 digits of its id.
	Name string
	// Addrs are host:port by protocol ("peer", "http", "native", "resp", "memcached") as other
	// nodes and clients reach this node. "peer" defaults to the peer link's own address.
	Addrs map[string]string
	// Zone is where the node stands; replicas of a group prefer different zones. Empty is a zone.
	Zone string
	// Weight is the node's share of replicas, 1 … MaxWeight; 0 means 100.
	Weight int
	// Version is the program's version, shown in status.
	Version string
	// Tick is the longest time between two looks of the reconcilers; 0 means 500 ms.
	Tick time.Duration
	// Stabilization is how long a new replica must be caught up and in contact before it may
	// vote; 0 means one second.
	Stabilization time.Duration
	// LeaderSettle is how long a group's leader must have led, and the preferred leader must have
	// been caught up, before leadership is handed to it; 0 means three seconds.
	LeaderSettle time.Duration
	// DownAfter is the silence after which a node counts as down; 0 means three seconds.
	DownAfter time.Duration
	// StatusTimeout bounds the wait for each node's report; 0 means one second.
	StatusTimeout time.Duration
	// ResolvePeer turns an address that is not a peer address, such as a member's HTTP address,
	// into the peer address behind it. Nil: only peer addresses are understood.
	ResolvePeer func(ctx context.Context, addr string) (string, error)
	// Fatal is called, perhaps more than once, when a replica met an entry that it may not skip: the
	// process must stop. Nil panics.
	Fatal func(err error)
	// Limits are what commands are checked against; the zero value means fsm.DefaultLimits.
	Limits fsm.Limits
	// Logger receives news; nil discards them.
	Logger *slog.Logger

	// wrapHost lets tests stand between the node and the runtime's lifecycle calls; nil does not.
	wrapHost func(replicaHost) replicaHost
}

func (c *Config) withDefaults() Config {
	d := *c
	setIfZero(&d.Weight, 100)
	setIfZero(&d.Tick, 500*time.Millisecond)
	setIfZero(&d.Stabilization, time.Second)
	setIfZero(&d.LeaderSettle, 3*time.Second)
	setIfZero(&d.DownAfter, 3*time.Second)
	setIfZero(&d.StatusTimeout, time.Second)
	setIfZero(&d.Limits, fsm.DefaultLimits())
	if d.Fatal == nil {
		d.Fatal = func(err error) { panic(err) }
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}

func setIfZero[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate reports every fault of the configuration, joined.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Name) > MaxNameLen {
		bad("shard: config: name is longer than %d bytes", MaxNameLen)
	}
	if len(c.Zone) > MaxNameLen {
		bad("shard: config: zone is longer than %d bytes", MaxNameLen)
	}
	if c.Weight < 0 || c.Weight > MaxWeight {
		bad("shard: config: weight %d is not within 1 … %d", c.Weight, MaxWeight)
	}
	if len(c.Addrs) > MaxAddrs {
		bad("shard: config: more than %d addresses", MaxAddrs)
	}
	for proto, a := range c.Addrs {
		if len(a) > MaxNameLen || len(proto) > MaxNameLen {
			bad("shard: config: address for %q is longer than %d bytes", proto, MaxNameLen)
		}
	}
	for name, d := range map[string]time.Duration{
		"tick": c.Tick, "stabilization": c.Stabilization, "leader settle": c.LeaderSettle,
		"down after": c.DownAfter, "status timeout": c.StatusTimeout,
	} {
		if d < 0 {
			bad("shard: config: %s is negative", name)
		}
	}
	return errors.Join(errs...)
}

// InitOptions are the settings of a new cluster. Zero fields take the defaults.
type InitOptions struct {
	// Groups is the number of data groups, 1 … MaxGroups; 0 means DefaultGroups.
	Groups int
	// Replicas is the number of voters of each data group, odd; 0 means DefaultReplicas.
	Replicas int
	// MaxMemory is the whole cluster's limit in logical bytes, one copy of the data counted; groups
	// get their shares by slots. 0 means no limit.
	MaxMemory uint64
	// Policy is the eviction policy's name as Redis spells it; empty means DefaultPolicy.
	Policy string
	// DefaultTTL is given to keys that are written without one; 0 means none.
	DefaultTTL time.Duration
}

func (o InitOptions) settings() (Settings, error) {
	setIfZero(&o.Groups, DefaultGroups)
	setIfZero(&o.Replicas, DefaultReplicas)
	setIfZero(&o.Policy, DefaultPolicy)
	s := Settings{
		Groups: o.Groups, Replicas: o.Replicas, MaxMemory: o.MaxMemory, Policy: o.Policy,
		DefaultTTLMillis: o.DefaultTTL.Milliseconds(),
	}
	return s, s.validate()
}
