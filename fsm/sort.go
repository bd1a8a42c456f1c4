// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/kvorum/kvorum/store"
)

// SORT reads keys that it does not name: those that the elements make of the patterns of BY and GET. They must be in
// the slot of the key itself, which a pattern shows with a hash tag in front of its star, or the group must own all
// slots. Then a read locks them all. A write needs no more locks than it has: the applying goroutine alone changes
// anything but the marks that views set, which readers of the store expect.

const (
	// maxSorted bounds the elements that are sorted, and those that are stored.
	maxSorted = 1 << 19
	// sortScratch is what one of them takes meanwhile, in bytes.
	sortScratch = 64
	// maxSortedText bounds the bytes that are stored, maxSortedBytes the logical bytes.
	maxSortedText  = MaxReply
	maxSortedBytes = maxSortedText + (maxSorted+1)*store.ElementOverhead
	// maxSortWork bounds the bytes that are compared and of which names of keys are made.
	maxSortWork = 1 << 30
)

func sortRows() []Spec {
	const cat = CatSet | CatSortedSet | CatList | CatSlow | CatDangerous
	return []Spec{
		one(OpSort, "SORT", -2, cat, runSort).grows().replies().announced(sortStore).verified(verifySort),
		one(OpSortRO, "SORT_RO", -2, cat, runSort).read().verified(verifySortRO),
	}
}

// sortOptions are the words behind the key.
type sortOptions struct {
	desc, alpha bool
	// asIs: the elements keep their order.
	asIs         bool
	start, count int64        // count is negative for all
	by           *sortPattern // nil for none
	gets         []sortPattern
	store        int // the index of the key to store at, 0 for none
}

// sortPattern leads from an element to a key, or to a field of one.
type sortPattern struct {
	text []byte
	// star: there is one, with head and tail around it.
	star       bool
	head, tail []byte
	field      []byte // nil for none
}

func cutPattern(text []byte) sortPattern {
	p := sortPattern{text: text}
	p.head, p.tail, p.star = bytes.Cut(text, []byte("*"))
	if before, after, deep := bytes.Cut(p.tail, []byte("->")); deep && len(after) > 0 {
		p.tail, p.field = before, after
	}
	return p
}

func parseSort(args [][]byte, readonly bool) (o sortOptions, text string) {
	o.count = -1
	for i := 1; i < len(args); i++ {
		switch word, rest := args[i], len(args)-i-1; {
		case EqualFold(word, "ASC"):
			o.desc = false
		case EqualFold(word, "DESC"):
			o.desc = true
		case EqualFold(word, "ALPHA"):
			o.alpha = true
		case EqualFold(word, "LIMIT") && rest >= 2:
			var ok, ok2 bool
			o.start, ok = parseInt(args[i+1])
			if o.count, ok2 = parseInt(args[i+2]); !ok || !ok2 {
				return o, TextNotInteger
			}
			i += 2
		case !readonly && EqualFold(word, "STORE") && rest >= 1:
			i++
			o.store = i
		case EqualFold(word, "BY") && rest >= 1:
			i++
			by := cutPattern(args[i])
			o.by, o.asIs = &by, o.asIs || !by.star
		case EqualFold(word, "GET") && rest >= 1:
			i++
			o.gets = append(o.gets, cutPattern(args[i]))
		default:
			return o, TextSyntax
		}
	}
	return o, ""
}

// sortStore is the index of the key to store at, 0 for none. Others than SORT may have been meant when the words are
// wrong: Check finds that.
func sortStore(args [][]byte) int {
	o, _ := parseSort(args, false)
	return o.store
}

func verifySort(args [][]byte, _ *Limits) (Result, bool) {
	return verifiedSort(args, false)
}

func verifySortRO(args [][]byte, _ *Limits) (Result, bool) {
	return verifiedSort(args, true)
}

func verifiedSort(args [][]byte, readonly bool) (Result, bool) {
	if _, text := parseSort(args, readonly); text != "" {
		return fail(text)
	}
	return Result{}, true
}

// elsewhere tells why a pattern may lead out of the key's slot, empty when none does.
func (o *sortOptions) elsewhere(slot uint16) string {
	if o.by != nil && o.by.leadsOut(slot) {
		return TextSortBy
	}
	for i := range o.gets {
		if o.gets[i].leadsOut(slot) {
			return TextSortGet
		}
	}
	return ""
}

func (p *sortPattern) leadsOut(slot uint16) bool {
	if !p.star {
		return false // no key is made of it
	}
	_, tail, open := bytes.Cut(p.head, []byte("{"))
	return !open || bytes.IndexByte(tail, '}') < 1 || store.SlotOf(p.head) != slot
}

