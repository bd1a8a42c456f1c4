// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"fmt"
	"testing"
)

func BenchmarkHashSetSameField(b *testing.B) {
	e := NewHashEdit(testHasher())
	e.Begin(nil, false)
	e.Set([]byte("field"), []byte("value-0"))
	_, packed, _ := e.End()
	packed = owned(packed)
	field, value := []byte("field"), []byte("value-1")
	b.ReportAllocs()
	for b.Loop() {
		e.Begin(packed, true)
		e.Set(field, value)
		_, packed, _ = e.End()
	}
}

func hashOf(n int) Hash {
	e := NewHashEdit(testHasher())
	e.Begin(nil, false)
	for i := range n {
		e.Set(fmt.Appendf(nil, "field:%07d", i), []byte("value-0"))
	}
	_, packed, large := e.End()
	return Hash{packed, large}
}

func BenchmarkHashGet(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 1000000} {
		b.Run(fmt.Sprintf("fields=%d", n), func(b *testing.B) {
			h := hashOf(n)
			field := fmt.Appendf(nil, "field:%07d", n/2)
			b.ReportAllocs()
			for b.Loop() {
				h.Get(field)
			}
		})
	}
}

func BenchmarkHashSetLarge(b *testing.B) {
	for _, n := range []int{1000, 1000000} {
		b.Run(fmt.Sprintf("fields=%d", n), func(b *testing.B) {
			e := NewHashEdit(testHasher())
			o := hashOf(n).o
			fields := make([][]byte, 1024)
			for i := range fields {
				fields[i] = fmt.Appendf(nil, "field:%07d", i*7919%n)
			}
			i := 0
			value := []byte("value-1")
			b.ReportAllocs()
			for b.Loop() {
				e.BeginLarge(o)
				e.Set(fields[i&1023], value)
				e.End()
				i++
			}
		})
	}
}

func BenchmarkHashSum(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("fields=%d", n), func(b *testing.B) {
			h := hashOf(n)
			b.ReportAllocs()
			for b.Loop() {
				h.Sum()
			}
		})
	}
}

func BenchmarkListPushFrontEmpty(b *testing.B) {
	var e ListEdit
	o := newBigList()
	for range 1000 {
		o.pushFront(nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.BeginLarge(o)
		e.PushFront(nil)
		e.End()
	}
}

func BenchmarkListPushFront(b *testing.B) {
	for _, size := range []int{8, 100, 1000} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			var e ListEdit
			base := newBigList()
			for range 1000 {
				base.pushFront(nil)
			}
			o := base.Fork()
			v := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if o.n > 1<<18 {
					o = base.Fork()
				}
				e.BeginLarge(o)
				e.PushFront(v)
				e.End()
			}
		})
	}
}

func BenchmarkListPushBackPopFront(b *testing.B) {
	var e ListEdit
	o := newBigList()
	for range 1000 {
		o.pushFront([]byte("value-0"))
	}
	v := []byte("value-1")
	b.ReportAllocs()
	for b.Loop() {
		e.BeginLarge(o)
		e.PushBack(v)
		e.PopFront()
		e.End()
	}
}

func BenchmarkListIndex(b *testing.B) {
	o := newBigList()
	for range 1000000 {
		o.pushFront(nil)
	}
	l := LargeList(o)
	b.ReportAllocs()
	for b.Loop() {
		l.Index(500000)
	}
}

func BenchmarkListPacked(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		var e ListEdit
		e.Begin(nil, false)
		for range n {
			e.PushBack([]byte("value-0"))
		}
		_, packed, _ := e.End()
		packed = append(make([]byte, 0, 2*len(packed)), packed...)
		b.Run(fmt.Sprintf("lpush+rpop/elements=%d", n), func(b *testing.B) {
			v := []byte("value-1")
			b.ReportAllocs()
			for b.Loop() {
				e.Begin(packed, true)
				e.PushFront(v)
				e.PopBack()
				_, packed, _ = e.End()
			}
		})
		b.Run(fmt.Sprintf("sum/elements=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				PackedList(packed).Sum()
			}
		})
	}
}

func BenchmarkListFork(b *testing.B) {
	o := newBigList()
	for range 1000000 {
		o.pushFront(nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		o = o.Fork()
		o.pushFront(nil)
	}
}

func BenchmarkHashForkAndSet(b *testing.B) {
	e := NewHashEdit(testHasher())
	o := hashOf(1000000).o
	field, value := []byte("field:0004711"), []byte("value-1")
	b.ReportAllocs()
	for b.Loop() {
		o = o.Fork()
		e.BeginLarge(o)
		e.Set(field, value)
		e.End()
	}
}

func zsetOf(n int) ZSet {
	e := NewZSetEdit(testHasher())
	e.Begin(nil, false)
	for i := range n {
		e.Add(fmt.Appendf(nil, "member:%07d", i*7919%n), float64(i))
	}
	_, packed, large := e.End()
	return ZSet{packed, large}
}

func BenchmarkZSetAdd(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 1000000} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			z, e := zsetOf(n), NewZSetEdit(testHasher())
			names := make([][]byte, 1024)
			for i := range names {
				names[i] = fmt.Appendf(nil, "member:%07d", i*104729%n)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if z.o != nil {
					e.BeginLarge(z.o)
				} else {
					e.Begin(z.p, true)
				}
				e.Add(names[i&1023], float64(i))
				_, z.p, z.o = e.End()
				i++
			}
		})
	}
}

func BenchmarkZSetRead(b *testing.B) {
	for _, n := range []int{10, 100, 1000000} {
		z := zsetOf(n)
		member := fmt.Appendf(nil, "member:%07d", n/2)
		b.Run(fmt.Sprintf("score/members=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				z.Score(member)
			}
		})
		b.Run(fmt.Sprintf("rank/members=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				z.Rank(member)
			}
		})
		b.Run(fmt.Sprintf("first10/members=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				z.Range(0, 10, func([]byte, float64) bool { return true })
			}
		})
	}
}

func BenchmarkSetAddRemove(b *testing.B) {
	for _, n := range []int{10, 100, 1000000} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			e := NewSetEdit(testHasher())
			e.Begin(nil, false)
			for i := range n {
				e.Add(fmt.Appendf(nil, "member:%07d", i))
			}
			_, packed, large := e.End()
			packed = append(make([]byte, 0, 2*len(packed)), packed...)
			member := []byte("another")
			b.ReportAllocs()
			for b.Loop() {
				if large != nil {
					e.BeginLarge(large)
				} else {
					e.Begin(packed, true)
				}
				e.Add(member)
				e.Remove(member)
				_, packed, large = e.End()
			}
		})
	}
}
