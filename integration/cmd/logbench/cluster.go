// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
)

const (
	nodes       = 3
	keys        = 64 // of each group
	clusterName = "logbench"
	startTime   = time.Minute
)

// cluster is three nodes in this process.
type cluster struct {
	s       settings
	nodes   []*raftnode.Node
	leaders []*raftnode.Group // by group
}

func openCluster(ctx context.Context, s settings, store, dir string) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	c := &cluster{s: s}
	addrs := map[string]string{} // complete before any group starts
	for i := range nodes {
		cfg := raftnode.DefaultConfig()
		cfg.Dir, cfg.Listen, cfg.LogStore = filepath.Join(dir, fmt.Sprint(i)), "127.0.0.1:0", store
		cfg.Logger = slog.New(slog.DiscardHandler)
		cfg.DiskReserve = 0
		n, err := raftnode.Open(host.Real(), cfg)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.nodes = append(c.nodes, n)
		if err := n.SetCluster(clusterName); err != nil {
			return nil, errors.Join(err, c.close())
		}
		addrs[n.ID()] = n.Addr()
		n.SetDirectory(func(id string) (string, bool) { a, ok := addrs[id]; return a, ok })
	}
	for g := range s.groups {
		if err := c.found(ctx, uint32(g+1), g%nodes); err != nil {
			return nil, errors.Join(fmt.Errorf("group %d: %w", g+1, err), c.close())
		}
	}
	return c, nil
}

func (c *cluster) close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// found starts a group on all nodes; the one named leads it.
func (c *cluster) found(ctx context.Context, group uint32, leader int) error {
	var lead *raftnode.Group
	for i := range nodes {
		n, replica := c.nodes[(leader+i)%nodes], uint64(i+1)
		g, err := n.StartGroup(raftnode.GroupConfig{Group: group, Replica: replica, Machine: machine(group), Bootstrap: i == 0})
		if err != nil {
			return err
		}
		if i == 0 {
			lead = g
			if err := firstWrite(ctx, lead); err != nil {
				return err
			}
			continue
		}
		if err := lead.AddNonvoter(ctx, n.ID(), replica, 0); err != nil {
			return err
		}
		if err := g.WaitApplied(ctx, lead.Applied()); err != nil {
			return err
		}
		if err := lead.Promote(ctx, n.ID(), replica, 0); err != nil {
			return err
		}
	}
	c.leaders = append(c.leaders, lead)
	return nil
}

func machine(group uint32) *fsm.Machine {
	table := fsm.Data()
	state := fsm.NewKeyspace(table, fsm.KeyspaceConfig{HashKey: [16]byte{1}})
	return fsm.NewMachine(table, state, fsm.Options{Cluster: clusterName, Group: group, Fatal: func(err error) { panic(err) }})
}

// firstWrite waits until the founder leads, and gives the group every slot.
func firstWrite(ctx context.Context, lead *raftnode.Group) error {
	for !lead.IsLeader() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	slots := make([]uint16, fsm.Slots)
	for i := range slots {
		slots[i] = uint16(i)
	}
	return write(lead, fsm.Own(1, slots))
}

func write(g *raftnode.Group, cmd fsm.Command) error {
	sub := &fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &cmd)}
	done := make(chan error, 1)
	g.Submit(sub, func(sub *fsm.Sub, err error) {
		if err == nil && sub.Results[0].IsError() {
			err = errors.New(string(sub.Results[0].Str))
		}
		done <- err
	})
	return <-done
}

func (c *cluster) measure(d time.Duration) (entries int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	end := time.Now().Add(d)
	value := []byte(strings.Repeat("v", c.s.bytes))
	for _, g := range c.leaders {
		for w := range c.s.writers {
			wg.Go(func() {
				n := 0
				var err error
				for ; err == nil && time.Now().Before(end); n++ {
					key := fmt.Appendf(nil, "key-%d-%d", w, n%keys)
					err = write(g, fsm.Command{Op: fsm.OpSet, Args: [][]byte{key, value}})
				}
				mu.Lock()
				defer mu.Unlock()
				entries += n
				errs = append(errs, err)
			})
		}
	}
	wg.Wait()
	return entries, errors.Join(errs...)
}
