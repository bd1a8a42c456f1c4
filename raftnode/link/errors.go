// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
)

// The two delivery outcomes of a failed call. Every error of Call, CallParts, CallAddr and
// OpenStream matches exactly one of them with errors.Is, unless it is a *RemoteError.
var (
	// ErrNotSent: the request never left this node whole, or the other side refused it before
	// any handler saw it. It is certain that it has and will have no effect.
	ErrNotSent = errors.New("link: not sent")
	// ErrLost: the request may have reached a handler; its answer did not reach us.
	ErrLost = errors.New("link: answer lost")
)

// Causes found beside ErrNotSent or ErrLost.
var (
	// ErrClosed: this link is closed.
	ErrClosed = errors.New("link closed")
	// ErrUnknownNode: the directory has no address for the node.
	ErrUnknownNode = errors.New("node has no known address")
	// ErrUnreachable: the last dial failed and the next one is not due yet, or is under way.
	ErrUnreachable = errors.New("peer unreachable")
	// ErrBusy: a bound on queued or running requests is reached, here or on the other side.
	ErrBusy = errors.New("too many requests in flight")
	// ErrTooLarge: the request is over the frame limit.
	ErrTooLarge = errors.New("frame too large")
	// ErrNoHandler: the other side handles no requests of this class (yet).
	ErrNoHandler = errors.New("no handler for this class")
	// ErrTimeout: the deadline of the call passed.
	ErrTimeout = errors.New("deadline passed")
	// ErrUnresponsive: the connection was given up because the peer sent nothing for too long.
	ErrUnresponsive = errors.New("peer does not respond")
	// ErrReplaced: the peer opened a newer connection of the same class.
	ErrReplaced = errors.New("connection replaced by a newer one")
	// ErrProtocol: the other side broke the rules of the protocol.
	ErrProtocol = errors.New("protocol violation")
)

// Refusals of a handshake. A call that fails with one also matches ErrNotSent.
var (
	// ErrOtherCluster: the two sides belong to different clusters, or one to none.
	ErrOtherCluster = errors.New("node belongs to another cluster")
	// ErrOtherEpoch: the two sides stand on different sides of an unsafe recovery.
	ErrOtherEpoch = errors.New("node is of another recovery epoch")
	// ErrWrongNode: the node at this address is not the one meant.
	ErrWrongNode = errors.New("another node answers at this address")
	// ErrVersion: no protocol version is spoken by both sides.
	ErrVersion = errors.New("no common protocol version")
	// ErrFeature: one side requires a feature the other does not know.
	ErrFeature = errors.New("required feature not supported")
	// ErrNotAdmitted: the other side does not admit this node, for example because it was removed.
	ErrNotAdmitted = errors.New("node is not admitted")
	// ErrNotPeer: what answers at this address does not speak this protocol.
	ErrNotPeer = errors.New("no peer link at this address")
)

// RemoteError is the error a handler on the other side returned: the request was delivered and
// handled.
type RemoteError struct {
	// Text is the remote error's text, cut to maxErrorText bytes.
	Text string
}

// Error returns the remote text with a prefix.
func (e *RemoteError) Error() string { return "link: remote: " + e.Text }

// errExpired is ErrTimeout that is also known to users of contexts.
var errExpired = fmt.Errorf("%w: %w", ErrTimeout, context.DeadlineExceeded)

func notSent(cause error) error {
	if cause == nil || errors.Is(cause, ErrNotSent) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrNotSent, cause)
}

func lost(cause error) error {
	return fmt.Errorf("%w: %w", ErrLost, cause)
}
