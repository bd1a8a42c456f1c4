// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// Limits.
const (
	// maxBatch is how many commands go to the router in one call.
	maxBatch = 256
	// flushAt is how many bytes of replies are gathered before they are sent.
	flushAt = 256 << 10
	// largeReply is the size from which a string is written from where it is.
	largeReply = 64 << 10
	// maxName bounds a command's name in bytes.
	maxName = 32
	// framing is the most bytes that a command's frame adds to each of its arguments.
	framing = len("$16777216\r\n\r\n")
	// maxPause bounds CLIENT PAUSE.
	maxPause = 24 * time.Hour
)

// redisVersion is the version whose commands, replies and error texts this package speaks.
const redisVersion = "7.0.15"

// Router is what this package needs of *shard.Router. Its methods are called from any goroutine.
type Router interface {
	// Stream runs cmds, and calls hand with their replies in order, as often as it takes. The commands of
	// one call that concern one slot keep their order. Arguments are not kept after it returned, replies
	// not after hand did.
	Stream(ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply, hand func([]shard.Reply) error) error
	// Wait registers a blocked command; woken is called when Waiting.Ready has news.
	Wait(w fsm.Wait, woken func()) (shard.Waiting, error)
	// SlotMap returns the newest map, nil before the first.
	SlotMap() *shard.Map
	// Leader names the node that leads a group as far as known here, empty when it is not.
	Leader(group uint32) string
}

// Cluster is what this package needs of *shard.Node beside its router.
type Cluster interface {
	// View returns the control state, nil before there is a cluster.
	View() *shard.View
	Status(ctx context.Context) (shard.Status, error)
	Configure(ctx context.Context, change func(s *shard.Settings)) error
	// Snapshot makes every local group take a snapshot now.
	Snapshot(ctx context.Context) error
}

var (
	_ Router  = (*shard.Router)(nil)
	_ Cluster = (*shard.Node)(nil)
)

// Config is what a Handler needs. Router, Table and NodeID are required.
type Config struct {
	Router Router
	Table  *fsm.Table
	// Cluster is asked by commands about the whole cluster; nil refuses them.
	Cluster Cluster
	// Bus carries messages to the subscribers of other nodes, and is told to bring theirs here; nil: there
	// are no others.
	Bus Bus
	// Scripts is this node's cache of scripts; nil: SCRIPT is refused.
	Scripts Scripts
	// NodeID is this node's id, 40 hex digits.
	NodeID string
	// Version is the program's version.
	Version string
	// Redirect answers MOVED when another node leads the group of a command's key, as Redis Cluster
	// does, instead of asking that node.
	Redirect bool
	// Debug allows DEBUG.
	Debug bool
	// Authenticate checks the credentials of AUTH and HELLO and returns the user they stand for; a
	// connection then runs nothing before it has given some. Nil: there are no users but "default", who
	// needs no password.
	Authenticate func(ctx context.Context, user, password string) (name string, err error)
	// Server gives the counts of the server that runs this Handler; nil gives none.
	Server func() tcpd.Stats
	// MaxConns is the limit of that server, told by INFO.
	MaxConns int
	// Wall gives the date; nil is the system's.
	Wall func() time.Time
}

// Handler makes sessions.
type Handler struct {
	cfg      Config
	commands map[string]*command // by upper name
	list     []*command          // in the order of their names
	started  time.Time
	slow     slowlog
	latency  latencies
	pause    pause
	// held bounds what transactions and watched keys of all connections take.
	held *tcpd.Budget
	hub  hub
	// pushed is what waits in the writers of all sessions, in bytes.
	pushed atomic.Int64

	// blocked counts the connections that wait in a command.
	blocked atomic.Int64

	connections, rejected, protocolErrors, pauses atomic.Uint64

	mu    sync.Mutex
	cards map[uint64]*card
}

// New makes a Handler.
func New(cfg Config) (*Handler, error) {
	if cfg.Router == nil || cfg.Table == nil || cfg.NodeID == "" {
		return nil, errors.New("resp: config: Router, Table and NodeID are required")
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	h := &Handler{cfg: cfg, started: time.Now(), cards: make(map[uint64]*card), held: tcpd.NewBudget(maxHeld)}
	h.slow.init()
	h.pause.init()
	h.hub.init()
	if cfg.Bus != nil {
		cfg.Bus.Receive(h.hub.publish)
	}
	h.indexCommands()
	return h, nil
}

// MaxCommand is the MaxCommand of a tcpd.Config that runs this Handler.
func (h *Handler) MaxCommand() int {
	l := h.cfg.Table.Limits()
	return max(l.MaxCommand, l.MaxValue) + bulkSlack + min(l.MaxArgs, maxMultibulk)*framing
}

// Refusal is what a connection over the limit is sent.
func Refusal() []byte { return []byte("-ERR max number of clients reached\r\n") }

// Open makes the session of a connection: tcpd.Config.Open.
func (h *Handler) Open(c *tcpd.Conn) tcpd.Session {
	l := h.cfg.Table.Limits()
	s := &session{
		h: h, c: c, w: newWriter(c, &h.pushed), caller: shard.Caller{Protocol: "resp", Conn: c.ID},
		parser: newParser(l.MaxValue+bulkSlack, max(l.MaxCommand, l.MaxValue)+bulkSlack),
		gone:   make(chan struct{}),
	}
	s.sub.w = s.w
	s.enc.out = s.piece
	s.hand = s.deliver
	s.card = newCard(c, s.leave)
	s.reset()
	h.connections.Add(1)
	h.mu.Lock()
	h.cards[c.ID] = s.card
	h.mu.Unlock()
	return s
}

// forget is called when a session ends.
func (h *Handler) forget(s *session) {
	h.mu.Lock()
	delete(h.cards, s.c.ID)
	h.mu.Unlock()
}
