// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"reflect"
	"testing"
)

// Holds: their ids grow, a repeated command changes nothing, a restore is alone, and only a hold that is
// there can be kept.
func TestControlHolds(t *testing.T) {
	v := mustApply(t, emptyView(), foundCommand(2, 3), &cmdAddNode{Node: testNode("n2")})
	refused(t, v, ErrRefused, &cmdHold{Kind: "perhaps", Node: "n1", Nonce: "a"})
	refused(t, v, ErrRefused, &cmdHold{Kind: HoldSave, Node: "nobody", Nonce: "a"})
	refused(t, v, ErrRefused, &cmdHold{Kind: HoldSave, Node: "n1"})
	save := &cmdHold{Kind: HoldSave, Node: "n1", Nonce: "a"}
	v = mustApply(t, v, save)
	if again := mustApply(t, v, save); again != v {
		t.Error("the same hold again changed the state")
	}
	first := v.Holds[0]
	if want := (Hold{ID: v.Revision, Kind: HoldSave, Node: "n1", Nonce: "a", Rev: v.Revision}); first != want {
		t.Fatalf("hold %+v, want %+v", first, want)
	}
	refused(t, v, ErrRefused, &cmdHold{Kind: HoldRestore, Node: "n2", Nonce: "b"})
	for i := range maxHolds - 1 {
		v = mustApply(t, v, &cmdHold{Kind: HoldSave, Node: "n2", Nonce: string(rune('c' + i))})
	}
	refused(t, v, ErrRefused, &cmdHold{Kind: HoldSave, Node: "n2", Nonce: "z"})
	if v.Holds[0] != first || len(v.Holds) != maxHolds || v.Holds[1].ID <= first.ID {
		t.Fatalf("holds %+v", v.Holds)
	}

	older := v
	v = mustApply(t, v, &cmdRenew{ID: first.ID})
	if v.Holds[0].Rev != v.Revision || older.Holds[0].Rev != first.Rev {
		t.Errorf("renewed to %+v, from %+v", v.Holds[0], older.Holds[0])
	}
	refused(t, v, ErrConflict, &cmdRelease{ID: first.ID, If: first.Rev})
	refused(t, v, ErrRefused, &cmdRelease{ID: first.ID, Keep: true})
	for _, h := range v.Holds {
		v = mustApply(t, v, &cmdRelease{ID: h.ID, If: h.Rev})
	}
	refused(t, v, ErrRefused, &cmdRenew{ID: first.ID})
	if again := mustApply(t, v, &cmdRelease{ID: first.ID}); again != v || len(v.Holds) != 0 {
		t.Error("a release of nothing changed the state")
	}
}

// What a restore's end means to a group that has it open.
func TestControlRestore(t *testing.T) {
	v := mustApply(t, emptyView(), foundCommand(2, 3))
	over := func(id uint64, want, keep bool) {
		t.Helper()
		if o, k := v.importOver(id); o != want || k != keep {
			t.Errorf("import %d at revision %d: over %t, keep %t", id, v.Revision, o, k)
		}
	}
	v = mustApply(t, v, &cmdHold{Kind: HoldRestore, Node: "n1", Nonce: "a"})
	first := v.Holds[0].ID
	refused(t, v, ErrRefused, &cmdHold{Kind: HoldRestore, Node: "n1", Nonce: "b"})
	refused(t, v, ErrRefused, &cmdHold{Kind: HoldSave, Node: "n1", Nonce: "b"})
	over(first, false, false)
	over(v.Revision+1, false, false) // not heard of yet
	v = mustApply(t, v, &cmdRelease{ID: first})
	over(first, true, false)
	refused(t, v, ErrRefused, &cmdRelease{ID: first, Keep: true})

	v = mustApply(t, v, &cmdHold{Kind: HoldRestore, Node: "n1", Nonce: "c"})
	second := v.Holds[0].ID
	v = mustApply(t, v, &cmdRelease{ID: second, Keep: true})
	if v.Restored != second || len(v.Holds) != 0 {
		t.Fatalf("restored %d, holds %+v", v.Restored, v.Holds)
	}
	over(second, true, true)
	over(first, true, false)
	for _, c := range []*cmdRelease{{ID: second, Keep: true}, {ID: second}} {
		if again := mustApply(t, v, c); again != v {
			t.Errorf("%+v changed the state again", c)
		}
	}
	v = mustApply(t, v, &cmdHold{Kind: HoldRestore, Node: "n1", Nonce: "d"})
	image, err := v.marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := unmarshalView(image); err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("after a snapshot %+v, want %+v: %v", back, v, err)
	}
}
