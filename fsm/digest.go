// SPDX-License-Identifier: Apache-2.0

package fsm

import "crypto/sha256"

// Digest is the fingerprint of a machine at one entry: equal on all replicas that applied it.
type Digest struct {
	Index, Term uint64
	// Machine covers clock, version counter, sessions and all parts.
	Machine [16]byte
	// Parts are the digests of the state's parts (the slots), ascending; zero digests left out.
	Parts []PartDigest
}

// PartDigest is the fingerprint of one part of a state.
type PartDigest struct {
	ID  uint32
	Sum [16]byte
}

// Digest reads the whole state, on the applying goroutine.
func (m *Machine) Digest() Digest {
	var d Digest
	d.Index, d.Term = m.Applied()
	h := sha256.New()
	_, _ = h.Write(m.appendShell(nil))
	m.state.Digest(func(id uint32, sum [16]byte) {
		if sum == [16]byte{} {
			return
		}
		d.Parts = append(d.Parts, PartDigest{ID: id, Sum: sum})
		_, _ = h.Write([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
		_, _ = h.Write(sum[:])
	})
	copy(d.Machine[:], h.Sum(nil))
	return d
}
