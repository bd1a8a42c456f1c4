// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kvorum/kvorum/fsm"
)

// The control group's commands. Numbers are stable: they are written to logs.
const (
	opFound       fsm.Op = 0x8000
	opAddNode     fsm.Op = 0x8001
	opSetNode     fsm.Op = 0x8002
	opLeaveNode   fsm.Op = 0x8003
	opRemoveNode  fsm.Op = 0x8004
	opSetReplicas fsm.Op = 0x8005
	opForget      fsm.Op = 0x8006
	opPrefer      fsm.Op = 0x8007
	opSettings    fsm.Op = 0x8008
	opHold        fsm.Op = 0x8009
	opRenew       fsm.Op = 0x800a
	opRelease     fsm.Op = 0x800b
)

// maxControlArg bounds, in bytes, the argument of a control command.
const maxControlArg = 1 << 20

// Every control command has one argument: the JSON form of its struct below, without unknown
// fields. Its result is the Revision after it.
type (
	// cmdFound founds the cluster: the first command ever applied, refused when there is a state.
	cmdFound struct {
		ClusterID      string    `json:"clusterId"`
		HashKey        []byte    `json:"hashKey"`
		ClusterVersion uint32    `json:"clusterVersion"`
		Settings       Settings  `json:"settings"`
		Node           NodeInfo  `json:"node"`
		Slots          []slotRun `json:"slots"`
	}
	// cmdAddNode adds a member with a learner of the control group; adding a member again changes
	// nothing but its addresses.
	cmdAddNode struct {
		Node NodeInfo `json:"node"`
	}
	// cmdSetNode replaces what a node says about itself.
	cmdSetNode struct {
		If   uint64   `json:"if"`
		Node NodeInfo `json:"node"`
	}
	// cmdLeaveNode marks a member as leaving; again changes nothing.
	cmdLeaveNode struct {
		Node string `json:"node"`
	}
	// cmdRemoveNode removes a leaving member that has no replica left; a node that is no member
	// changes nothing.
	cmdRemoveNode struct {
		Node string `json:"node"`
	}
	// cmdSetReplicas says which nodes shall hold some groups, all of it or nothing. A listed node
	// without replica gets a new number; a replica whose node is not listed becomes gone.
	cmdSetReplicas struct {
		Groups []groupReplicas `json:"groups"`
	}
	// cmdForget drops a gone replica, after it left its group's membership; one that is dropped
	// already changes nothing.
	cmdForget struct {
		Group  uint32 `json:"group"`
		Number uint64 `json:"number"`
	}
	// cmdPrefer names the node that should lead a group.
	cmdPrefer struct {
		Group uint32 `json:"group"`
		If    uint64 `json:"if"`
		Node  string `json:"node"`
	}
	// cmdSettings replaces the settings; Groups must stay.
	cmdSettings struct {
		If       uint64   `json:"if"`
		Settings Settings `json:"settings"`
	}
)

// groupReplicas says which nodes shall hold a group that has not changed since If.
type groupReplicas struct {
	Group    uint32   `json:"group"`
	If       uint64   `json:"if"`
	Voters   []string `json:"voters"`
	Learners []string `json:"learners"`
}

// slotRun gives slots [Start, Start+Len) to Group.
type slotRun struct {
	Start int    `json:"start"`
	Len   int    `json:"len"`
	Group uint32 `json:"group"`
}

// slotRuns is the shortest form of a slot table; slots without owner are left out.
func slotRuns(t *[SlotCount]uint32) []slotRun {
	var runs []slotRun
	for s := 0; s < SlotCount; {
		e := s + 1
		for e < SlotCount && t[e] == t[s] {
			e++
		}
		if t[s] != 0 {
			runs = append(runs, slotRun{Start: s, Len: e - s, Group: t[s]})
		}
		s = e
	}
	return runs
}

