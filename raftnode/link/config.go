// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// Limits and times of the link. Those that both sides must agree on are part of the protocol.
const (
	// DefaultMaxFrame bounds the payload of one frame: one command at its largest, with room.
	DefaultMaxFrame = 64 << 20
	// MinMaxFrame is the least frame limit a Config may ask for.
	MinMaxFrame = 64 << 10
	// maxCallsPerConn bounds the calls in flight on one connection, on the caller's side.
	maxCallsPerConn = 4096
	// maxHandlersPerConn bounds the requests being handled for one connection. It is larger than
	// maxCallsPerConn because a call given up by its caller may still be in its handler.
	maxHandlersPerConn = 2 * maxCallsPerConn
	// maxStreamsPerConn bounds the open streams on one connection.
	maxStreamsPerConn = 16
	// maxQueuedBytes bounds the bytes waiting for one connection's writer; one frame of any
	// allowed size always fits into an empty queue.
	maxQueuedBytes = 32 << 20
	// maxHandledBytes bounds the request bytes being handled for one connection, likewise.
	maxHandledBytes = 64 << 20
	// maxDialWaiters bounds the callers that wait for one dial.
	maxDialWaiters = 1024
	// maxAccepted bounds accepted connections; maxGreeting those still in their handshake.
	maxAccepted = 8192
	maxGreeting = 512
	// maxErrorText bounds the text of an error sent to the other side, in bytes.
	maxErrorText = 1024

	// CallTimeout and CallRate make the deadline of a call without one: CallTimeout plus the
	// request's size at CallRate bytes per second.
	CallTimeout = 5 * time.Second
	CallRate    = 4 << 20

	handshakeTimeout = 3 * time.Second
	// dialPatience is how long a caller waits for a dial to a peer whose last dial failed.
	dialPatience = 250 * time.Millisecond
	backoffBase  = 50 * time.Millisecond
	backoffMax   = time.Second
)

// Deadline returns the time allowed for a request of size bytes.
func Deadline(size int64) time.Duration {
	if size < 0 {
		size = 0
	}
	return CallTimeout + time.Duration(float64(size)/CallRate*float64(time.Second))
}

// now is read for ages and deadlines, which go by its monotonic part, never for dates.
func now() time.Time { return time.Now() } //nolint:forbidigo // monotonic, see above

// Handler answers one request. It runs on its own goroutine. It owns req; the reply belongs to
// the link once returned. ctx ends when the caller's deadline passes, the caller gives up, the
// connection dies or the link closes. An error reaches the caller as a *RemoteError.
type Handler func(ctx context.Context, from string, req []byte) (reply []byte, err error)

// StreamHandler answers one stream. body yields what the other side writes, then io.EOF; it
// fails when ctx ends and stays readable (failing) after the handler returned. What the handler
// leaves unread is discarded.
type StreamHandler func(ctx context.Context, from string, req []byte, body io.Reader) (reply []byte, err error)

// Identity is what two nodes must have in common.
type Identity struct {
	// Cluster is the cluster id, "" while the node belongs to none.
	Cluster string
	// Epoch counts unsafe recoveries of the cluster.
	Epoch uint64
}

// Config of a Link. Host, Node and Logger are required.
type Config struct {
	Host *host.Host
	// Node is this node's id.
	Node   string
	Logger *slog.Logger
	// MaxFrame bounds the payload of a frame, sent or received, in bytes; 0 means DefaultMaxFrame.
	MaxFrame int
	// Admit, when set, is asked for every inbound connection; an error refuses it. It must be
	// quick.
	Admit func(node string, class Class) error
	// Gone, when set, is told that the process of a node is gone; see Link.Gone. It must be quick.
	Gone func(node string)
}

// Validate reports everything wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Host == nil {
		errs = append(errs, errors.New("link: config: no host"))
	}
	if c.Logger == nil {
		errs = append(errs, errors.New("link: config: no logger"))
	}
	if c.Node == "" || len(c.Node) > maxName {
		errs = append(errs, errors.New("link: config: node id is empty or too long"))
	}
	if c.MaxFrame != 0 && c.MaxFrame < MinMaxFrame {
		errs = append(errs, errors.New("link: config: frame limit is too small"))
	}
	return errors.Join(errs...)
}
