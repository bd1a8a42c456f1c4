// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
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

// Router carries commands to the groups that own their keys. Every method may be called from any
// goroutine.
type Router struct {
	m atomic.Pointer[Map]
}

// Do runs cmds and fills out, which has the same length. It returns when every reply is there or
// the budget is spent. The commands of one call that concern one group keep their order. Arguments
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
