// SPDX-License-Identifier: Apache-2.0

package link

import "strconv"

// Class separates traffic of different urgency into different connections, so that a snapshot
// never delays a vote. The numbers are on the wire and never change.
type Class uint8

const (
	// ClassRaft carries the consensus messages of all groups.
	ClassRaft Class = 1
	// ClassControl carries term checks and membership talk: small and urgent.
	ClassControl Class = 2
	// ClassForward carries commands on their one hop to the leader.
	ClassForward Class = 3
	// ClassObserve carries views of the control group to whoever follows it.
	ClassObserve Class = 4
	// ClassBulk carries large bodies: snapshots.
	ClassBulk Class = 5
	// ClassJoin is the only class open to a node that knows no cluster yet.
	ClassJoin Class = 6

	maxClass = ClassJoin
)

// String is the name used in logs and metrics.
func (c Class) String() string {
	switch c {
	case ClassRaft:
		return "raft"
	case ClassControl:
		return "control"
	case ClassForward:
		return "forward"
	case ClassObserve:
		return "observe"
	case ClassBulk:
		return "bulk"
	case ClassJoin:
		return "join"
	}
	return "class-" + strconv.Itoa(int(c))
}

func (c Class) valid() bool { return c >= ClassRaft && c <= maxClass }

// mayOmitReceiver tells whether a dialer that knows an address but no node id is welcome.
func (c Class) mayOmitReceiver() bool {
	return c == ClassJoin || c == ClassObserve || c == ClassControl
}
