// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ cmds, value int }{{1, 128}, {64, 128}, {1024, 128}, {64, 4096}} {
		b.Run(fmt.Sprintf("cmds=%d/value=%dB", c.cmds, c.value), func(b *testing.B) {
			tm := newOwner(b)
			id := tm.open()
			value := string(make([]byte, c.value))
			index, _ := tm.m.Applied()
			subs := make([]*Sub, 64)
			for i := range subs {
				subs[i] = new(Sub)
				for j := range c.cmds {
					set := Command{Op: OpSet, Args: bytesOf(fmt.Sprintf("key:%012d", i*c.cmds+j), value)}
					subs[i].Body = AppendCommand(subs[i].Body, &set)
				}
				subs[i].Writes, subs[i].Session = c.cmds, id
			}
			b.SetBytes(int64(len(subs[0].Body)))
			b.ReportAllocs()
			seq := uint64(0)
			for b.Loop() {
				seq++
				index++
				s := subs[seq%uint64(len(subs))]
				s.Seq, s.Low = seq, seq
				tm.m.Apply(index, 1, entryOf(Header{Clock: testClock}, s), []*Sub{s})
				if s.Status != SubApplied {
					b.Fatal(s.Status)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.cmds), "ns/cmd")
		})
	}
}

func BenchmarkQuery(b *testing.B) {
	tm := newOwner(b)
	cmds := make([]Command, 64)
	for i := range cmds {
		key := fmt.Sprintf("key:%012d", i)
		tm.do("SET", key, string(make([]byte, 128)))
		cmds[i] = get(key)
	}
	out := make([]Result, len(cmds))
	b.ReportAllocs()
	for b.Loop() {
		tm.m.Query(cmds, out, testClock, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(cmds)), "ns/cmd")
}

// BenchmarkApplySpread writes keys in no order over a state much larger than the processor's caches.
func BenchmarkApplySpread(b *testing.B) {
	const keys, cmds = 200_000, 24
	tm := newOwner(b)
	id := tm.open()
	index, _ := tm.m.Applied()
	rng := rand.New(rand.NewPCG(1, 2))
	value := string(make([]byte, 100))
	seq := uint64(0)
	sub := new(Sub)
	write := func(next func() int) {
		seq++
		index++
		*sub = Sub{Body: sub.Body[:0], Writes: cmds, Session: id, Seq: seq, Low: seq}
		for range cmds {
			set := Command{Op: OpSet, Args: bytesOf(fmt.Sprintf("key:%012d", next()), value)}
			sub.Body = AppendCommand(sub.Body, &set)
		}
		data := entryOf(Header{Clock: testClock}, sub)
		b.StartTimer()
		tm.m.Apply(index, 1, data, nil)
		b.StopTimer()
	}
	n := 0
	for n < keys {
		write(func() int { n++; return n })
	}
	b.ResetTimer()
	for range b.N {
		write(func() int { return rng.IntN(keys) })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*cmds), "ns/cmd")
}
