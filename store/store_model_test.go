// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
	"pgregory.net/rapid"
)

// harness drives a store and its model side by side.
type harness struct {
	s       *Store
	m       *model
	version uint64
	now     int64
	views   []*frozenModel
}

// frozenModel is a view and what it must show.
type frozenModel struct {
	v     *View
	m     *model
	slots []uint16
}

// modelKeys: several keys in few slots, and one empty key.
func modelKeys() (keys []string) {
	for _, tag := range []string{"a", "b", "c"} {
		for i := range 4 {
			keys = append(keys, fmt.Sprintf("{%s}%d", tag, i))
		}
	}
	return append(keys, "", "plain", "{}x")
}

func slotsOf(keys []string) (slots []uint16) {
	seen := map[uint16]bool{}
	for _, k := range keys {
		if s := SlotOf([]byte(k)); !seen[s] {
			seen[s] = true
			slots = append(slots, s)
		}
	}
	return slots
}

var genValue = rapid.OneOf(
	rapid.SampledFrom([]string{"", "x", "y", strings.Repeat("v", 64), strings.Repeat("v", 65), strings.Repeat("w", 300)}),
	rapid.StringN(0, 8, 16))

// deadline draws one that is none, past or to come.
func (h *harness) deadline(t *rapid.T) int64 {
	if rapid.IntRange(0, 2).Draw(t, "no deadline") == 0 {
		return 0
	}
	return max(0, h.now+rapid.Int64Range(-3, 30).Draw(t, "deadline"))
}

func (h *harness) next() uint64 { h.version += 3; return h.version }

// locked runs f under the write lock of a key drawn, with the dead entry removed as commands do.
func (h *harness) locked(t *rapid.T, f func(slot uint16, key string)) {
	key := rapid.SampledFrom(modelKeys()).Draw(t, "key")
	slot := SlotOf([]byte(key))
	h.s.Lock(slot)
	defer h.s.Unlock(slot)
	e := h.m.keys[key]
	isDead := e != nil && e.meta.ExpireAt != 0 && e.meta.ExpireAt <= h.now
	if h.s.DeleteDead(slot, []byte(key), h.now) != isDead {
		t.Fatalf("DeleteDead(%q) differs", key)
	}
	if isDead {
		h.m.remove(key)
	}
	f(slot, key)
}

func (h *harness) setString(t *rapid.T) {
	h.locked(t, func(slot uint16, key string) {
		v := genValue.Draw(t, "value")
		meta := Meta{Flags: uint32(rapid.IntRange(0, 2).Draw(t, "flags")), Version: h.next(), ExpireAt: h.deadline(t)}
		buf := []byte(v)
		h.s.SetString(slot, []byte(key), buf, meta)
		for i := range buf {
			buf[i] = '!' // the store must have copied
		}
		h.m.keys[key] = &modelEntry{typ: TypeString, str: v, meta: meta}
	})
}

func (h *harness) growString(t *rapid.T) {
	h.locked(t, func(slot uint16, key string) {
		e := h.m.keys[key]
		if e != nil && e.typ != TypeString {
			return
		}
		if e == nil {
			e = &modelEntry{typ: TypeString}
			h.m.keys[key] = e
		}
		e.meta.Version = h.next()
		v := genValue.Draw(t, "value")
		var n int
		if rapid.Bool().Draw(t, "append") {
			n = h.s.AppendString(slot, []byte(key), []byte(v), h.version)
			e.str += v
		} else {
			at := rapid.IntRange(0, 80).Draw(t, "offset")
			n = h.s.WriteString(slot, []byte(key), at, []byte(v), h.version)
			if pad := at + len(v) - len(e.str); pad > 0 {
				e.str += strings.Repeat("\x00", pad)
			}
			e.str = e.str[:at] + v + e.str[at+len(v):]
		}
		if n != len(e.str) {
			t.Fatalf("new length %d, want %d", n, len(e.str))
		}
	})
}

func (h *harness) metaAndDelete(t *rapid.T) {
	h.locked(t, func(slot uint16, key string) {
		e := h.m.keys[key]
		var got bool
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			at := h.deadline(t)
			if got = h.s.SetExpire(slot, []byte(key), at); e != nil {
				e.meta.ExpireAt = at
			}
		case 1:
			meta := Meta{Flags: 7, Version: h.next(), ExpireAt: h.deadline(t)}
			if got = h.s.SetMeta(slot, []byte(key), meta); e != nil {
				e.meta = meta
			}
		default:
			got = h.s.Delete(slot, []byte(key))
			h.m.remove(key)
		}
		if got != (e != nil) {
			t.Fatalf("found %v, want %v", got, e != nil)
		}
	})
}