// wanders tells whether a read needs the locks of all slots: before it has any.
func (x *execution) wanders(args [][]byte) bool {
	if x.spec.Op != OpSortRO {
		return false
	}
	o, _ := parseSort(args, true)
	return o.elsewhere(store.SlotOf(args[0])) != "" && x.k.coverNow().Len() == Slots
}

// sorting is a SORT under way.
type sorting struct {
	sortOptions
	x     *execution
	elems []sortedElem
	work  int64
	name  []byte // room for the name of a key
}

// sortedElem aliases the store.
type sortedElem struct {
	elem  []byte
	score float64
	text  []byte // what BY gives
	// missing: BY gives nothing, which is less than all texts, and 0 among numbers.
	missing bool
}

func runSort(x *execution, args [][]byte) Result {
	if !x.bundle.works(0) {
		return Error(CodeTooBig, TextBundleWork)
	}
	s := sorting{x: x}
	s.sortOptions, _ = parseSort(args, x.spec.Op == OpSortRO)
	if text := s.elsewhere(x.slot); text != "" && !x.everywhere() {
		return Error(CodeError, text)
	}
	var ref store.Ref
	var found bool
	if x.spec.Write {
		ref, found = x.take(args[0])
	} else {
		ref, found = x.get(args[0])
	}
	if found && ref.Type() != store.TypeList && ref.Type() != store.TypeSet && ref.Type() != store.TypeZSet {
		return Error(CodeWrongType, TextWrongType)
	}
	if s.asIs && s.store > 0 && ref.Found() && ref.Type() == store.TypeSet {
		s.asIs, s.alpha, s.by = false, true, nil // a set has no order that is worth keeping
	}
	lo, hi, bad := s.load(ref)
	if bad != nil {
		return *bad
	}
	if !s.asIs {
		if bad := s.sort(); bad != nil {
			return *bad
		}
	}
	if s.store > 0 {
		return s.keep(args[s.store], s.elems[lo:hi])
	}
	return s.answer(s.elems[lo:hi])
}

// everywhere tells whether all keys may be read: by the applying goroutine, or with all locks.
func (x *execution) everywhere() bool {
	if x.ctx.Index == 0 {
		return len(x.locks) == Slots
	}
	return x.k.whole.cover.Len() == Slots
}

// load takes the elements that matter, and tells which of them LIMIT leaves, once they are sorted.
func (s *sorting) load(ref store.Ref) (lo, hi int, bad *Result) {
	n := 0
	if ref.Found() {
		n = ref.List().Len() + ref.Set().Len() + ref.ZSet().Len()
	}
	lo = int(min(max(s.start, 0), int64(n)))
	hi = n
	if s.count >= 0 {
		hi = int(min(int64(lo)+min(s.count, int64(n)), int64(n)))
	}
	first, end := 0, n
	if s.asIs {
		first, end, lo, hi = lo, hi, 0, hi-lo
		if s.desc && ref.Found() && ref.Type() != store.TypeSet {
			first, end = n-end, n-first
		}
	}
	if end-first > maxSorted {
		res := Error(CodeTooBig, TextSortTooMany)
		return 0, 0, &res
	}
	if bad := s.x.borrows(int64(end-first) * sortScratch); bad != nil {
		return 0, 0, bad
	}
	s.elems = make([]sortedElem, 0, end-first)
	add := func(elem []byte) bool {
		s.elems = append(s.elems, sortedElem{elem: elem})
		return true
	}
	switch {
	case n == 0:
	case ref.Type() == store.TypeList:
		ref.List().Range(first, end, add)
	case ref.Type() == store.TypeSet:
		at := 0
		ref.Set().Each(func(member []byte) bool {
			if at++; at > first && at <= end {
				add(member)
			}
			return at < end
		})
	default:
		ref.ZSet().Range(first, end, func(member []byte, _ float64) bool { return add(member) })
	}
	if s.asIs && s.desc && n > 0 && ref.Type() != store.TypeSet {
		slices.Reverse(s.elems)
	}
	return lo, hi, nil
}

// borrows makes sure that there is room for n bytes that are gone when the reply is made.
func (x *execution) borrows(n int64) *Result {
	room := x.ctx.room
	if x.spec.Write || room == nil || x.bundle != nil {
		return nil
	}
	if !room.take(n) {
		return new(Result)
	}
	room.Used -= n
	return nil
}

// spend counts bytes that are worked on.
func (s *sorting) spend(n int) *Result {
	if s.work += int64(n); s.work > maxSortWork {
		res := Error(CodeTooBig, TextSortWork)
		return &res
	}
	s.x.bundle.works(int64(n))
	return nil
}

