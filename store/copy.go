// SPDX-License-Identifier: Apache-2.0

package store

// Copy gives a key, which must not be there, the value of another one, whatever its type, and all of m. A large
// collection is shared by the two until one changes. Needs the write locks of both slots.
func (s *Store) Copy(from uint16, key []byte, to uint16, other []byte, m Meta) {
	r, ok := s.Lookup(from, key)
	assert(ok, "nothing is there to be copied")
	n := r.node()
	typ := n.typ()
	if typ == TypeString {
		s.SetString(to, other, n.value(), m)
		return
	}
	x := edit{t: s.writable(to)}
	x.p = s.locate(x.t, other)
	assert(x.p.i < 0, "a copy would take the place of another key")
	if n.large() {
		fork := s.editorOf(typ).fork(s.objects.get(n.object()))
		s.insertCollection(to, &x, other, typ, m.Version, nil, fork)
	} else {
		s.insertCollection(to, &x, other, typ, m.Version, n.value(), nil)
	}
	if m.Flags != 0 || m.ExpireAt != 0 {
		s.SetMeta(to, other, m)
	}
}
