// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"testing"
)

// fill makes n strings of 100 B; the i-th touched at tick i, with deadline n-i when timed(i).
func fill(n int, timed func(i int) bool) *Store {
	s := New(Config{HashKey: testHashKey})
	for i := range n {
		s.SetTick(uint32(i))
		var at int64
		if timed(i) {
			at = int64(n - i)
		}
		k := fmt.Append(nil, i)
		s.SetString(SlotOf(k), k, make([]byte, 100), Meta{Version: uint64(i + 1), ExpireAt: at})
	}
	return s
}

func number(v Victim) (i int) {
	_, _ = fmt.Sscan(string(v.Key), &i)
	return i
}

// Goal: victims are real, distinct, named with version and size, and no more than asked for.
func TestSampleAnswers(t *testing.T) {
	const n = 20_000
	s := fill(n, func(i int) bool { return i%2 == 0 })
	for p := AllKeysLRU; p.Valid(); p++ {
		excluded := func(_ uint16, key []byte, _ uint64) bool { return key[len(key)-1] == '4' }
		skipped := func(slot uint16) bool { return slot%3 == 0 }
		got := s.Sample(SampleRequest{Policy: p, Bytes: 30_000, Seed: 7, Tick: n, Skip: skipped, Exclude: excluded})
		seen := map[string]bool{}
		var sum int64
		for _, v := range got {
			i := number(v)
			r, ok := s.Lookup(v.Slot, v.Key)
			if !ok || seen[string(v.Key)] || v.Slot != SlotOf(v.Key) || v.Version != uint64(i+1) || v.Bytes != r.LogicalBytes() {
				t.Fatalf("%v: %+v", p, v)
			}
			if excluded(v.Slot, v.Key, v.Version) || skipped(v.Slot) || p.Volatile() && i%2 != 0 {
				t.Fatalf("%v: victim %d is not eligible", p, i)
			}
			if sum >= 30_000 {
				t.Fatalf("%v: more than needed", p)
			}
			seen[string(v.Key)] = true
			sum += v.Bytes
		}
		if sum < 30_000 {
			t.Errorf("%v: %d bytes in %d victims", p, sum, len(got))
		}
		if again := s.Sample(SampleRequest{Policy: p, Bytes: 1 << 40, Seed: 7, Tick: n}); len(again) != MaxVictims {
			t.Errorf("%v: %d victims, want MaxVictims", p, len(again))
		}
		if one := s.Sample(SampleRequest{Policy: p, Bytes: 1 << 40, Max: 1, Tick: n}); len(one) != 1 {
			t.Errorf("%v: %d victims, want 1", p, len(one))
		}
	}
	for _, r := range []SampleRequest{{Policy: NoEviction, Bytes: 1}, {Policy: 99, Bytes: 1}, {Policy: AllKeysLRU}} {
		if got := s.Sample(r); got != nil {
			t.Errorf("%+v: %d victims", r, len(got))
		}
	}
	if got := New(Config{}).Sample(SampleRequest{Policy: AllKeysLRU, Bytes: 1}); got != nil {
		t.Error("victims in an empty store")
	}
	none := fill(10, func(int) bool { return false })
	if got := none.Sample(SampleRequest{Policy: VolatileLRU, Bytes: 1}); got != nil {
		t.Error("volatile victims without deadlines")
	}
}

// Goal: each policy takes its own first. Method: exactly in small stores, where all are looked at;
// by rank in large ones.
func TestSampleOrder(t *testing.T) {
	all := func(int) bool { return true }
	const small = 10
	s := fill(small, all)
	for _, tc := range []struct {
		p     Policy
		first int
	}{{AllKeysLRU, 0}, {VolatileLRU, 0}, {VolatileTTL, small - 1}} {
		if got := s.Sample(SampleRequest{Policy: tc.p, Bytes: 1, Tick: small}); len(got) != 1 || number(got[0]) != tc.first {
			t.Errorf("%v: %v", tc.p, got)
		}
	}
	const n = 50_000
	s = fill(n, all)
	for p, rank := range map[Policy]func(i int) int{
		AllKeysLRU:  func(i int) int { return i },
		VolatileLRU: func(i int) int { return i },
		VolatileTTL: func(i int) int { return n - i },
	} {
		worst, victims := 0, 0
		for seed := range uint64(20) {
			for _, v := range s.Sample(SampleRequest{Policy: p, Bytes: 20_000, Seed: seed, Tick: n}) {
				worst = max(worst, rank(number(v)))
				victims++
			}
		}
		if worst > n/8 || victims < 20*90 {
			t.Errorf("%v: a victim of rank %d in %d, %d victims", p, worst, n, victims)
		}
	}
}