// slotsOf is the inverse of slotRuns.
func slotsOf(runs []slotRun) (*[SlotCount]uint32, error) {
	t := new([SlotCount]uint32)
	for _, r := range runs {
		if r.Start < 0 || r.Len < 1 || r.Len > SlotCount || r.Start > SlotCount-r.Len {
			return nil, fmt.Errorf("%w: slots [%d, %d+%d) do not exist", ErrRefused, r.Start, r.Start, r.Len)
		}
		for s := r.Start; s < r.Start+r.Len; s++ {
			if t[s] != 0 {
				return nil, fmt.Errorf("%w: slot %d is given twice", ErrRefused, s)
			}
			t[s] = r.Group
		}
	}
	return t, nil
}

// controlTable is the control group's command table. It holds nothing that changes.
func controlTable() *fsm.Table {
	limits := fsm.DefaultLimits().WithMaxValue(maxControlArg)
	row := func(op fsm.Op, name string) fsm.Spec {
		return fsm.Spec{Op: op, Name: name, Arity: 2, Write: true, Internal: true}
	}
	return fsm.NewTable(limits, []fsm.Spec{
		row(opFound, "CONTROL.FOUND"),
		row(opAddNode, "CONTROL.ADDNODE"),
		row(opSetNode, "CONTROL.SETNODE"),
		row(opLeaveNode, "CONTROL.LEAVENODE"),
		row(opRemoveNode, "CONTROL.REMOVENODE"),
		row(opSetReplicas, "CONTROL.SETREPLICAS"),
		row(opForget, "CONTROL.FORGET"),
		row(opPrefer, "CONTROL.PREFER"),
		row(opSettings, "CONTROL.SETTINGS"),
		row(opHold, "CONTROL.HOLD"),
		row(opRenew, "CONTROL.RENEW"),
		row(opRelease, "CONTROL.RELEASE"),
	})
}

// controlCommand builds a command from one of the structs above.
func controlCommand(arg any) fsm.Command {
	b, err := json.Marshal(arg)
	if err != nil {
		panic("shard: control command: " + err.Error()) // plain structs always marshal
	}
	return fsm.Command{Op: controlOp(arg), Args: [][]byte{b}}
}

func controlOp(arg any) fsm.Op {
	switch arg.(type) {
	case *cmdFound:
		return opFound
	case *cmdAddNode:
		return opAddNode
	case *cmdSetNode:
		return opSetNode
	case *cmdLeaveNode:
		return opLeaveNode
	case *cmdRemoveNode:
		return opRemoveNode
	case *cmdSetReplicas:
		return opSetReplicas
	case *cmdForget:
		return opForget
	case *cmdPrefer:
		return opPrefer
	case *cmdSettings:
		return opSettings
	case *cmdHold:
		return opHold
	case *cmdRenew:
		return opRenew
	case *cmdRelease:
		return opRelease
	}
	panic(fmt.Sprintf("shard: no control command takes a %T", arg))
}

// parseControl is the inverse of controlCommand.
func parseControl(op fsm.Op, args [][]byte) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("%w: %d arguments", ErrRefused, len(args))
	}
	var arg any
	switch op {
	case opFound:
		arg = new(cmdFound)
	case opAddNode:
		arg = new(cmdAddNode)
	case opSetNode:
		arg = new(cmdSetNode)
	case opLeaveNode:
		arg = new(cmdLeaveNode)
	case opRemoveNode:
		arg = new(cmdRemoveNode)
	case opSetReplicas:
		arg = new(cmdSetReplicas)
	case opForget:
		arg = new(cmdForget)
	case opPrefer:
		arg = new(cmdPrefer)
	case opSettings:
		arg = new(cmdSettings)
	case opHold:
		arg = new(cmdHold)
	case opRenew:
		arg = new(cmdRenew)
	case opRelease:
		arg = new(cmdRelease)
	default:
		return nil, fmt.Errorf("%w: no control command has number %d", ErrRefused, op)
	}
	if err := strictJSON(args[0], arg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return arg, nil
}

// strictJSON decodes one JSON value without unknown fields and without anything behind it.
func strictJSON(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON value")
	}
	return nil
}
