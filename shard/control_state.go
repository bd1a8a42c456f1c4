// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/kvorum/kvorum/fsm"
)

// sectionControl is the one section of the control group's snapshots: controlImage as JSON.
const sectionControl = fsm.SectionState

// controlImageVersion is written to snapshots; another one is refused.
const controlImageVersion = 1

// controlState is the control group's fsm.State: a View that is replaced, never changed. Writers
// are the machine's applying goroutine; anybody may load the View.
type controlState struct {
	view atomic.Pointer[View]
	// changed is told each new View, on the applying goroutine; it must be quick.
	changed func(*View)
	// loading is the View between BeginLoad and EndLoad; nil when no section came yet.
	loading *View
}

var _ fsm.State = (*controlState)(nil)

func newControlState(changed func(*View)) *controlState {
	s := &controlState{changed: changed}
	s.view.Store(emptyView())
	return s
}

// emptyView is the state before founding.
func emptyView() *View { return &View{Slots: new([SlotCount]uint32)} }

// Begin has nothing to do: control state neither expires nor is evicted.
func (s *controlState) Begin(*fsm.Ctx, []fsm.Victim) {}

// Run applies one control command; the result is the Revision after it.
func (s *controlState) Run(_ *fsm.Ctx, cmd *fsm.Command) fsm.Result {
	now := s.view.Load()
	next, err := now.apply(cmd.Op, cmd.Args)
	switch {
	case errors.Is(err, ErrConflict):
		return fsm.Errorf(fsm.CodeVersion, "ERR %v", err)
	case err != nil:
		return fsm.Errorf(fsm.CodeError, "ERR %v", err)
	}
	if next != now {
		s.view.Store(next)
		s.changed(next)
	}
	return fsm.Int(int64(next.Revision))
}

// Query refuses: readers use the View.
func (s *controlState) Query(_ *fsm.Ctx, cmd *fsm.Command) fsm.Result {
	return fsm.Errorf(fsm.CodeUnknown, "ERR unknown command number %d", cmd.Op)
}

// Freeze costs nothing: a View never changes.
func (s *controlState) Freeze() (fsm.Frozen, error) { return frozenControl{s.view.Load()}, nil }

type frozenControl struct{ view *View }

func (f frozenControl) Sections(add func(kind uint8, id uint32, data []byte) error) error {
	data, err := f.view.marshal()
	if err != nil {
		return fmt.Errorf("shard: control snapshot: %w", err)
	}
	return add(sectionControl, 0, data)
}

func (f frozenControl) Epoch() uint64 { return f.view.Epoch }

func (frozenControl) Close() {}

// BeginLoad leaves the present View to readers until the new one is complete.
func (s *controlState) BeginLoad() { s.loading = nil }

// Load takes the one section of a snapshot.
func (s *controlState) Load(kind uint8, id uint32, data []byte) error {
	if kind != sectionControl || id != 0 || s.loading != nil {
		return fmt.Errorf("shard: control snapshot: unexpected section %d/%d", kind, id)
	}
	v, err := unmarshalView(data)
	if err != nil {
		return fmt.Errorf("shard: control snapshot: %w", err)
	}
	s.loading = v
	return nil
}

// EndLoad publishes what was loaded.
func (s *controlState) EndLoad() error {
	if s.loading == nil {
		return errors.New("shard: control snapshot: no state in it")
	}
	s.view.Store(s.loading)
	s.changed(s.loading)
	s.loading = nil
	return nil
}

// Digest sums the whole state as part 0.
func (s *controlState) Digest(f func(id uint32, sum [16]byte)) {
	data, err := s.view.Load().marshal()
	if err != nil {
		panic("shard: control digest: " + err.Error()) // plain structs always marshal
	}
	sum := sha256.Sum256(data)
	f(0, [16]byte(sum[:16]))
}

// NextDeadline is none: control state does not expire.
func (s *controlState) NextDeadline() int64 { return 0 }

// GrowthBound is 0: nobody is evicted.
func (s *controlState) GrowthBound([]*fsm.Sub) int64 { return 0 }

// PlanEvictions names nobody.
func (s *controlState) PlanEvictions(int64) []fsm.Victim { return nil }

// controlImage is a View as snapshots hold it.
type controlImage struct {
	Version        int         `json:"version"`
	ClusterID      string      `json:"clusterId"`
	ClusterVersion uint32      `json:"clusterVersion"`
	HashKey        []byte      `json:"hashKey"`
	Revision       uint64      `json:"revision"`
	Settings       Settings    `json:"settings"`
	SettingsRev    uint64      `json:"settingsRev"`
	Nodes          []NodeInfo  `json:"nodes"`
	Groups         []GroupInfo `json:"groups"`
	NextGroup      uint32      `json:"nextGroup"`
	Slots          []slotRun   `json:"slots"`
	Epoch          uint64      `json:"epoch"`
	Holds          []Hold      `json:"holds,omitempty"`
	Restored       uint64      `json:"restored,omitempty"`
}

// marshal is a function of the View's content alone: slices are ordered, JSON sorts map keys.
func (v *View) marshal() ([]byte, error) {
	return json.Marshal(&controlImage{
		Version: controlImageVersion, ClusterID: v.ClusterID, ClusterVersion: v.ClusterVersion,
		HashKey: v.HashKey[:], Revision: v.Revision, Settings: v.Settings, SettingsRev: v.SettingsRev,
		Nodes: v.Nodes, Groups: v.Groups, NextGroup: v.NextGroup, Slots: slotRuns(v.Slots), Epoch: v.Epoch,
		Holds: v.Holds, Restored: v.Restored,
	})
}

func unmarshalView(data []byte) (*View, error) {
	var c controlImage
	if err := strictJSON(data, &c); err != nil {
		return nil, err
	}
	if c.Version != controlImageVersion || len(c.HashKey) != 16 {
		return nil, fmt.Errorf("image version %d is not supported", c.Version)
	}
	slots, err := slotsOf(c.Slots)
	if err != nil {
		return nil, err
	}
	return &View{
		ClusterID: c.ClusterID, ClusterVersion: c.ClusterVersion, HashKey: [16]byte(c.HashKey),
		Revision: c.Revision, Settings: c.Settings, SettingsRev: c.SettingsRev,
		Nodes: c.Nodes, Groups: c.Groups, NextGroup: c.NextGroup, Slots: slots, Epoch: c.Epoch,
		Holds: c.Holds, Restored: c.Restored,
	}, nil
}