// copyKey gives a key the value of another, in the place of what it had.
func (h *harness) copyKey(t *rapid.T) {
	from := rapid.SampledFrom(modelKeys()).Draw(t, "from")
	h.locked(t, func(slot uint16, key string) {
		e := h.m.keys[from]
		if e == nil || from == key {
			return
		}
		other := SlotOf([]byte(from))
		if other != slot {
			h.s.Lock(other)
			defer h.s.Unlock(other)
		}
		if h.s.Delete(slot, []byte(key)) {
			h.m.remove(key)
		}
		meta := Meta{Flags: uint32(rapid.IntRange(0, 1).Draw(t, "flags")), Version: h.next(), ExpireAt: h.deadline(t)}
		h.s.Copy(other, []byte(from), slot, []byte(key), meta)
		h.m.keys[key] = &modelEntry{typ: e.typ, str: e.str, list: slices.Clone(e.list), hash: slices.Clone(e.hash), large: e.large, meta: meta}
	})
}

func (h *harness) editList(t *rapid.T) {
	h.locked(t, func(slot uint16, key string) {
		e := h.m.keys[key]
		if e != nil && e.typ != TypeList {
			return
		}
		if e == nil {
			e = &modelEntry{typ: TypeList}
		}
		version, dirty := h.next(), false
		h.s.EditList(slot, []byte(key), version, func(l *collections.ListEdit) {
			for range rapid.IntRange(0, 4).Draw(t, "steps") {
				dirty = listStep(t, l, e) || dirty
			}
		})
		h.edited(key, e, len(e.list), dirty, version)
	})
}

// edited brings the model's entry to what the store makes of an edit.
func (h *harness) edited(key string, e *modelEntry, n int, dirty bool, version uint64) {
	known := h.m.keys[key] != nil
	if dirty {
		e.meta.Version = version
	}
	switch {
	case n > 0:
		h.m.keys[key] = e
	case known:
		h.m.remove(key)
	}
}

func listStep(t *rapid.T, l *collections.ListEdit, e *modelEntry) (dirty bool) {
	v := genValue.Draw(t, "value")
	n := len(e.list)
	switch rapid.IntRange(0, 8).Draw(t, "list step") {
	case 0:
		l.PushFront([]byte(v))
		e.list = append([]string{v}, e.list...)
		return true
	case 1:
		l.PushBack([]byte(v))
		e.list = append(e.list, v)
		return true
	case 2:
		for i := range rapid.SampledFrom([]int{3, 130, 700}).Draw(t, "many") {
			v := fmt.Sprint(v, i%5)
			l.PushBack([]byte(v))
			e.list = append(e.list, v)
		}
		return true
	case 3, 4:
		for range rapid.SampledFrom([]int{1, 100, 500}).Draw(t, "pops") {
			if len(e.list) == 0 {
				_, a := l.PopFront()
				_, b := l.PopBack()
				if a || b {
					t.Fatal("popped from an empty list")
				}
				break
			}
			dirty = true
			at, pop := 0, l.PopFront
			if len(e.list)%3 == 0 {
				at, pop = len(e.list)-1, l.PopBack
			}
			if got, ok := pop(); !ok || string(got) != e.list[at] {
				t.Fatalf("popped %q %v, want %q", got, ok, e.list[at])
			}
			e.list = append(e.list[:at:at], e.list[at+1:]...)
		}
	case 5:
		i := rapid.IntRange(0, n).Draw(t, "at")
		l.Insert(i, []byte(v))
		e.list = append(e.list[:i:i], append([]string{v}, e.list[i:]...)...)
		return true
	case 6:
		if n > 0 {
			i := rapid.IntRange(0, n-1).Draw(t, "at")
			l.Set(i, []byte(v))
			e.list[i] = v
			return true
		}
	case 7:
		v = rapid.SampledFrom(append(e.list[:min(n, 9):min(n, 9)], "x")).Draw(t, "victim")
		count := rapid.SampledFrom([]int{0, 1, -1, 2, -2, 1000, -1 << 63}).Draw(t, "count")
		want := e.removeEqual(v, count)
		if got := l.RemoveEqual([]byte(v), count); got != want {
			t.Fatalf("removed %d, want %d", got, want)
		}
		return want > 0
	default:
		lo, hi := rapid.IntRange(-1, n+1).Draw(t, "lo"), rapid.IntRange(-1, n+1).Draw(t, "hi")
		l.Trim(lo, hi)
		if lo, hi = max(lo, 0), min(hi, n); lo >= hi {
			e.list = nil
		} else {
			e.list = append([]string(nil), e.list[lo:hi]...)
		}
		return len(e.list) != n
	}
	return dirty
}

