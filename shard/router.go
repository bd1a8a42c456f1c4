// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// DefaultTimeout is a call's budget when its Caller names none.
const DefaultTimeout = 5 * time.Second

// Caller says on whose behalf commands run.
type Caller struct {
	// User is empty where authentication is off.
	User string
	// Protocol is the edge: "http", "native", "resp", "memcached" or "internal".
	Protocol string
	// Conn identifies the client's connection on this node, for logs.
	Conn uint64
	// Stale allows reads from the local replica without a fence.
	Stale bool
	// Timeout is the budget of one Do; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Reply is what became of one command: a Result, or Err when it could not be delivered.
type Reply struct {
	Result fsm.Result
	// Err is nil or an *Error.
	Err error
	// Leader is the node id of the leader that the command's group had last; empty when unknown
	// or when the command touched several groups.
	Leader string
}

// localGroup is a replica of a data group on this node. All methods may be called from any
// goroutine.
type localGroup interface {
	// Submit never blocks. done runs exactly once, possibly before Submit returns; it may call
	// Submit again.
	Submit(sub *fsm.Sub, done func(*fsm.Sub, error))
	// Read answers linearizably, on the caller's goroutine.
	Read(ctx context.Context, cmds []fsm.Command, out []fsm.Result) error
	// ReadStale answers from this replica's state as it is.
	ReadStale(cmds []fsm.Command, out []fsm.Result)
	Leader() raftnode.Hint
	// IsLeader: this replica leads and has applied an entry of its term.
	IsLeader() bool
}

// peerLink reaches other nodes.
type peerLink interface {
	Call(ctx context.Context, node string, class raftnode.Class, req []byte) ([]byte, error)
}

var (
	_ localGroup = (*raftnode.Group)(nil)
	_ peerLink   = (*raftnode.Node)(nil)
)

// routerConfig is what a Router needs. All but Link and Logger is required.
type routerConfig struct {
	// Self is this node's id, Incarnation the count of its starts.
	Self        string
	Incarnation uint64
	Table       *fsm.Table
	// Link is nil when no other node can be reached.
	Link peerLink
	// Rand is for jitter.
	Rand   io.Reader
	Logger *slog.Logger
	// QueueBytes bounds the bytes of commands accepted and not answered on this node; 0 means
	// DefaultQueueBytes.
	QueueBytes int64
}

// Router carries commands to the groups that own their keys. Every method may be called from any
// goroutine. A new Router has no Map: it answers KindUninitialised.
type Router struct {
	// Authorise is asked about every command before anything else happens to it; a non-nil error
	// becomes KindDenied. Nil allows everything. Set it before the first Do.
	Authorise func(c *Caller, s *fsm.Spec, cmd *fsm.Command) error

	cfg routerConfig
	m   atomic.Pointer[Map]
}

func newRouter(cfg routerConfig) *Router { return &Router{cfg: cfg} }

// Table returns the table of commands.
func (r *Router) Table() *fsm.Table { return r.cfg.Table }

// setMap replaces the Map unless m is older than the present one.
func (r *Router) setMap(m *Map) {}

// attach makes a local replica of a group known; detach forgets it.
func (r *Router) attach(group uint32, g localGroup) {}
func (r *Router) detach(group uint32)               {}

// leaderChanged is told of every change of leader that this node learns.
func (r *Router) leaderChanged(group uint32, hint raftnode.Hint) {}

// handleForward serves raftnode.ClassForward.
func (r *Router) handleForward(ctx context.Context, from string, req []byte) ([]byte, error) {
	return nil, nil
}

// close refuses new calls, answers every waiting one and joins all goroutines.
func (r *Router) close() {}

// Do runs cmds and fills out, which has the same length. It returns when every reply is there or
// the budget is spent. The commands of one call that concern one slot keep their order. Arguments
// are not kept after Do returned; results belong to the caller.
func (r *Router) Do(ctx context.Context, c *Caller, cmds []fsm.Command, out []Reply) {
	for i := range cmds {
		out[i].Err = &Error{Kind: KindUninitialised}
	}
}

// SlotMap returns the newest Map, nil before the first.
func (r *Router) SlotMap() *Map { return r.m.Load() }

// Watch calls f with the present Map, if there is one, and with every newer one, in order, until
// the returned function was called. f must be quick and must not call the Router's Watch.
func (r *Router) Watch(f func(*Map)) (stop func()) { return func() {} }
