// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"

	"github.com/kvorum/kvorum/raftnode/link"
)

// Errors that mean "definitely not applied": IsNotApplied is true for each of them.
var (
	// ErrOverloaded: the queue of the group, or the byte budget of the node, is full.
	ErrOverloaded = errors.New("raftnode: overloaded")
	// ErrNoSpace: this node's disk, or a majority's, is below its reserve, and the Sub would grow
	// the data. Deletes and reads go on.
	ErrNoSpace = errors.New("raftnode: disk space below the reserve")
	// ErrClosed: the group or the node is stopping, or was never started.
	ErrClosed = errors.New("raftnode: closed")
	// ErrTooLarge: a Sub is larger than Config.MaxSubBytes.
	ErrTooLarge = errors.New("raftnode: too large for one log entry")
	// ErrTransferring: the leader is handing over its leadership; retry shortly.
	ErrTransferring = errors.New("raftnode: leadership transfer in progress")
	// ErrTimeout: the context ended before the request was written anywhere.
	ErrTimeout = errors.New("raftnode: timed out before it was written")
	// ErrNoQuorum: a majority did not answer the read fence.
	ErrNoQuorum = errors.New("raftnode: no majority answered")
	// ErrConfigChanged: the membership is not the one the caller named by prevIndex.
	ErrConfigChanged = errors.New("raftnode: membership changed meanwhile")
	// ErrNotCaughtUp: the transfer's target is not live, not caught up, not a voter, or was tried
	// in this term already.
	ErrNotCaughtUp = errors.New("raftnode: transfer target is not live and caught up")
)

// Other errors.
var (
	// ErrUnknown: the outcome is not known: the Sub may have been applied, or may be later.
	ErrUnknown = errors.New("raftnode: outcome unknown")
	// ErrOtherCluster: the data folder, or the peer, belongs to another cluster.
	ErrOtherCluster = errors.New("raftnode: belongs to another cluster")
	// ErrInUse: another process has the data folder open.
	ErrInUse = errors.New("raftnode: data folder is in use by another process")
	// ErrDataLost: the catalogue says that this replica had data, and it is gone. The node must
	// join again under a new identity.
	ErrDataLost = errors.New("raftnode: replica data is lost")
	// ErrLogStore: the data folder was made with another kind of log store.
	ErrLogStore = errors.New("raftnode: the log store of a data folder cannot be changed")
	// ErrNoGroup: this node holds no replica of the group.
	ErrNoGroup = errors.New("raftnode: no such group here")
	// ErrNotSent: a peer link request never left this node, or was refused before it was handled.
	ErrNotSent = link.ErrNotSent
	// ErrLost: a peer link request left this node, and its fate is unknown.
	ErrLost = link.ErrLost
	// ErrExists: a replica of the group is already running here.
	ErrExists = errors.New("raftnode: group is already running")
)

// ErrNotLeader is returned when this replica does not lead its group: nothing was applied. Hint
// names the leader as far as it is known here.
type ErrNotLeader struct {
	Hint Hint
}

// Error implements error.
func (e ErrNotLeader) Error() string {
	if e.Hint.Node == "" {
		return "raftnode: not the leader; the leader is not known"
	}
	return fmt.Sprintf("raftnode: not the leader; the leader is %s in term %d", e.Hint.Node, e.Hint.Term)
}

// Hint names a leader. An empty Node means that none is known; of two hints the one with the
// higher Term is right.
type Hint struct {
	Node string
	Term uint64
}

// IsNotApplied tells whether err, as given to a done callback or returned by a method of Group,
// guarantees that nothing was applied and nothing will be.
func IsNotApplied(err error) bool {
	for _, e := range notApplied() {
		if errors.Is(err, e) {
			return true
		}
	}
	_, ok := errors.AsType[ErrNotLeader](err)
	return ok
}

func notApplied() []error {
	return []error{
		ErrOverloaded, ErrNoSpace, ErrClosed, ErrTooLarge, ErrTransferring, ErrTimeout, ErrNoQuorum,
		ErrConfigChanged, ErrNotCaughtUp,
	}
}