func (h *harness) editHash(t *rapid.T) {
	h.locked(t, func(slot uint16, key string) {
		e := h.m.keys[key]
		if e != nil && e.typ != TypeHash {
			return
		}
		if e == nil {
			e = &modelEntry{typ: TypeHash}
		}
		version, dirty := h.next(), false
		set := func(hs *collections.HashEdit, f, v string) {
			if got, want := hs.Set([]byte(f), []byte(v)), e.setField(f, v); got != want {
				t.Fatalf("field created %v, want %v", got, want)
			}
			dirty = true
		}
		h.s.EditHash(slot, []byte(key), version, func(hs *collections.HashEdit) {
			for range rapid.IntRange(0, 4).Draw(t, "steps") {
				f := rapid.SampledFrom([]string{"", "f", "g", "h", "i3", "i77", strings.Repeat("f", 65)}).Draw(t, "field")
				switch rapid.IntRange(0, 3).Draw(t, "hash step") {
				case 0:
					set(hs, f, genValue.Draw(t, "value"))
				case 1:
					for i := range rapid.SampledFrom([]int{5, 126, 129, 300}).Draw(t, "many") {
						set(hs, fmt.Sprint("i", i), "v")
					}
				default:
					got, want := hs.Delete([]byte(f)), e.delField(f)
					if got != want {
						t.Fatalf("field deleted %v, want %v", got, want)
					}
					dirty = dirty || got
				}
			}
		})
		h.edited(key, e, len(e.hash), dirty, version)
	})
}

func (h *harness) passTime(t *rapid.T) {
	h.now += rapid.Int64Range(0, 10).Draw(t, "passed")
	limit := rapid.IntRange(0, 5).Draw(t, "limit")
	want := h.m.due(h.now)
	want = want[:min(limit, len(want))]
	got := popDue(h.s, h.now, limit)
	if len(got) != len(want) {
		t.Fatalf("popped %d deadlines, want %d", len(got), len(want))
	}
	for i, d := range got {
		e := h.m.keys[want[i]]
		if string(d.Key) != want[i] || d.Slot != SlotOf(d.Key) || d.Deadline != e.meta.ExpireAt || d.Version != e.meta.Version {
			t.Fatalf("popped %q at place %d, want %q", d.Key, i, want[i])
		}
		h.m.remove(want[i])
	}
}

func (h *harness) wholeSlot(t *rapid.T) {
	slot := rapid.SampledFrom(slotsOf(modelKeys())).Draw(t, "slot")
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0, 1:
		hold := rapid.Bool().Draw(t, "hold")
		h.s.HoldDue(slot, hold)
		h.m.held[slot] = hold
	case 2:
		h.s.Lock(slot)
		got := h.s.Clear(slot)
		h.s.Unlock(slot)
		if keys := h.m.inSlot(slot); got != len(keys) {
			t.Fatalf("cleared %d, want %d", got, len(keys))
		}
		for _, k := range h.m.inSlot(slot) {
			h.m.remove(k)
		}
	default:
		h.s.Lock(slot)
		h.s.DropSlot(slot)
		h.s.Unlock(slot)
		for _, k := range h.m.inSlot(slot) {
			delete(h.m.keys, k)
		}
		delete(h.m.removed, slot)
		delete(h.m.tokens, slot)
		delete(h.m.forgotten, slot)
	}
}

func (h *harness) token(t *rapid.T) {
	slot := rapid.SampledFrom(slotsOf(modelKeys())).Draw(t, "slot")
	h.s.Lock(slot)
	defer h.s.Unlock(slot)
	if rapid.IntRange(0, 5).Draw(t, "expire") == 0 {
		h.now += rapid.SampledFrom([]int64{0, 1, TokenLife / 2}).Draw(t, "passed")
		if got, want := h.s.ExpireTokens(slot, h.now), h.m.expireTokens(slot, h.now); got != want {
			t.Fatalf("expired %d tokens, want %d", got, want)
		}
		return
	}
	if rapid.IntRange(0, 5).Draw(t, "forget") == 0 {
		if got, want := h.s.ForgetToken(slot), h.m.forgetToken(slot); got != want {
			t.Fatalf("forgot a token: %v, want %v", got, want)
		}
		return
	}
	client := [16]byte{byte(rapid.IntRange(0, 3).Draw(t, "client"))}
	r := TokenRecord{Seq: h.next(), Code: 3, Version: h.version, Reply: []byte(genValue.Draw(t, "reply")), At: h.now}
	h.s.PutToken(slot, client, r)
	h.m.putToken(slot, client, r)
}

