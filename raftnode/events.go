// SPDX-License-Identifier: Apache-2.0

package raftnode

// Events are told what happens in a node or group. Each field may be nil. They run on internal
// goroutines: they must be quick, must not block and must not call back into the Group.
type Events struct {
	// LeaderChanged: the group's leader as known here is now hint; an empty Node means none.
	LeaderChanged func(group uint32, hint Hint)
	// Leading: this replica leads (its first entry of the term is applied) or no longer leads.
	Leading func(group uint32, leading bool)
	// Applied: entries up to index are applied here; called once a batch.
	Applied func(group uint32, index uint64)
	// ConfigChanged: a membership change at index is committed and applied here.
	ConfigChanged func(group uint32, index uint64)
	// Fatal: the process must stop: its disk or its state can no longer be trusted. Told once.
	Fatal func(err error)
	// LowDisk: this node's disk went below its reserve, or is above it again.
	LowDisk func(low bool)
}
