// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"context"
	"io"
	"log/slog"
	"net"
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
	// pipelineStep is the number of commands of a pipeline in one router call.
	pipelineStep = 256
	// maxScanCount bounds what one request for keys asks for.
	maxScanCount = 10_000
	// DefaultMaxConns is how many connections the server holds.
	DefaultMaxConns = 10_000
	// DefaultBodyBudget bounds, in bytes, the bodies that are held at one time over all requests.
	DefaultBodyBudget = 256 << 20
	// freeBody is what a request may hold without asking the budget.
	freeBody = 64 << 10
	// writeChunk must reach the client within stallTime.
	writeChunk = 256 << 10
	stallTime  = 30 * time.Second
	// refuseTime bounds the answer to a connection over the limit.
	refuseTime = 100 * time.Millisecond
	refusal    = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
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
	Compare(ctx context.Context) (shard.Comparison, error)
	TransferLeader(ctx context.Context, group uint32, node string) error
	Save(ctx context.Context, w io.Writer) error
	Restore(ctx context.Context, r io.Reader, o shard.RestoreOptions) error
	CancelRestore(ctx context.Context) error
}

// Router carries commands; *shard.Router is one.
type Router interface {
	Do(ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply)
	// Stream is Do for replies that may be large: hand gets them in order, and they are gone when it
	// returns.
	Stream(ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply, hand func([]shard.Reply) error) error
	Table() *fsm.Table
	// SlotMap returns the newest map, nil before the first.
	SlotMap() *shard.Map
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
	// MaxConns is how many connections NewServer's server holds; 0 means DefaultMaxConns.
	MaxConns int
	// BodyBudget bounds, in bytes, the bodies held at one time; 0 means DefaultBodyBudget.
	BodyBudget int64
	// Replicas returns every replica's copy of a key, in any order. Nil leaves /v1/replicas out.
	Replicas func(ctx context.Context, key []byte) ([]Copy, error)
	// Origins are those of web pages that may change things, such as "https://admin.example". Other
	// pages are refused; programs that are no browsers send no origin.
	Origins []string
	// Version is shown by /v1/openapi.json and the metrics.
	Version string
	// Logger receives the edge's news; nil discards them.
	Logger *slog.Logger
}

// edge is the handler's state.
type edge struct {
	cfg   Config
	start time.Time
	// ids numbers connections, open counts them.
	ids  atomic.Uint64
	open atomic.Int64
	// held counts the bytes of bodies beyond freeBody each.
	held atomic.Int64
	// codes counts answers by hundreds: codes[2] is 2xx.
	codes [6]atomic.Uint64
	bytes atomic.Uint64
}

// New makes the handler. An origin that is none is a programmer's error and panics.
func New(cfg Config) http.Handler { return newEdge(cfg).handler() }

func newEdge(cfg Config) *edge {
	setIfZero(&cfg.Timeout, shard.DefaultTimeout)
	setIfZero(&cfg.MaxConns, DefaultMaxConns)
	setIfZero(&cfg.BodyBudget, DefaultBodyBudget)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &edge{cfg: cfg, start: time.Now()}
}

func setIfZero[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// handler counts answers and refuses what web pages of other origins would change.
func (e *edge) handler() http.Handler {
	cross := http.NewCrossOriginProtection()
	for _, o := range e.cfg.Origins {
		if err := cross.AddTrustedOrigin(o); err != nil {
			panic("httpd: config: " + err.Error())
		}
	}
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "a web page of another origin may change nothing here", "origin", appliedNo)
	}))
	return e.count(cross.Handler(e.routes()))
}

// connKey is the context key of a connection's number.
type connKey struct{}

// NewServer makes a server around New with the edge's limits on time, headers and connections.
func NewServer(cfg Config) *http.Server {
	e := newEdge(cfg)
	return &http.Server{
		Handler:           e.handler(),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(e.cfg.Logger.Handler(), slog.LevelDebug),
		ConnState:         e.connState,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, e.ids.Add(1))
		},
	}
}

// connState counts connections, and turns away those over the limit before anything is read.
func (e *edge) connState(nc net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if e.open.Add(1) > int64(e.cfg.MaxConns) {
			_ = nc.SetWriteDeadline(time.Now().Add(refuseTime))
			_, _ = nc.Write([]byte(refusal))
			_ = nc.Close()
		}
	case http.StateClosed, http.StateHijacked:
		e.open.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// caller says on whose behalf a request runs. ok false: an answer has been written.
func (e *edge) caller(w http.ResponseWriter, r *http.Request) (c *shard.Caller, ok bool) {
	c = &shard.Caller{Protocol: "http", Timeout: e.cfg.Timeout}
	c.Conn, _ = r.Context().Value(connKey{}).(uint64)
	switch r.URL.Query().Get("consistency") {
	case "", "linearizable":
	case "stale":
		c.Stale = true
	default:
		writeError(w, http.StatusBadRequest, "consistency is neither linearizable nor stale", "request", appliedNo)
		return nil, false
	}
	return c, true
}

// counted notes an answer's status and size.
type counted struct {
	http.ResponseWriter
	code int
	n    uint64
}

func (c *counted) WriteHeader(code int) {
	c.code = code
	c.arm()
	c.ResponseWriter.WriteHeader(code)
}

// Write sends p in pieces, each of which must reach the client in time.
func (c *counted) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var m int
		c.arm()
		m, err = c.ResponseWriter.Write(p[:min(len(p), writeChunk)])
		n, p = n+m, p[m:]
	}
	c.n += uint64(n)
	return n, err
}

func (c *counted) arm() {
	// A writer without deadlines, as in tests, has no slow client either.
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(stallTime))
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
