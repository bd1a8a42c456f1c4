// SPDX-License-Identifier: Apache-2.0

package collections

import "github.com/kvorum/kvorum/store/keyed"

// ZSetEdit changes a sorted set (see the package comment). Begin or BeginLarge comes first, End last.
type ZSetEdit struct {
	hash  keyed.Hasher
	d     draft
	large *BigZSet
	dirty bool
	// open is true once packed bytes have no kept sum: it is in sum while summed is true.
	open, summed bool
	sum          sum128
	item         []byte
}

// NewZSetEdit returns an edit that finds members of large sorted sets by a hasher.
func NewZSetEdit(h keyed.Hasher) *ZSetEdit { return &ZSetEdit{hash: h} }

// Begin begins on packed bytes, or on nothing. With inPlace it may write packed[:cap(packed)], otherwise it
// copies them at the first change.
func (e *ZSetEdit) Begin(packed []byte, inPlace bool) {
	e.d.begin(packed, inPlace)
	e.large, e.dirty, e.open, e.summed = nil, false, false, false
}

// BeginLarge begins on a large sorted set, which it changes.
func (e *ZSetEdit) BeginLarge(o *BigZSet) {
	e.Begin(nil, false)
	e.large = o
}

// End returns the sorted set in the one form it has now; it is empty when packed is empty and large nil.
// packed aliases the edit's scratch or what Begin was given. dirty tells whether anything was changed; when
// not, the form is that of Begin.
func (e *ZSetEdit) End() (dirty bool, packed []byte, large *BigZSet) {
	switch {
	case !e.dirty:
	case e.large == nil:
		e.close()
	case e.fits():
		e.pack()
	}
	dirty, packed, large = e.dirty, e.d.p, e.large
	e.large = nil
	return dirty, packed, large
}

// change opens packed bytes: from here on they keep no sum, the edit does.
func (e *ZSetEdit) change() {
	e.dirty = true
	if !e.open {
		e.open = true
		e.sum.lo, e.sum.hi, e.summed = e.d.takeSum()
	}
}

// close keeps the sum in packed bytes that are long enough.
func (e *ZSetEdit) close() {
	if n, _ := tableOf(e.d.p, zsetWidth); e.open && n > sumKept {
		if !e.summed {
			e.sum = PackedZSet(e.d.p).walkSum()
		}
		e.d.keepSum(e.sum.lo, e.sum.hi)
	}
}

// fits tells whether a large sorted set shrank so much that it becomes packed.
func (e *ZSetEdit) fits() bool {
	n := e.large.byScore.n
	if n > SmallFields/shrink || e.large.bytes > int64(n)*SmallBytes {
		return false
	}
	fits := true
	LargeZSet(e.large).Each(func(member []byte, _ float64) bool {
		fits = len(member) <= SmallBytes
		return fits
	})
	return fits
}

// pack makes a large sorted set packed.
func (e *ZSetEdit) pack() {
	from := e.large
	e.large = nil
	e.d.begin(nil, false)
	e.open, e.summed, e.sum = true, true, from.byMember.sum
	i, off := 0, 0
	LargeZSet(from).Each(func(member []byte, score float64) bool {
		b := scoreBytes(score)
		e.d.insert(zsetWidth, i, off, member, b[:])[0] = byte(len(member))
		i++
		off += len(member) + scoreSize
		return true
	})
	e.close()
}

// enlarge makes a packed sorted set large.
func (e *ZSetEdit) enlarge() {
	o := newBigZSet(e.hash)
	PackedZSet(e.d.p).Each(func(member []byte, score float64) bool {
		o.put(member, score, 0, false, &e.item)
		return true
	})
	e.large = o
	e.d.begin(nil, false)
}

// ZSet reads the sorted set as it is now; it is valid until the next change.
func (e *ZSetEdit) ZSet() ZSet { return ZSet{p: e.d.p, o: e.large} }

// Len is the number of members.
func (e *ZSetEdit) Len() int { return e.ZSet().Len() }

// Bytes is the sum of the members' lengths.
func (e *ZSetEdit) Bytes() int64 { return e.ZSet().Bytes() }

// Score returns the score of a member.
func (e *ZSetEdit) Score(member []byte) (score float64, ok bool) { return e.ZSet().Score(member) }

// At returns member i of [0, Len), valid until the next change, and its score.
func (e *ZSetEdit) At(i int) (member []byte, score float64) { return e.ZSet().At(i) }

// Add gives a member a score, which must not be NaN; -0 becomes 0. It tells whether the member is new, and
// whether that changed anything.
func (e *ZSetEdit) Add(member []byte, score float64) (created, changed bool) {
	score = plainScore(score)
	if e.large == nil {
		at, before, found := findScored(e.d.p, member)
		if found && before == score {
			return false, false
		}
		n, _ := tableOf(e.d.p, zsetWidth)
		if found || n < SmallFields && len(member) <= SmallBytes {
			e.change()
			if found {
				e.removePacked(at)
			}
			e.addPacked(member, score)
			return !found, true
		}
		e.enlarge()
	}
	before, found := e.large.score(member)
	if found && before == score {
		return false, false
	}
	e.dirty = true
	e.large.put(member, score, before, found, &e.item)
	return !found, true
}

// addPacked puts in a member that is not there.
func (e *ZSetEdit) addPacked(member []byte, score float64) {
	at := lowerScored(e.d.p, score, member)
	b := scoreBytes(score)
	e.d.insert(zsetWidth, at.i, at.off, member, b[:])[0] = byte(len(member))
	if e.summed {
		e.sum.add(hashItem(e.d.p[at.off : at.off+len(member)+scoreSize]))
	}
}

func (e *ZSetEdit) removePacked(at packedMember) {
	size := at.size + scoreSize
	if e.summed {
		e.sum.sub(hashItem(e.d.p[at.off : at.off+size]))
	}
	e.d.remove(zsetWidth, at.i, 1, at.off, size)
}

// Remove removes a member and tells whether it was there.
func (e *ZSetEdit) Remove(member []byte) bool {
	if e.large != nil {
		score, ok := e.large.score(member)
		if ok {
			e.dirty = true
			e.large.remove(member, score)
		}
		return ok
	}
	at, _, ok := findScored(e.d.p, member)
	if ok {
		e.change()
		e.removePacked(at)
	}
	return ok
}

// RemoveRange removes the members of [lo, hi) and returns how many.
func (e *ZSetEdit) RemoveRange(lo, hi int) int {
	lo, hi = max(lo, 0), min(hi, e.Len())
	if lo >= hi {
		return 0
	}
	e.dirty = true
	for range hi - lo {
		member, score := e.At(lo)
		if e.large != nil {
			e.large.remove(member, score)
		} else {
			e.Remove(member)
		}
	}
	return hi - lo
}
