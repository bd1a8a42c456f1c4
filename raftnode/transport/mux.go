// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/link"
)

// Config of a Mux. Link and Logger are required.
type Config struct {
	Link   *link.Link
	Logger *slog.Logger
	// DiskOverdue tells whether this node's disk is overdue (W6); nil means never. It must be
	// quick.
	DiskOverdue func() bool
}

// Mux shares one node's link among the transports of its groups. It owns the link's classes raft
// and, for streams, bulk.
type Mux struct {
	cfg Config

	mu struct {
		sync.RWMutex
		groups map[uint32]*Transport
	}
}

// NewMux registers with the link. It starts nothing and needs no Close: the link's Close ends it.
func NewMux(cfg Config) (*Mux, error) {
	if cfg.Link == nil || cfg.Logger == nil {
		return nil, errors.New("transport: config: link and logger are required")
	}
	m := &Mux{cfg: cfg}
	m.mu.groups = make(map[uint32]*Transport)
	cfg.Link.Handle(link.ClassRaft, m.receive)
	cfg.Link.HandleStream(link.ClassBulk, m.receiveStream)
	return m, nil
}

// Open makes the transport of one group's replica on this node, to be given to raft.NewRaft. Until
// Attach it sends but refuses what comes in.
func (m *Mux) Open(group uint32, replica uint64) (*Transport, error) {
	t := &Transport{
		mux: m, group: group, replica: replica,
		self:     ServerID(m.cfg.Link.Node(), replica),
		consumer: make(chan raft.RPC),
		turn:     make(chan (<-chan raft.RPCResponse), 1),
	}
	t.passTurn(nil)
	t.ctx, t.stop = context.WithCancelCause(context.Background())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.groups[group] != nil {
		return nil, ErrGroupOpen
	}
	m.mu.groups[group] = t
	return t, nil
}

func (m *Mux) drop(t *Transport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.groups[t.group] == t {
		delete(m.mu.groups, t.group)
	}
}

func (m *Mux) diskOverdue() bool {
	return m.cfg.DiskOverdue != nil && m.cfg.DiskOverdue()
}

// address finds the transport a message is meant for.
func (m *Mux) address(req []byte) (*Transport, envelope, []byte, error) {
	e, rest, err := parseEnvelope(req)
	if err != nil {
		return nil, e, nil, err
	}
	m.mu.RLock()
	t := m.mu.groups[e.Group]
	m.mu.RUnlock()
	switch {
	case t == nil:
		return nil, e, nil, ErrNoGroup
	case e.To != t.replica:
		return nil, e, nil, ErrWrongReplica
	}
	return t, e, rest, nil
}

// receive is the link's handler of class raft. Errors travel in the reply's status.
func (m *Mux) receive(ctx context.Context, from string, req []byte) ([]byte, error) {
	t, e, rest, err := m.address(req)
	if err != nil {
		return refuse(err), nil
	}
	reply, err := t.receive(ctx, from, e, rest)
	if err != nil {
		return refuse(err), nil
	}
	return reply, nil
}

// receiveStream is the link's stream handler of class bulk.
func (m *Mux) receiveStream(ctx context.Context, from string, req []byte, body io.Reader) ([]byte, error) {
	t, e, rest, err := m.address(req)
	if err != nil {
		return refuse(err), nil
	}
	reply, err := t.receiveSnapshot(ctx, from, e, rest, body)
	if err != nil {
		return refuse(err), nil
	}
	return reply, nil
}

func refuse(err error) []byte {
	status := statusOf(err)
	reply := []byte{status}
	if status == statusFailed {
		reply = append(reply, err.Error()...)
	}
	return reply
}