func (s *sorting) sort() *Result {
	unfit := false
	const compared = 8                     // of the work, for each comparison
	rounds := bits.Len(uint(len(s.elems))) // about how often each is compared
	for i := range s.elems {
		e := &s.elems[i]
		e.text = e.elem
		if s.by != nil {
			var found bool
			var bad *Result
			if e.text, found, bad = s.lookup(s.by, e.elem); bad != nil {
				return bad
			}
			e.missing = !found
			if bad := s.spend(len(e.text) * rounds); bad != nil {
				return bad
			}
		}
		if bad := s.spend((compared + len(e.elem)) * rounds); bad != nil {
			return bad
		}
		if s.alpha || e.missing {
			continue
		}
		var ok bool
		if e.score, ok = sortScore(e.text); !ok {
			unfit = true
		}
	}
	if unfit {
		res := Error(CodeError, TextSortScores)
		return &res
	}
	slices.SortFunc(s.elems, s.compare)
	return nil
}

// compare knows no locale: bytes are compared. What is equal otherwise goes by the elements, so that the order is
// the same everywhere.
func (s *sorting) compare(a, b sortedElem) int {
	var c int
	switch {
	case !s.alpha:
		c = cmp.Compare(a.score, b.score)
	case a.missing != b.missing:
		if c = 1; a.missing {
			c = -1
		}
	default:
		c = bytes.Compare(a.text, b.text)
	}
	if c == 0 {
		c = bytes.Compare(a.elem, b.elem)
	}
	if s.desc {
		return -c
	}
	return c
}

// sortScore reads what strtod reads. Redis has no numbers that are less exact for being small.
func sortScore(b []byte) (float64, bool) {
	const smallest = 0x1p-1022
	v, ranged, ok := looseDouble(b)
	return v, ok && ranged && (v == 0 || math.Abs(v) >= smallest)
}

// lookup gives what a pattern leads to for an element. It aliases the store.
func (s *sorting) lookup(p *sortPattern, elem []byte) (v []byte, found bool, bad *Result) {
	const (
		each   = 64 // of the work for a pattern that leads nowhere
		hashed = 8  // how much longer it takes to hash a byte than to compare it
	)
	if bad := s.spend(each); bad != nil {
		return nil, false, bad
	}
	if len(p.text) == 1 && p.text[0] == '#' {
		return elem, true, nil
	}
	if !p.star || len(p.head)+len(elem)+len(p.tail) > MaxKeyBytes {
		return nil, false, nil
	}
	s.name = append(append(append(s.name[:0], p.head...), elem...), p.tail...)
	if bad := s.spend(len(s.name) + hashed*len(p.field)); bad != nil {
		return nil, false, bad
	}
	ref, found := s.x.k.st.Get(store.SlotOf(s.name), s.name, s.x.now)
	if !found {
		return nil, false, nil
	}
	s.x.ctx.NoteDue(ref.ExpireAt())
	if p.field != nil {
		v, found = ref.Field(p.field)
		return v, found, nil
	}
	return ref.Bytes(), ref.Type() == store.TypeString, nil
}

// each visits what the reply has for some elements.
func (s *sorting) each(elems []sortedElem, f func(v []byte, found bool) bool) *Result {
	for i := range elems {
		if len(s.gets) == 0 && !f(elems[i].elem, true) {
			return nil
		}
		for j := range s.gets {
			v, found, bad := s.lookup(&s.gets[j], elems[i].elem)
			if bad != nil || !f(v, found) {
				return bad
			}
		}
	}
	return nil
}

// answer looks twice, so that no memory is taken before the size of the reply is known.
func (s *sorting) answer(elems []sortedElem) Result {
	size, n := int64(0), 0
	bad := s.each(elems, func(v []byte, _ bool) bool {
		size += ReplyOverhead + int64(len(v))
		n++
		return size <= MaxReply
	})
	if bad == nil {
		bad = s.x.fits(size)
	}
	if bad != nil {
		return *bad
	}
	out := make([]Result, 0, n)
	bad = s.each(elems, func(v []byte, found bool) bool {
		if found {
			out = append(out, Bulk(clone(v)))
		} else {
			out = append(out, Null())
		}
		return true
	})
	if bad != nil {
		return *bad
	}
	return Array(out)
}

// keep stores a list, whatever was there before; what a pattern does not lead to is empty.
func (s *sorting) keep(key []byte, elems []sortedElem) Result {
	var p pile
	many := false
	bad := s.each(elems, func(v []byte, _ bool) bool {
		p.add(v)
		many = len(p.ends) > maxSorted || len(p.data) > maxSortedText
		return !many
	})
	switch {
	case bad != nil:
		return *bad
	case many:
		return Error(CodeTooBig, TextSortTooMany)
	}
	x := s.x
	x.replaceAt(x.keySlots[len(x.keySlots)-1], key, len(p.ends), func() {
		x.editList(key, func(l *store.ListEdit) {
			for i := range p.ends {
				l.PushBack(p.at(i))
			}
		})
	})
	return Int(int64(len(p.ends)))
}
