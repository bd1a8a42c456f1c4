// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
	"github.com/kvorum/kvorum/shard"
)

const (
	// drainTime is how long edges may finish what they have begun when the node stops.
	drainTime = 5 * time.Second
	// fatalDrainTime is the same after a fatal condition: what waits for the disk waits in vain.
	fatalDrainTime = time.Second
	// enterTime bounds --init and --join.
	enterTime = 5 * time.Minute
	// enterRetry is the pause between two tries to join.
	enterRetry = time.Second
	// enterTold is how often a join that goes on being refused for one reason is told.
	enterTold = 30 * time.Second
)

func newServe(io stdio) *cobra.Command {
	cfg := defaults()
	c := &cobra.Command{
		Use: "serve", Short: "Run one node", Args: cobra.NoArgs,
		Long: "Runs one node until SIGINT or SIGTERM. On an empty data folder it waits for 'kvorum join', unless --init\n" +
			"founds a cluster or --join enters one. Every flag can also be given as the environment variable in\n" +
			"brackets or as a line NAME: VALUE of the file named by --config; precedence is flag, environment, file.",
	}
	bindConfig(&cfg, c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := resolve(&cfg, cmd.Flags(), io.getenv); err != nil {
			return &exitError{exitUsage, err}
		}
		h := host.Real()
		memory := host.Mapped()
		h.Memory = memory
		defer paceCollector(io.getenv, memory.Taken)()
		if err := runServe(cmd.Context(), h, &cfg, io.err, func() { os.Exit(exitFailed) }); err != nil {
			return &exitError{exitFailed, plainError{err}}
		}
		return nil
	}
	return c
}

// complete derives the addresses that were left to their defaults and refuses what would expose an
// unauthenticated node.
func (c *config) complete() (faults []error) {
	if c.Name == "" {
		hostname, err := os.Hostname()
		if err != nil {
			hostname = "node"
		}
		c.Name = hostname + "-" + strconv.Itoa(c.Port)
	}
	exposed := map[string][]string{} // addresses by the flag they come from
	for i, l := range []struct {
		flag string
		addr *string
	}{{"--peer-addr", &c.Peer}, {"--http-addr", &c.HTTP}, {"--native-addr", &c.Native}, {"--resp-addr", &c.RESP}} {
		if *l.addr == "" {
			l.flag, *l.addr = "--bind", net.JoinHostPort(c.Bind, strconv.Itoa(c.Port+i))
		}
		if *l.addr == "off" {
			if i == 0 {
				faults = append(faults, errors.New("--peer-addr cannot be off"))
			}
			continue
		}
		h, port, err := net.SplitHostPort(*l.addr)
		if err == nil && l.flag != "--bind" { // --port has been judged
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %q is no host:port: %w", l.flag, *l.addr, err))
			continue
		}
		if ip := net.ParseIP(h); h != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.Insecure {
			exposed[l.flag] = append(exposed[l.flag], *l.addr)
		}
	}
	for _, flag := range slices.Sorted(maps.Keys(exposed)) {
		faults = append(faults, fmt.Errorf("%s: %s can be reached from other machines and nothing here asks who they are: bind to loopback, or give --insecure if the network is trusted",
			flag, strings.Join(exposed[flag], ", ")))
	}
	return faults
}

// advertised is the address by which others reach a listener.
func (c *config) advertised(listen net.Addr) string {
	h, port, err := net.SplitHostPort(listen.String())
	if err != nil {
		return listen.String()
	}
	switch {
	case c.Advertise != "":
		h = c.Advertise
	case net.ParseIP(h) != nil && net.ParseIP(h).IsUnspecified():
		if name, err := os.Hostname(); err == nil {
			h = name
		}
	}
	return net.JoinHostPort(h, port)
}

func newLogger(c *config, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	opt := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return slog.New(slog.NewTextHandler(w, opt)), nil
}

// runServe is a node's life: what is opened last is closed first, so that nothing below an edge is
// gone while a request is under way. exit ends the process; it is called when closing hangs after a fatal condition.
func runServe(ctx context.Context, h *host.Host, c *config, stderr io.Writer, exit func()) error {
	log, err := newLogger(c, stderr)
	if err != nil {
		return err
	}
	life := newLifetime(ctx, log, stderr, exit)
	defer life.close()
	ctx, stop := life.ctx, life.end

	// Listeners first: a port in use must not touch the data folder. The peer link listens by itself,
	// later, so its port is only tried here.
	lns, err := listen(h, c)
	if err != nil {
		return err
	}
	defer lns.close()
	if err := probe(h, c.Peer); err != nil {
		return fmt.Errorf("peer link: %w", err)
	}

	if err := h.FS.MkdirAll(c.Data, 0o755); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	rn, err := raftnode.Open(h, c.raftConfig(log, stop))
	if err != nil {
		return openError(err)
	}
	defer closing(log, "consensus", rn.Close)

	sn, err := shard.Open(h, rn, c.shardConfig(log, stop, rn, lns))
	if err != nil {
		return err
	}
	defer closing(log, "routing", sn.Close)
	if hasLeft(sn) {
		return leftBefore(c, log)
	}

	edges, err := openEdges(c, log, h, sn, lns)
	if err != nil {
		return err
	}
	defer func() { edges.shutdown(log, drainFor(ctx)) }()
	edges.serve(stop)

	log.Info("node is up", slog.String("node", sn.ID()), slog.String("name", c.Name), slog.String("peer", rn.Addr()),
		slog.String("http", lns.text(lns.http)), slog.String("native", lns.text(lns.native)), slog.String("resp", lns.text(lns.resp)),
		slog.String("data", absolute(c.Data)))
	if err := enter(ctx, c, log, sn); err != nil && ctx.Err() == nil {
		return err
	}
	select {
	case <-sn.Left():
		log.Warn(saysLeft)
		return nil
	case <-ctx.Done():
	}
	if err, ok := errors.AsType[*fatalError](context.Cause(ctx)); ok {
		return err
	}
	log.Info("stopping")
	return nil
}

