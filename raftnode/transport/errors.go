// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"errors"
	"fmt"
)

// Refusals, from this node or from the other side.
var (
	// ErrClosed: this transport is closed.
	ErrClosed = errors.New("transport: closed")
	// ErrGroupOpen: Open found the group open.
	ErrGroupOpen = errors.New("transport: group is open already")
	// ErrNoGroup: the other node has no such group.
	ErrNoGroup = errors.New("transport: no such group on the node")
	// ErrWrongReplica: the node holds another replica of the group than the one meant.
	ErrWrongReplica = errors.New("transport: another replica answers")
	// ErrNotReady: the other replica is starting or stopping.
	ErrNotReady = errors.New("transport: replica is not running")
	// ErrMalformed: a message could not be read, or says what no sound sender says.
	ErrMalformed = errors.New("transport: malformed message")
	// ErrStaleTransfer: an order to start an election was not from the leader of the current term.
	ErrStaleTransfer = errors.New("transport: leadership transfer is out of date")
	// ErrDiskOverdue: this node's disk is overdue, so it must not act as a leader.
	ErrDiskOverdue = errors.New("transport: disk of this node is overdue")
	// ErrTimeout: the other replica did not take the message up in time.
	ErrTimeout = errors.New("transport: replica is busy")
	// ErrRemote: the other replica's raft failed on the message.
	ErrRemote = errors.New("transport: replica failed")
	// ErrSnapshotSize: a snapshot body is not as long as was said.
	ErrSnapshotSize = errors.New("transport: snapshot body has another size than announced")
)

// Status of a reply. The numbers are on the wire and never change.
const (
	statusOK            = 0
	statusNoGroup       = 1
	statusWrongReplica  = 2
	statusNotReady      = 3
	statusMalformed     = 4
	statusStaleTransfer = 5
	statusTimeout       = 6
	statusFailed        = 7 // followed by text
)

// statusOf is the one place that maps errors of this side to the wire.
func statusOf(err error) byte {
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, ErrNoGroup):
		return statusNoGroup
	case errors.Is(err, ErrWrongReplica):
		return statusWrongReplica
	case errors.Is(err, ErrNotReady), errors.Is(err, ErrClosed):
		return statusNotReady
	case errors.Is(err, ErrMalformed):
		return statusMalformed
	case errors.Is(err, ErrStaleTransfer):
		return statusStaleTransfer
	case errors.Is(err, ErrTimeout):
		return statusTimeout
	}
	return statusFailed
}

// errorOf undoes statusOf.
func errorOf(status byte, text []byte) error {
	switch status {
	case statusOK:
		return nil
	case statusNoGroup:
		return ErrNoGroup
	case statusWrongReplica:
		return ErrWrongReplica
	case statusNotReady:
		return ErrNotReady
	case statusMalformed:
		return ErrMalformed
	case statusStaleTransfer:
		return ErrStaleTransfer
	case statusTimeout:
		return ErrTimeout
	}
	return fmt.Errorf("%w: %q", ErrRemote, text)
}
