// SPDX-License-Identifier: Apache-2.0

// Command saturate keeps a cluster of three nodes as busy as it gets, with pipelined writes and reads
// through every node, and fails when a group changes its leader or its term meanwhile: under load alone
// nobody must lose touch with a leader that lives.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const (
	nodeCount = 3
	keyCount  = 200_000
	waitTime  = 60 * time.Second
	callTime  = 30 * time.Second
	lookEvery = 500 * time.Millisecond
	tellEvery = time.Minute
	// settleTime is how long leaders must have stayed before the load begins.
	settleTime = 5 * time.Second
)

type settings struct {
	bin                     string
	length                  time.Duration
	groups, conns, pipeline int
	valueSize               int
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "bin/kvorum", "the kvorum binary")
	flag.DurationVar(&s.length, "time", 10*time.Minute, "length of the load")
	flag.IntVar(&s.groups, "groups", 4, "data groups")
	flag.IntVar(&s.conns, "conns", 24, "connections, spread over the nodes")
	flag.IntVar(&s.pipeline, "pipeline", 128, "commands under way on each connection")
	flag.IntVar(&s.valueSize, "value", 100, "value size in bytes")
	flag.Parse()
	dir, err := os.MkdirTemp("", "kvorum-saturate-")
	if err == nil {
		err = run(context.Background(), s, dir)
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "saturate: FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, dir string) error {
	c, err := proc.New(proc.Config{
		Bin: s.bin, Dir: dir, Args: []string{"--log-level", "warn"}, InitArgs: []string{"--groups", strconv.Itoa(s.groups)},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range nodeCount {
		if _, err := c.Add(ctx); err != nil {
			return err
		}
		if _, err := wait(ctx, c, "nodes", func(s *shard.Status) bool { return len(s.Nodes) > i && s.Cluster.Initialised }); err != nil {
			return err
		}
	}
	before, err := settled(ctx, c)
	if err != nil {
		return err
	}
	l := &load{s: s, value: []byte(strings.Repeat("v", s.valueSize))}
	loadCtx, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, s.conns)
	for i := range errs {
		n := c.Nodes()[i%nodeCount]
		wg.Go(func() { errs[i] = l.client(loadCtx, n.Native(), i) })
	}
	changes := look(loadCtx, c, l, before)
	cancel()
	wg.Wait()
	if err := cmp.Or(errs...); err != nil {
		return err
	}
	fmt.Printf("%d commands in %v, %.0f a second; %d changes of leaders or terms in %d groups\n",
		l.done.Load(), s.length, float64(l.done.Load())/s.length.Seconds(), changes, len(before))
	if changes > 0 {
		return errors.New("leaders changed under load alone")
	}
	return nil
}

func wait(ctx context.Context, c *proc.Cluster, what string, ok func(*shard.Status) bool) (*shard.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	return c.Wait(ctx, what, ok)
}

// office is who leads a group, and since which term.
type office struct {
	leader string
	term   uint64
}

func offices(s *shard.Status) map[uint32]office {
	out := make(map[uint32]office)
	for _, g := range s.Groups {
		out[g.ID] = office{g.Leader, g.Term}
	}
	return out
}

// settled waits until the cluster is whole and leaders have stayed for settleTime.
func settled(ctx context.Context, c *proc.Cluster) (map[uint32]office, error) {
	var last map[uint32]office
	var since time.Time
	_, err := wait(ctx, c, "leaders that stay", func(s *shard.Status) bool {
		now := offices(s)
		if !proc.Healthy(nodeCount)(s) || !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		return time.Since(since) >= settleTime
	})
	return last, err
}

// look counts the changes of office until ctx ends, asking one node after the other. A status that nobody answers in time is no news.
func look(ctx context.Context, c *proc.Cluster, l *load, last map[uint32]office) (changes int) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	began := time.Now()
	told := began
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return changes
		case <-tick.C:
		}
		if time.Since(told) >= tellEvery {
			told = time.Now()
			fmt.Printf("%v: %d commands, %d changes\n", time.Since(began).Round(time.Second), l.done.Load(), changes)
		}
		s, err := c.Status(ctx, c.Nodes()[i%nodeCount])
		if err != nil {
			continue
		}
		for id, now := range offices(s) {
			if now.leader == "" || now.term < last[id].term {
				continue // an older report
			}
			if now != last[id] {
				fmt.Printf("%v: group %d: leader %.8s of term %d became %.8s of term %d\n",
					time.Since(began).Round(time.Millisecond), id, last[id].leader, last[id].term, now.leader, now.term)
				last[id] = now
				changes++
			}
		}
	}
}

// load is what all clients share.
type load struct {
	s     settings
	value []byte
	done  atomic.Int64
}

// client keeps its pipeline full until ctx ends: every other command writes.
func (l *load) client(ctx context.Context, addr string, seed int) error {
	conn, err := client.DialConn(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	next := seed * 7919
	send := func() error {
		next = (next*1103515245 + 12345) & 0x7fffffff
		key := "key-" + strconv.Itoa(next%keyCount)
		if next&(1<<20) == 0 {
			return conn.Send(client.Get(key))
		}
		return conn.Send(client.Set(key, l.value))
	}
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.s.length+callTime)
	defer cancel()
	for ctx.Err() == nil {
		for range l.s.pipeline {
			if err := send(); err != nil {
				return err
			}
		}
		if err := conn.Flush(callCtx); err != nil {
			return err
		}
		for range l.s.pipeline {
			if _, err := conn.Receive(callCtx); err != nil {
				return err
			}
			l.done.Add(1)
		}
	}
	return nil
}
