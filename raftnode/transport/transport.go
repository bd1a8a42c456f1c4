// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Hooks is what the transport asks the running replica. All are required, must be quick and must
// not wait for raft's main loop.
type Hooks struct {
	// Term returns raft's current term.
	Term func() uint64
	// Leader returns the leader raft knows, "" when none.
	Leader func() raft.ServerID
	// HasConfiguration tells whether raft's latest configuration has any server.
	HasConfiguration func() bool
	// LocalSnapshot returns index and term of the newest complete local snapshot, 0 without one.
	LocalSnapshot func() (index, term uint64)
	// Applied returns the index up to which the state machine has applied or restored. A snapshot
	// above it counts as not there.
	Applied func() uint64
	// HasEntry tells whether the log holds the entry of this index with this term.
	HasEntry func(index, term uint64) bool
}

// Transport is raft.Transport for one replica of one group.
type Transport struct {
	mux     *Mux
	group   uint32
	replica uint64
	self    raft.ServerID

	// consumer has no buffer: what raft has not taken can still be taken back.
	consumer chan raft.RPC
	// turn holds the one token that a message needs on its way through raft. The token is the
	// answer raft still owes to a message whose sender gave up, or nil. After Close it is lost.
	turn  chan (<-chan raft.RPCResponse)
	hooks atomic.Pointer[Hooks]
	// ctx ends with Close; stop ends it with ErrClosed.
	ctx  context.Context
	stop context.CancelCauseFunc

	progress progressTable
	ahead    aheadTable
	answers  answers
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

// Attach lets messages in. It is called once, when raft runs.
func (t *Transport) Attach(h Hooks) { t.hooks.Store(&h) }

// Close releases everything that waits in this transport, in either direction, and refuses all
// further traffic. It does not wait for raft, so it comes before raft's shutdown is waited for
// (W8); raft then calls it again, which does nothing.
func (t *Transport) Close() error {
	t.mux.drop(t)
	t.stop(ErrClosed)
	return nil
}

// Consumer implements raft.Transport.
func (t *Transport) Consumer() <-chan raft.RPC { return t.consumer }

// LocalAddr implements raft.Transport: the address of a replica is its id.
func (t *Transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.self) }

// EncodePeer implements raft.Transport.
func (t *Transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements raft.Transport by doing nothing (W1).
func (t *Transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntriesPipeline implements raft.Transport (W5).
func (t *Transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}