func (h *harness) freeze(t *rapid.T) {
	slots := slotsOf(modelKeys())
	f := &frozenModel{m: h.m.clone()}
	var err error
	if rapid.Bool().Draw(t, "whole") {
		f.slots = slots
		if f.v, err = h.s.View(); err != nil {
			return // one is live
		}
	} else {
		f.slots = slots[:rapid.IntRange(1, len(slots)).Draw(t, "slots")]
		if f.v, err = h.s.ViewSlots(f.slots...); err != nil {
			return
		}
	}
	h.views = append(h.views, f)
}

// readView takes one section of a view and compares it with the model frozen at its start, through
// another store.
func (h *harness) readView(t *rapid.T) {
	if len(h.views) == 0 {
		return
	}
	i := rapid.IntRange(0, len(h.views)-1).Draw(t, "view")
	f := h.views[i]
	slot := f.slots[0]
	other := New(Config{HashKey: testHashKey})
	if err := f.v.Section(slot, func(data []byte) error { return addTo(other, slot, data) }); err != nil {
		t.Fatal(err)
	}
	if d := f.m.same(other, slot); d != "" {
		t.Fatalf("frozen slot %d: %s", slot, d)
	}
	if f.slots = f.slots[1:]; len(f.slots) == 0 {
		f.v.Close()
		h.views = append(h.views[:i:i], h.views[i+1:]...)
	}
}

// addTo adds a section to a slot.
func addTo(s *Store, slot uint16, data []byte) error {
	s.Lock(slot)
	defer s.Unlock(slot)
	return s.AddSection(slot, data)
}

// load replaces a slot by sections.
func load(t interface{ Fatal(...any) }, s *Store, slot uint16, data [][]byte) {
	s.Lock(slot)
	s.DropSlot(slot)
	s.Unlock(slot)
	for _, d := range data {
		if err := addTo(s, slot, d); err != nil {
			t.Fatal(err)
		}
	}
}

// sections is a slot as a view shows it.
func sections(t interface{ Fatal(...any) }, s *Store, slot uint16) (out [][]byte) {
	v, err := s.ViewSlots(slot)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Section(slot, func(data []byte) error { out = append(out, bytes.Clone(data)); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// check compares everything, and sends a slot through its section and back into the store.
func (h *harness) check(t *rapid.T) {
	var sum Stats
	for _, slot := range slotsOf(modelKeys()) {
		if d := h.m.same(h.s, slot); d != "" {
			t.Fatalf("slot %d: %s", slot, d)
		}
		sum.add(h.m.stats(slot))
	}
	if h.s.Totals() != sum {
		t.Fatalf("totals %+v, want %+v", h.s.Totals(), sum)
	}
	if got, want := h.s.NextDeadline(), h.m.nextDeadline(); got != want {
		t.Fatalf("next deadline %d, want %d", got, want)
	}
	slot := slotsOf(modelKeys())[h.version%4]
	if len(h.views) >= MaxSlotViews {
		return
	}
	data, digest := sections(t, h.s, slot), h.s.Digest(slot)
	if (data == nil) != (digest == [16]byte{}) {
		t.Fatal("the digest of nothing, and only that, is zero")
	}
	if data == nil {
		return
	}
	other := New(Config{HashKey: [16]byte{99}})
	load(t, other, slot, data)
	if h.version%2 == 0 {
		load(t, h.s, slot, data)
	}
	for _, s := range []*Store{other, h.s} {
		if d := s.Digest(slot); d != digest {
			t.Fatal("digest changed over a section")
		}
		if s.Stats(slot) != h.m.stats(slot) {
			t.Fatal("stats changed over a section")
		}
	}
}

// Goal: the store is the model, whatever the order of calls. Method: rapid draws calls; after each
// the whole visible state, accounting, deadlines and digests are compared, views against the model
// as it was when they were made.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &harness{s: New(Config{HashKey: testHashKey}), m: newModel()}
		t.Repeat(map[string]func(*rapid.T){
			"setString": h.setString, "setString2": h.setString, "growString": h.growString,
			"metaAndDelete": h.metaAndDelete, "copyKey": h.copyKey, "editList": h.editList, "editList2": h.editList,
			"editHash": h.editHash, "passTime": h.passTime, "wholeSlot": h.wholeSlot,
			"token": h.token, "freeze": h.freeze, "readView": h.readView, "": h.check,
		})
	})
}
