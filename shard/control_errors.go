// SPDX-License-Identifier: Apache-2.0

package shard

import "errors"

// Errors of the administrative calls. Match with errors.Is.
var (
	// ErrUninitialised: the node belongs to no cluster, or does not know its state yet.
	ErrUninitialised = errors.New("shard: this node belongs to no cluster yet")
	// ErrBehind: the node is a member and has not learnt the cluster's state since it started.
	ErrBehind = errors.New("shard: this node has not caught up with its cluster yet")
	// ErrInitialised: the node belongs to a cluster already.
	ErrInitialised = errors.New("shard: this node belongs to a cluster already")
	// ErrHasData: the data folder holds groups of an unknown cluster.
	ErrHasData = errors.New("shard: the data folder is not empty")
	// ErrLeft: the node left its cluster; its data folder must be emptied before it joins again.
	ErrLeft = errors.New("shard: this node left its cluster; start it with an empty data folder to join again")
	// ErrUnreachable: no member that was named answered.
	ErrUnreachable = errors.New("shard: no member answered")
	// ErrMemberUninitialised: the member that was named belongs to no cluster itself.
	ErrMemberUninitialised = errors.New("shard: the member named belongs to no cluster itself")
	// ErrNoControlLeader: the control group has no leader that answers; try again.
	ErrNoControlLeader = errors.New("shard: the control group has no leader")
	// ErrConflict: the control state changed since it was looked at; look again.
	ErrConflict = errors.New("shard: control state changed meanwhile")
	// ErrRefused: the control group refused the change; the text says why.
	ErrRefused = errors.New("shard: refused")
	// ErrNoSuchNode: no member, or more than one, goes by that name.
	ErrNoSuchNode = errors.New("shard: no such node")
	// ErrLastNode: the last node cannot leave.
	ErrLastNode = errors.New("shard: the last node cannot leave; stop it and delete its data folder instead")
	// ErrNoSuchGroup: the cluster has no such group.
	ErrNoSuchGroup = errors.New("shard: no such group")
	// ErrBusy: an Init or Join is under way on this node.
	ErrBusy = errors.New("shard: this node is founding or joining a cluster already")
	// ErrClosing: the node is shutting down.
	ErrClosing = errors.New("shard: the node is closing")
	// ErrVersion: the cluster runs at a version that this program does not know.
	ErrVersion = errors.New("shard: cluster version is not supported")
)
