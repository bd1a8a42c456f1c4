// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kvorum/kvorum/store"
)

// The sections of a keyspace in a snapshot.
const (
	// SectionKeyspace holds settings and slot ownership; its id is 0. It comes before the slots.
	SectionKeyspace = SectionState
	// SectionSlot holds one slot in the store's encoding, or a piece of it; its id is the slot. The pieces
	// of a slot follow one another. Empty slots have none.
	SectionSlot = SectionState + 1
)

// keyspaceSectionVersion is the first byte of the keyspace's section.
const keyspaceSectionVersion = 1

// DigestKeyspace is the id of the digest over settings and ownership, behind those of the slots.
const DigestKeyspace = Slots

// frozenKeyspace implements Frozen.
type frozenKeyspace struct {
	head  []byte
	epoch uint64
	view  *store.View
}

// Freeze implements State.
func (k *Keyspace) Freeze() (Frozen, error) {
	v, err := k.st.View()
	if err != nil {
		return nil, fmt.Errorf("fsm: freeze: %w", err)
	}
	return &frozenKeyspace{head: k.appendHead(nil), epoch: k.whole.cover.Epoch, view: v}, nil
}

func (f *frozenKeyspace) Epoch() uint64 { return f.epoch }

func (f *frozenKeyspace) Sections(add func(kind uint8, id uint32, data []byte) error) error {
	if err := add(SectionKeyspace, 0, f.head); err != nil {
		return err
	}
	for slot := range uint16(Slots) {
		err := f.view.Section(slot, func(data []byte) error { return add(SectionSlot, uint32(slot), data) })
		if err != nil {
			return fmt.Errorf("fsm: slot %d: %w", slot, err)
		}
	}
	return nil
}

func (f *frozenKeyspace) Close() { f.view.Close() }

// Bits of a run of slots in the keyspace's section; every bit is mandatory.
const (
	runOwned  = 1
	runFrozen = 2
)

// appendHead encodes settings and ownership, the latter as runs of equal slots.
func (k *Keyspace) appendHead(dst []byte) []byte {
	set := k.settings.Load()
	dst = append(dst, keyspaceSectionVersion)
	dst = binary.AppendUvarint(dst, uint64(set.maxMemory))
	dst = append(dst, byte(set.policy))
	dst = binary.AppendUvarint(dst, uint64(set.defaultTTL))
	dst = binary.AppendUvarint(dst, uint64(set.limits.MaxValue))
	for lo := 0; lo < Slots; {
		hi := lo + 1
		for hi < Slots && k.slots[hi] == k.slots[lo] {
			hi++
		}
		s := &k.slots[lo]
		bits := byte(0)
		if s.owned {
			bits |= runOwned
		}
		if s.frozen {
			bits |= runFrozen
		}
		dst = binary.AppendUvarint(dst, uint64(hi-lo))
		dst = append(dst, bits)
		dst = binary.AppendUvarint(dst, s.epoch)
		lo = hi
	}
	return k.appendHeadExtensions(dst)
}

// keyspaceHead is a parsed head.
type keyspaceHead struct {
	set     settings
	slots   [Slots]slotState
	imports importState
}

func parseHead(data []byte) (*keyspaceHead, error) {
	r := reader{src: data}
	if v := r.byte("keyspace section version"); r.err == nil && v != keyspaceSectionVersion {
		r.fail(ErrUnknown, "keyspace section version")
	}
	h := new(keyspaceHead)
	h.set.maxMemory = int64(r.uint(math.MaxInt64, "maxmemory"))
	h.set.policy = Policy(r.byte("policy"))
	h.set.defaultTTL = int64(r.uint(maxTTL, "default ttl"))
	h.set.limits = hardLimits(int(r.uint(math.MaxInt32, "maxvalue")))
	if r.err == nil && !h.set.policy.Valid() {
		r.fail(ErrUnknown, "policy")
	}
	for lo := 0; lo < Slots && r.err == nil; {
		n := int(r.uint(uint64(Slots-lo), "run of slots"))
		bits, epoch := r.byte("run bits"), r.uvarint("run epoch")
		switch {
		case r.err == nil && n == 0:
			r.fail(ErrMalformed, "run of slots")
		case r.err == nil && bits > runOwned|runFrozen:
			r.fail(ErrUnknown, "run bits")
		}
		for i := range n {
			h.slots[lo+i] = slotState{epoch: epoch, owned: bits&runOwned != 0, frozen: bits&runFrozen != 0}
		}
		lo += n
	}
	r.extensions("keyspace extensions", func(tag uint64, body *reader) bool {
		if tag != tagImport {
			return false
		}
		h.imports = parseImport(body)
		return true
	})
	if r.err == nil && r.rest() != 0 {
		r.fail(ErrMalformed, "keyspace section")
	}
	return h, r.err
}

// BeginLoad implements State. Readers meet slots that moved away until EndLoad.
func (k *Keyspace) BeginLoad() {
	k.install(new(keyspaceHead))
	k.st.Reset()
	k.planned.forget()
	k.loading = nil
}

// Load implements State.
func (k *Keyspace) Load(kind uint8, id uint32, data []byte) error {
	switch {
	case kind == SectionKeyspace && id == 0 && k.loading == nil:
		h, err := parseHead(data)
		if err != nil {
			return fmt.Errorf("fsm: load keyspace: %w", err)
		}
		k.loading = h
		return nil
	case kind == SectionSlot && id < Slots:
		slot := uint16(id)
		k.st.Lock(slot)
		defer k.st.Unlock(slot)
		if planted("restore-ttl") {
			defer k.forgetDeadlines(slot)
		}
		return k.st.LoadSection(slot, data)
	}
	return fmt.Errorf("fsm: load: section kind %d id %d: %w", kind, id, ErrUnknown)
}

// forgetDeadlines is a planted bug: the keys of a slot live for ever.
func (k *Keyspace) forgetDeadlines(slot uint16) {
	var keys [][]byte
	k.st.Each(slot, func(key []byte, _ store.Ref) bool {
		keys = append(keys, clone(key))
		return true
	})
	for _, key := range keys {
		k.st.SetExpire(slot, key, 0)
	}
}

// EndLoad implements State.
func (k *Keyspace) EndLoad() error {
	if k.loading == nil {
		return fmt.Errorf("fsm: load: no keyspace section: %w", ErrMalformed)
	}
	k.install(k.loading)
	k.applySettings(&k.loading.set)
	k.loading = nil
	return nil
}

// install puts the ownership of h in force.
func (k *Keyspace) install(h *keyspaceHead) {
	k.whole.Lock()
	defer k.whole.Unlock()
	cover := new(Cover)
	for slot := range uint16(Slots) {
		s := h.slots[slot]
		k.st.Lock(slot)
		held := k.slots[slot].frozen
		k.slots[slot] = s
		k.st.Unlock(slot)
		if held != s.frozen {
			k.st.HoldDue(slot, s.frozen)
		}
		cover.Epoch = max(cover.Epoch, s.epoch)
		if s.owned {
			cover.Add(slot)
		}
	}
	k.whole.cover = cover
	k.setImport(h.imports)
}

// Digest implements State.
func (k *Keyspace) Digest(f func(id uint32, sum [16]byte)) {
	for slot := range uint16(Slots) {
		k.st.RLock(slot)
		sum := k.st.Digest(slot)
		k.st.RUnlock(slot)
		f(uint32(slot), sum)
	}
	full := sha256.Sum256(k.appendHead(nil))
	f(DigestKeyspace, [16]byte(full[:16]))
}