func drainFor(ctx context.Context) time.Duration {
	if _, ok := errors.AsType[*fatalError](context.Cause(ctx)); ok {
		return fatalDrainTime
	}
	return drainTime
}

// saysLeft is the last line of a node that is no member any more; dev looks for it.
const saysLeft = "this node has left its cluster; it ends here"

func hasLeft(sn *shard.Node) bool {
	select {
	case <-sn.Left():
		return true
	default:
		return false
	}
}

// leftBefore ends a node that starts on the folder of one that has left: it holds nothing and may
// never be a member again.
func leftBefore(c *config, log *slog.Logger) error {
	if c.IfNew {
		log.Warn(saysLeft, slog.String("data", absolute(c.Data)))
		return nil
	}
	return fmt.Errorf("the node of data folder %s has left its cluster: delete the folder, or give another --data, to start a new node", absolute(c.Data))
}

// fatalError is why a node stops by itself; a signal is no reason.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func closing(log *slog.Logger, what string, f func() error) {
	if err := f(); err != nil {
		log.Error("closing failed", slog.String("part", what), slog.Any("error", err))
	}
}

// raftConfig: a fatal event ends the process with its reason.
func (c *config) raftConfig(log *slog.Logger, stop context.CancelCauseFunc) raftnode.Config {
	rc := raftnode.DefaultConfig()
	rc.Dir, rc.Listen = c.Data, c.Peer
	if c.Advertise != "" {
		if _, port, err := net.SplitHostPort(c.Peer); err == nil {
			rc.Advertise = net.JoinHostPort(c.Advertise, port)
		}
	}
	rc.LogStore, rc.Heartbeat = c.LogStore, c.Heartbeat
	rc.SegmentBytes, rc.LogTailBytes = int(c.SegmentSize), int64(c.LogTail)
	rc.SnapshotLogBytes, rc.SnapshotRate, rc.DiskReserve = int64(c.SnapshotLog), int64(c.SnapshotRate), uint64(c.DiskReserve)
	rc.Logger = log
	rc.Events.Fatal = fatal(stop)
	return rc
}

// fatal is what the layers below call when going on could harm data.
func fatal(stop context.CancelCauseFunc) func(error) {
	return func(err error) { stop(&fatalError{fmt.Errorf("stopped to keep data safe: %w", err)}) }
}

func (c *config) shardConfig(log *slog.Logger, stop context.CancelCauseFunc, rn *raftnode.Node, lns *listeners) shard.Config {
	addrs := map[string]string{"peer": rn.Advertised()}
	if lns.http != nil {
		addrs["http"] = c.advertised(lns.http.Addr())
	}
	if lns.native != nil {
		addrs["native"] = c.advertised(lns.native.Addr())
	}
	if lns.resp != nil {
		addrs["resp"] = c.advertised(lns.resp.Addr())
	}
	return shard.Config{
		Name: c.Name, Zone: c.Zone, Addrs: addrs, Version: version, Limits: c.limits(), Logger: log, ResolvePeer: resolvePeer,
		Fatal: fatal(stop),
	}
}

func (c *config) limits() fsm.Limits {
	l := fsm.DefaultLimits().WithMaxValue(int(c.MaxValue))
	l.MaxKey = int(c.MaxKey)
	return l
}

// enter founds or joins a cluster when the flags say so. Joining is tried again while the members
// do not answer: nodes that start together must not depend on their order.
func enter(ctx context.Context, c *config, log *slog.Logger, sn *shard.Node) error {
	if !c.Init && c.Join == "" {
		if !sn.Initialised() {
			log.Info("this node belongs to no cluster yet; waiting for 'kvorum join'")
		}
		return nil
	}
	if sn.Initialised() {
		if c.IfNew {
			return nil
		}
		return errors.New("this node belongs to a cluster already: start it without --init and --join, or with --if-new")
	}
	ctx, cancel := context.WithTimeout(ctx, enterTime)
	defer cancel()
	if c.Init {
		err := sn.Init(ctx, shard.InitOptions{Groups: c.Groups, Replicas: c.Replicas, MaxMemory: uint64(c.MaxMemory), Policy: c.MaxMemoryPolicy})
		if err == nil {
			log.Info("founded a cluster", slog.Int("groups", c.Groups), slog.Int("replicas", c.Replicas))
		}
		return err
	}
	return join(ctx, c, log, sn)
}

// notYet tells whether a refusal may pass by itself: a member that is starting, founding or electing.
func notYet(err error) bool {
	for _, e := range []error{shard.ErrUnreachable, shard.ErrMemberUninitialised, shard.ErrNoControlLeader} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func join(ctx context.Context, c *config, log *slog.Logger, sn *shard.Node) error {
	var told string
	var at time.Time
	for {
		err := sn.Join(ctx, strings.Split(c.Join, ","))
		if err == nil {
			log.Info("joined the cluster")
			return nil
		}
		gone := errors.Is(err, shard.ErrLeft) && !hasLeft(sn) // the member asked is on its way out
		if ctx.Err() != nil || !gone && !notYet(err) {
			return err
		}
		if err.Error() != told || time.Since(at) > enterTold {
			told, at = err.Error(), time.Now()
			log.Info("no member can take this node yet; trying again", slog.String("join", c.Join), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(enterRetry):
		}
	}
}
