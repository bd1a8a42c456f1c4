// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// Limits.
const (
	// DefaultMaxInFlight is how many requests of a concurrent connection may await replies.
	DefaultMaxInFlight = 1024
	// maxBatch is how many commands go to the router in one call, where their order matters.
	maxBatch = 256
	// maxInFlightBytes bounds the requests in flight on a concurrent connection; one request of
	// any size is always let in.
	maxInFlightBytes = 4 << 20
	// maxOutbox is how many bytes of replies wait behind a write before workers wait too.
	maxOutbox = 1 << 20
	// flushAt is how many bytes of replies a batch may gather before they are sent.
	flushAt = 256 << 10
	// largeReply is the size from which a reply is written piece by piece, its bytes as they are, and
	// not gathered.
	largeReply = 64 << 10
	// copyBelow is the size up to which requests are copied out of the read buffer, so that one
	// small request does not hold all of it.
	copyBelow = 4 << 10
	// maxDeadline bounds what a client may ask for.
	maxDeadline = time.Minute
	// pushInterval is the least time between two pushes of topology changes.
	pushInterval = 50 * time.Millisecond
)

// Router is what this package needs of *shard.Router. Its methods are called from any goroutine.
type Router interface {
	// Stream runs cmds, and calls hand with their replies in order, as often as it takes. The commands of
	// one call that concern one slot keep their order. Arguments are not kept after it returned, replies
	// not after hand did.
	Stream(ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply, hand func([]shard.Reply) error) error
	// SlotMap returns the newest map, nil before the first.
	SlotMap() *shard.Map
	// Watch calls f with every new map until stop was called.
	Watch(f func(*shard.Map)) (stop func())
}

var _ Router = (*shard.Router)(nil)

// Config is what a Handler needs. Router and Table are required.
type Config struct {
	Router Router
	Table  *fsm.Table
	// NodeID is this node's id, told to clients.
	NodeID string
	// ClusterID returns the cluster's id, empty before it is founded. Nil tells none.
	ClusterID func() string
	// Version is the program's version, told to clients.
	Version string
	// Leader returns the node id of a group's leader as far as known here, empty when it is not.
	// Nil: clients learn leaders from replies alone.
	Leader func(group uint32) string
	// Authenticate checks the credentials of a HELLO and returns the user they stand for. Nil:
	// authentication is off, and a client that sends credentials is refused. Version 1 has none:
	// its user is always empty.
	Authenticate func(ctx context.Context, m wire.Method, user, secret string) (name string, err error)
	// MaxInFlight is how many requests of a concurrent connection may await replies; 0 means
	// DefaultMaxInFlight.
	MaxInFlight int
}

// Handler makes sessions. It owns the goroutine that tells clients of topology changes.
type Handler struct {
	cfg Config
	// maxFrame and maxReply bound frames in bytes, without their length field.
	maxFrame, maxReply int
	// exWord is the option of SET that version 1 needs.
	exWord []byte

	batches sync.Pool // of *batch

	stopWatch func()
	version   atomic.Uint64 // of the newest map
	kick      chan struct{}
	closed    chan struct{}
	wg        sync.WaitGroup
	mu        struct {
		sync.Mutex
		subscribers map[*session2]struct{}
	}
}

// New makes a Handler. Close it when every server that uses it is closed.
func New(cfg Config) (*Handler, error) {
	if cfg.Router == nil || cfg.Table == nil {
		return nil, errors.New("native: config: Router and Table are required")
	}
	if cfg.MaxInFlight < 0 {
		return nil, errors.New("native: config: MaxInFlight is negative")
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = DefaultMaxInFlight
	}
	h := &Handler{
		cfg: cfg, maxFrame: cfg.Table.Limits().MaxValue + wire.FrameSlack, maxReply: wire.MaxReply, exWord: []byte("EX"),
		kick: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	h.mu.subscribers = make(map[*session2]struct{})
	h.stopWatch = cfg.Router.Watch(h.changed)
	present := h.version.Load()
	h.wg.Go(func() { h.push(present) })
	return h, nil
}

// Close ends the telling of topology changes and joins its goroutine.
func (h *Handler) Close() {
	h.stopWatch()
	close(h.closed)
	h.wg.Wait()
}

// MaxCommand is the MaxCommand of a tcpd.Config that runs this Handler.
func (h *Handler) MaxCommand() int { return h.maxFrame + 4 }

// Refusal is what a connection over the limit is sent, in a form that both versions understand.
func Refusal() []byte { return wire.AppendV1Error(nil, "too many connections") }

// Open makes the session of a connection: tcpd.Config.Open.
func (h *Handler) Open(c *tcpd.Conn) tcpd.Session {
	return &session{h: h, c: c, caller: shard.Caller{Protocol: "native", Conn: c.ID}}
}
