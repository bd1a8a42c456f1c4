// SPDX-License-Identifier: Apache-2.0

package store

// Export gives the entry of a live key as sections of its slot, which AddSection takes: one, or several for a large
// collection. data is valid until add returns; an error of add ends the export and is returned. It tells whether the
// key is there. Needs the slot's lock.
func (s *Store) Export(slot uint16, key []byte, now int64, add func(data []byte) error) (found bool, err error) {
	r, found := s.Get(slot, key, now)
	if !found {
		return false, nil
	}
	w := sectionWriter{s: s, add: add, head: emptyHead}
	if err := w.entry(r.node(), r.ExpireAt()); err != nil {
		return true, err
	}
	return true, w.end()
}
