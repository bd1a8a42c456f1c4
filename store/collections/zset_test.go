// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"
)

type memberScore struct {
	member string
	score  float64
}

// zsetModel is a sorted set as a sorted slice.
type zsetModel []memberScore

func (m zsetModel) find(member string) int {
	return slices.IndexFunc(m, func(e memberScore) bool { return e.member == member })
}

func (m *zsetModel) add(member string, score float64) (created, changed bool) {
	if score == 0 {
		score = 0
	}
	i := m.find(member)
	if i >= 0 && (*m)[i].score == score {
		return false, false
	}
	next := slices.Clone(*m)
	if i >= 0 {
		next = slices.Delete(next, i, i+1)
	}
	next = append(next, memberScore{member, score})
	slices.SortFunc(next, func(a, b memberScore) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.member, b.member))
	})
	*m = next
	return i < 0, true
}

func (m *zsetModel) remove(lo, hi int) { *m = slices.Delete(slices.Clone(*m), lo, hi) }

// sameZSet tells in what a sorted set differs from the model.
func sameZSet(z ZSet, m zsetModel) error {
	if z.Len() != len(m) {
		return fmt.Errorf("Len = %d, want %d", z.Len(), len(m))
	}
	size, at := int64(0), 0
	var fault error
	z.Each(func(member []byte, score float64) bool {
		if want := m[at]; string(member) != want.member || score != want.score || math.Signbit(score) != math.Signbit(want.score) {
			fault = fmt.Errorf("Each met %.20q %v at %d, want %.20q %v", member, score, at, want.member, want.score)
			return false
		}
		at++
		return true
	})
	if fault != nil || at != len(m) {
		return fmt.Errorf("Each ended at %d: %w", at, fault)
	}
	for i, e := range m {
		size += int64(len(e.member))
		if s, ok := z.Score([]byte(e.member)); !ok || s != e.score {
			return fmt.Errorf("Score(%.20q) = %v, %v", e.member, s, ok)
		}
		if r, ok := z.Rank([]byte(e.member)); !ok || r != i {
			return fmt.Errorf("Rank(%.20q) = %v, %v, want %d", e.member, r, ok, i)
		}
	}
	_, scored := z.Score([]byte("absent"))
	_, ranked := z.Rank([]byte("absent"))
	if scored || ranked || z.Bytes() != size {
		return fmt.Errorf("Bytes = %d, want %d; or absent is there", z.Bytes(), size)
	}
	return nil
}

// sameRanges checks the reads of ranges with ends that rapid draws.
func sameRanges(t *rapid.T, z ZSet, m zsetModel) {
	t.Helper()
	lo, hi := rapid.IntRange(-2, len(m)+2).Draw(t, "lo"), rapid.IntRange(-2, len(m)+2).Draw(t, "hi")
	var want, got zsetModel
	if a, b := max(lo, 0), min(hi, len(m)); a < b {
		want = slices.Clone(m[a:b])
	}
	collect := func(member []byte, score float64) bool {
		got = append(got, memberScore{string(member), score})
		return true
	}
	if z.Range(lo, hi, collect); !slices.Equal(got, want) {
		t.Fatalf("Range(%d, %d) = %.100v, want %.100v", lo, hi, got, want)
	}
	got = nil
	slices.Reverse(want)
	if z.Reverse(lo, hi, collect); !slices.Equal(got, want) {
		t.Fatalf("Reverse(%d, %d) = %.100v, want %.100v", lo, hi, got, want)
	}
	score := scoreGen().Draw(t, "score")
	below := sort.Search(len(m), func(i int) bool { return m[i].score >= score })
	through := sort.Search(len(m), func(i int) bool { return m[i].score > score })
	if a, b := z.ScoreRank(score, false), z.ScoreRank(score, true); a != below || b != through {
		t.Fatalf("ScoreRank(%v) = %d, %d, want %d, %d", score, a, b, below, through)
	}
	if len(m) == 0 || m[0].score != m[len(m)-1].score {
		return
	}
	member := fieldName().Draw(t, "member")
	below = sort.Search(len(m), func(i int) bool { return m[i].member >= member })
	through = sort.Search(len(m), func(i int) bool { return m[i].member > member })
	if a, b := z.MemberRank([]byte(member), false), z.MemberRank([]byte(member), true); a != below || b != through {
		t.Fatalf("MemberRank(%.20q) = %d, %d, want %d, %d", member, a, b, below, through)
	}
}

func scoreGen() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Map(rapid.IntRange(-3, 3), func(i int) float64 { return float64(i) }),
		rapid.Map(rapid.IntRange(0, 500), func(i int) float64 { return float64(i) / 3 }),
		rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, -math.SmallestNonzeroFloat64}))
}

// zsetHolder keeps a sorted set as the store does (see listHolder).
type zsetHolder struct {
	edit   *ZSetEdit
	packed []byte
	large  *BigZSet
	model  zsetModel
	frozen []frozenZSet
	even   bool // all scores are one
}

type frozenZSet struct {
	set   ZSet
	model zsetModel
}

func (h *zsetHolder) set() ZSet {
	if h.large != nil {
		return LargeZSet(h.large)
	}
	return PackedZSet(h.packed)
}

func (h *zsetHolder) change(share bool, f func(e *ZSetEdit)) {
	if share && h.set().Len() > 0 {
		h.frozen = append(h.frozen, frozenZSet{h.set(), h.model})
	}
	if h.large != nil {
		if share {
			h.large = h.large.Fork()
		}
		h.edit.BeginLarge(h.large)
	} else {
		h.edit.Begin(h.packed, !share)
	}
	f(h.edit)
	_, packed, large := h.edit.End()
	if h.large = large; large == nil {
		h.packed = append(make([]byte, 0, len(packed)+len(packed)/8), packed...)
	}
}