// Goal: the frequency policies spare what is used often, and forget with time. Method: half the
// keys used much, long ago; then ticks pass.
func TestSampleFrequency(t *testing.T) {
	const n = 2000
	s := New(Config{HashKey: testHashKey})
	s.CountAccesses(true)
	for i := range n {
		k := fmt.Append(nil, i)
		s.SetString(SlotOf(k), k, nil, Meta{Version: 1})
	}
	for round := range 200 {
		for i := range n / 2 {
			k := fmt.Append(nil, i)
			s.Touch(SlotOf(k), k, uint32(round))
		}
	}
	for i := n / 2; i < n; i++ { // used later, but once
		k := fmt.Append(nil, i)
		s.Touch(SlotOf(k), k, 300)
	}
	often := func(tick uint32) (n int) {
		for _, v := range s.Sample(SampleRequest{Policy: AllKeysLFU, Bytes: 20_000, Seed: 1, Tick: tick}) {
			if number(v) < 1000 {
				n++
			}
		}
		return n
	}
	if got := often(300); got != 0 {
		t.Errorf("%d victims were used often", got)
	}
	if got := often(300 + 255*frequencyDecay); got == 0 {
		t.Error("nothing is forgotten")
	}
}

// Goal: the choice is even, also between slots of very different size. Method: random policy; one
// slot holds half of the keys; counts per half and per key.
func TestSampleIsEven(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	const half = 10_000
	for i := range half {
		for _, k := range [][]byte{fmt.Appendf(nil, "{one}%d", i), fmt.Appendf(nil, "%d", i)} {
			s.SetString(SlotOf(k), k, nil, Meta{Version: 1})
		}
	}
	hits := map[string]int{}
	one, total := 0, 0
	for seed := range uint64(300) {
		for _, v := range s.Sample(SampleRequest{Policy: AllKeysRandom, Bytes: 1 << 40, Max: 100, Seed: seed * 12345}) {
			hits[string(v.Key)]++
			total++
			if v.Key[0] == '{' {
				one++
			}
		}
	}
	if one < total*45/100 || one > total*55/100 {
		t.Errorf("%d of %d from the slot that holds half", one, total)
	}
	// 30,000 even draws of 20,000 keys meet about 1-exp(-1.5) = 78 % of them.
	if len(hits) < 2*half*74/100 {
		t.Errorf("only %d of %d keys were ever drawn", len(hits), 2*half)
	}
	for k, n := range hits {
		if n > 14 {
			t.Errorf("%s was drawn %d times", k, n)
		}
	}
}

// Goal: recency survives a section, and ticks may wrap around.
func TestRecencyKept(t *testing.T) {
	s := New(Config{})
	for i, tick := range []uint32{1<<32 - 5, 1<<32 - 1, 3} {
		k := fmt.Appendf(nil, "{t}%d", i)
		s.SetString(SlotOf(k), k, nil, Meta{Version: 1})
		s.Touch(SlotOf(k), k, tick)
	}
	slot := SlotOf([]byte("{t}"))
	other := New(Config{})
	load(t, other, slot, sections(t, s, slot))
	for _, st := range []*Store{s, other} {
		got := st.Sample(SampleRequest{Policy: AllKeysLRU, Bytes: 1 << 40, Tick: 10})
		if len(got) != 3 {
			t.Fatalf("%d victims", len(got))
		}
		for i, v := range got {
			if string(v.Key) != fmt.Sprintf("{t}%d", i) {
				t.Errorf("place %d: %s", i, v.Key)
			}
		}
	}
}

// Goal: names and numbers of policies fit.
func TestPolicyNames(t *testing.T) {
	for p := NoEviction; p.Valid(); p++ {
		if got, ok := ParsePolicy(p.String()); !ok || got != p {
			t.Errorf("%v parses as %v", p, got)
		}
	}
	if _, ok := ParsePolicy("unknown"); ok || Policy(8).Valid() {
		t.Error("an unknown policy passes")
	}
	if !AllKeysLFU.Frequency() || AllKeysLRU.Frequency() {
		t.Error("Frequency")
	}
}
