// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

const (
	// maxHeaderBytes leaves room for the longest key with every byte escaped.
	maxHeaderBytes = 512 << 10
	// headerTime and bodyTime bound a client that sends slowly.
	headerTime = 10 * time.Second
	bodyTime   = 2 * time.Minute
	idleTime   = 3 * time.Minute
	// adminTime bounds joining and leaving.
	adminTime = 10 * time.Minute
	// jsonFactor: a JSON body may be this many times larger than the largest value, for escapes.
	jsonFactor = 2
	// maxPipeline is the number of commands in one pipeline request.
	maxPipeline = 10_000
	// maxScanCount bounds what one request for keys asks for.
	maxScanCount = 10_000
)

// Node is what the edge needs of a node; *shard.Node is one.
type Node interface {
	ID() string
	Ready() error
	Status(ctx context.Context) (shard.Status, error)
	Join(ctx context.Context, members []string) error
	Leave(ctx context.Context, node string) error
	Snapshot(ctx context.Context) error
	Digest(ctx context.Context) ([]shard.ReplicaDigest, error)
	TransferLeader(ctx context.Context, group uint32, node string) error
}

// Router carries commands; *shard.Router is one.
type Router interface {
	Do(ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply)
	Table() *fsm.Table
}

var (
	_ Node   = (*shard.Node)(nil)
	_ Router = (*shard.Router)(nil)
)

// Config is what the edge is made of. Node, Router and Limits are required.
type Config struct {
	Node   Node
	Router Router
	Limits fsm.Limits
	// Timeout is the budget of a request's commands; 0 means shard.DefaultTimeout.
	Timeout time.Duration
	// Version is shown by /v1/openapi.json and the metrics.
	Version string
	// Logger receives the edge's news; nil discards them.
	Logger *slog.Logger
}

// edge is the handler's state.
type edge struct {
	cfg   Config
	start time.Time
	conns atomic.Uint64
	// codes counts answers by hundreds: codes[2] is 2xx.
	codes [6]atomic.Uint64
	bytes atomic.Uint64
}

// New makes the handler.
func New(cfg Config) http.Handler {
	e := newEdge(cfg)
	return e.count(e.routes())
}

func newEdge(cfg Config) *edge {
	if cfg.Timeout == 0 {
		cfg.Timeout = shard.DefaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &edge{cfg: cfg, start: time.Now()}
}

// NewServer makes a server around New with the edge's limits on time and headers.
func NewServer(cfg Config) *http.Server {
	e := newEdge(cfg)
	return &http.Server{
		Handler:           e.count(e.routes()),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(e.cfg.Logger.Handler(), slog.LevelDebug),
	}
}

// caller says on whose behalf a request runs.
func (e *edge) caller(r *http.Request) *shard.Caller {
	return &shard.Caller{
		Protocol: "http",
		Stale:    r.URL.Query().Get("consistency") == "stale",
		Timeout:  e.cfg.Timeout,
	}
}

// counted notes an answer's status and size.
type counted struct {
	http.ResponseWriter
	code int
	n    uint64
}

func (c *counted) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += uint64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (e *edge) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &counted{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(c, r)
		e.codes[min(max(c.code/100, 0), 5)].Add(1)
		e.bytes.Add(c.n)
	})
}