// bothForms are the same members in a large object, and as adding them to an empty set leaves them.
func bothForms(m zsetModel) (large *BigZSet, fresh ZSet) {
	big, e := NewZSetEdit(testHasher()), NewZSetEdit(testHasher())
	big.Begin(nil, false)
	big.enlarge()
	e.Begin(nil, false)
	for _, v := range m {
		big.Add([]byte(v.member), v.score)
		e.Add([]byte(v.member), v.score)
	}
	_, p, o := e.End()
	return big.large, ZSet{p, o}
}

func (h *zsetHolder) check(t *rapid.T) {
	t.Helper()
	z := h.set()
	if err := sameZSet(z, h.model); err != nil {
		t.Fatalf("%v", err)
	}
	large, fresh := bothForms(h.model)
	if z.Sum() != large.Sum() || z.Sum() != fresh.Sum() {
		t.Fatalf("Sum = %x, of a large form %x, of a new one %x", z.Sum(), large.Sum(), fresh.Sum())
	}
	sameRanges(t, z, h.model)
	sameRanges(t, LargeZSet(large), h.model)
	if h.large != nil {
		checkTree(t, &h.large.byScore)
		checkTree(t, &h.large.byMember)
		if n := z.Len(); n <= SmallFields/shrink && fresh.o == nil {
			t.Fatalf("%d members are large", n)
		}
	}
	for i, f := range h.frozen {
		if err := sameZSet(f.set, f.model); err != nil {
			t.Fatalf("fork %d changed: %v", i, err)
		}
	}
}

func (h *zsetHolder) step(t *rapid.T, e *ZSetEdit) {
	addOne := func(member string, score float64) {
		if h.even {
			score = 1
		}
		created, changed := h.model.add(member, score)
		if c, d := e.Add([]byte(member), score); c != created || d != changed {
			t.Fatalf("Add(%.20q, %v) = %v, %v, want %v, %v", member, score, c, d, created, changed)
		}
	}
	removeOne := func(member string) {
		i := h.model.find(member)
		if got := e.Remove([]byte(member)); got != (i >= 0) {
			t.Fatalf("Remove(%.20q) = %v", member, got)
		}
		if i >= 0 {
			h.model.remove(i, i+1)
		}
	}
	from, n := rapid.IntRange(0, 400).Draw(t, "from"), rapid.SampledFrom([]int{5, 100, 400}).Draw(t, "members")
	switch rapid.IntRange(0, 6).Draw(t, "change") {
	case 0, 1:
		addOne(fieldName().Draw(t, "member"), scoreGen().Draw(t, "score"))
	case 2:
		step := scoreGen().Draw(t, "step")
		for i := range n {
			addOne(fmt.Sprintf("f%d", from+i), step+float64(i%50))
		}
	case 3:
		removeOne(fieldName().Draw(t, "member"))
	case 4:
		for i := range n {
			removeOne(fmt.Sprintf("f%d", from+i))
		}
	case 5:
		lo, hi := rapid.IntRange(0, len(h.model)).Draw(t, "lo"), rapid.IntRange(0, len(h.model)).Draw(t, "hi")
		if got := e.RemoveRange(lo, hi); got != max(hi-lo, 0) {
			t.Fatalf("RemoveRange(%d, %d) = %d", lo, hi, got)
		}
		if lo < hi {
			h.model.remove(lo, hi)
		}
	case 6: // as ZPOPMIN
		if e.Len() > 0 {
			member, _ := e.At(0)
			if !e.Remove(member) {
				t.Fatalf("Remove of what At gave")
			}
			h.model.remove(0, 1)
		}
	}
}

// Goal: a sorted set is what the changes made it, the same in both forms; forks never change. Method: as
// TestListModel; in half the runs all scores are one, so that members decide the order.
func TestZSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &zsetHolder{edit: NewZSetEdit(testHasher()), even: rapid.Bool().Draw(t, "even")}
		for range rapid.IntRange(1, 30).Draw(t, "edits") {
			share := rapid.IntRange(0, 2).Draw(t, "share") == 0
			h.change(share, func(e *ZSetEdit) {
				for range rapid.IntRange(0, 4).Draw(t, "changes") {
					h.step(t, e)
				}
			})
			if len(h.frozen) > 4 {
				h.frozen = h.frozen[1:]
			}
			h.check(t)
		}
	})
}

// Goal: the order of numbers is the order of scores. Method: rapid pairs, and back.
func TestOrderOfScores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := plainScore(scoreGen().Draw(t, "a")), plainScore(scoreGen().Draw(t, "b"))
		if cmp.Compare(a, b) != cmp.Compare(orderOf(a), orderOf(b)) {
			t.Fatalf("%v and %v are %x and %x", a, b, orderOf(a), orderOf(b))
		}
		if scoreOf(orderOf(a)) != a {
			t.Fatalf("%v came back as %v", a, scoreOf(orderOf(a)))
		}
	})
}

// Goal: Scan of a sorted set visits every member with its score. Method: both forms.
func TestZSetScan(t *testing.T) {
	for _, n := range []int{10, 1000} {
		e := NewZSetEdit(testHasher())
		e.Begin(nil, false)
		for i := range n {
			e.Add(fmt.Appendf(nil, "member%d", i), float64(i))
		}
		met := map[string]float64{}
		for cursor, first := uint64(0), true; cursor != 0 || first; first = false {
			cursor = e.ZSet().Scan(cursor, 7, func(member []byte, score float64) { met[string(member)] = score })
		}
		if len(met) != n || met["member7"] != 7 {
			t.Errorf("Scan met %d of %d", len(met), n)
		}
	}
}
