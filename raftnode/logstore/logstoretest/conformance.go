// SPDX-License-Identifier: Apache-2.0

package logstoretest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// bench is an open store beside the model of what it must hold.
type bench struct {
	sub Subject
	s   raft.LogStore
	m   *model
}

func newBench(t testing.TB, fresh Fresh) *bench {
	t.Helper()
	b := &bench{sub: fresh(t), m: newModel()}
	b.open(t)
	return b
}

func (b *bench) open(t fataler) {
	t.Helper()
	s, err := b.sub.Open()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	b.s = s
}

func (b *bench) close(t fataler) {
	t.Helper()
	if err := b.sub.Close(b.s); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (b *bench) append(t fataler, n, size int, start uint64) {
	t.Helper()
	logs := b.m.batch(n, size, start)
	if err := b.s.StoreLogs(logs); err != nil {
		t.Fatalf("store %d entries from %d: %v", n, logs[0].Index, err)
	}
	b.m.store(logs)
}

func (b *bench) delete(t fataler, lo, hi uint64) {
	t.Helper()
	if err := b.s.DeleteRange(lo, hi); err != nil {
		t.Fatalf("delete %d..%d of %d..%d: %v", lo, hi, b.m.first, b.m.last, err)
	}
	b.m.delete(lo, hi)
}

func (b *bench) check(t fataler) {
	t.Helper()
	if err := b.m.diff(b.s); err != nil {
		t.Fatalf("%v", err)
	}
}

// settle checks the store as it is and as it is read back from disk.
func (b *bench) settle(t fataler) {
	t.Helper()
	b.check(t)
	b.close(t)
	b.open(t)
	b.check(t)
}

// Conformance checks a store against the contract that raft relies on.
func Conformance(t *testing.T, fresh Fresh) {
	for _, cases := range [][]conformanceCase{appendCases(), deleteCases(), useCases()} {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				b := newBench(t, fresh)
				c.run(t, b)
				b.close(t)
			})
		}
	}
	t.Run("random", func(t *testing.T) { random(t, fresh) })
}

type conformanceCase struct {
	name string
	run  func(t *testing.T, b *bench)
}

func appendCases() []conformanceCase {
	return []conformanceCase{
		{"empty", func(t *testing.T, b *bench) { b.settle(t) }},
		{"one entry", func(t *testing.T, b *bench) {
			l := b.m.batch(1, 10, 1)
			if err := b.s.StoreLog(l[0]); err != nil {
				t.Fatal(err)
			}
			b.m.store(l)
			b.settle(t)
		}},
		{"no entries", func(t *testing.T, b *bench) {
			if err := b.s.StoreLogs(nil); err != nil {
				t.Fatal(err)
			}
			b.settle(t)
		}},
		{"sizes", func(t *testing.T, b *bench) {
			for _, size := range []int{0, 1, 7, 8, 9, 511, 512, 513, 4096, 65535, 65536, 1 << 20} {
				b.append(t, 2, size, 1)
			}
			b.settle(t)
		}},
		{"large entry", func(t *testing.T, b *bench) {
			b.append(t, 1, 17<<20, 1)
			b.append(t, 1, 10, 1)
			b.settle(t)
		}},
		{"first index above one", func(t *testing.T, b *bench) {
			b.append(t, 3, 10, 1000)
			b.settle(t)
			b.append(t, 3, 10, 0)
			b.settle(t)
		}},
		{"index far above", func(t *testing.T, b *bench) {
			b.append(t, 3, 10, 1<<40)
			b.settle(t)
		}},
	}
}

func deleteCases() []conformanceCase {
	return []conformanceCase{
		{"delete prefix", func(t *testing.T, b *bench) {
			b.append(t, 50, 100, 1)
			b.delete(t, 1, 10)
			b.settle(t)
			b.delete(t, 0, 20) // from below the first
			b.settle(t)
			b.append(t, 5, 100, 0)
			b.settle(t)
		}},
		{"delete suffix", func(t *testing.T, b *bench) {
			b.append(t, 50, 100, 1)
			b.delete(t, 41, 50)
			b.settle(t)
			b.append(t, 5, 100, 0) // other entries at the same places
			b.settle(t)
			b.delete(t, 40, 1000) // to above the last
			b.settle(t)
		}},
		{"cut the same place again and again", func(t *testing.T, b *bench) {
			b.append(t, 10, 100, 1)
			for range 5 {
				b.delete(t, 6, b.m.last)
				b.append(t, 7, 100, 0)
			}
			b.settle(t)
		}},
		{"delete all", func(t *testing.T, b *bench) {
			b.append(t, 50, 100, 1)
			b.delete(t, 1, 50)
			b.settle(t)
			b.append(t, 5, 100, 51)
			b.settle(t)
			b.delete(t, 0, 1<<40)
			b.append(t, 5, 100, 500) // as after the install of a snapshot
			b.settle(t)
			b.delete(t, 500, 504)
			b.append(t, 5, 100, 20) // and below what was there
			b.settle(t)
		}},
		{"delete nothing", func(t *testing.T, b *bench) {
			b.delete(t, 1, 10)
			b.append(t, 10, 100, 100)
			b.delete(t, 1, 99)
			b.delete(t, 110, 200)
			b.delete(t, 105, 104)
			b.settle(t)
		}},
	}
}

func useCases() []conformanceCase {
	return []conformanceCase{
		{"own copies", func(t *testing.T, b *bench) {
			logs := b.m.batch(3, 10, 1)
			b.m.store(logs)
			if err := b.s.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
			for _, l := range logs { // raft uses its structs again; Data stays as it is
				*l = raft.Log{Index: 99}
			}
			var got raft.Log
			if err := b.s.GetLog(2, &got); err != nil {
				t.Fatal(err)
			}
			got.Term = 99
			b.check(t)
		}},
		{"reuse of the receiver", func(t *testing.T, b *bench) {
			b.append(t, 10, 20, 1) // some with extensions, some without
			b.close(t)
			b.open(t)
			var l raft.Log
			for i := uint64(1); i <= 10; i++ {
				if err := b.s.GetLog(i, &l); err != nil {
					t.Fatal(err)
				}
				if err := sameEntry(&l, b.m.entries[i]); err != nil {
					t.Errorf("entry %d: %v", i, err)
				}
			}
		}},
		{"gaps", gaps},
		{"many small appends", func(t *testing.T, b *bench) {
			for range 300 {
				b.append(t, 1, 100, 1)
			}
			b.delete(t, 1, 150)
			b.settle(t)
		}},
		{"beside each other", together},
	}
}

// gaps holds for stores that say they are monotonic.
func gaps(t *testing.T, b *bench) {
	if m, ok := b.s.(raft.MonotonicLogStore); !ok || !m.IsMonotonic() {
		t.Skip("the store allows gaps")
	}
	b.append(t, 5, 10, 1)
	for _, logs := range [][]*raft.Log{
		{{Index: 7}}, {{Index: 5}}, {{Index: 6}, {Index: 8}}, {{Index: 0}},
	} {
		if err := b.s.StoreLogs(logs); err == nil {
			t.Errorf("stored %d behind 5", logs[0].Index)
		}
	}
	if err := b.s.DeleteRange(2, 3); err == nil {
		t.Error("deleted from the middle")
	}
	b.append(t, 1, 10, 0)
	b.settle(t)
}

// together appends, cuts prefixes and reads from several goroutines. A read finds the entry that
// was stored at its place or, when a deletion may have come first, nothing.
func together(t *testing.T, b *bench) {
	total := uint64(2000)
	if b.sub.Disk == nil {
		total = 200 // real syncs take their time
	}
	var last, deleted atomic.Uint64
	var wg sync.WaitGroup
	var failed atomic.Pointer[string]
	fail := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		failed.CompareAndSwap(nil, &s)
	}
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for b.m.last < total {
			logs := b.m.batch(1+int(b.m.last%5), 200, 1)
			if err := b.s.StoreLogs(logs); err != nil {
				fail("store: %v", err)
				return
			}
			b.m.store(logs)
			last.Store(b.m.last)
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			upTo := last.Load() / 2
			deleted.Store(upTo) // before the fact: readers must expect it from now on
			if err := b.s.DeleteRange(0, upTo); err != nil {
				fail("delete: %v", err)
				return
			}
		}
	})
	for r := range uint64(3) {
		wg.Go(func() {
			for n := uint64(0); ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if hi := last.Load(); hi > 0 {
					if err := readOne(b.s, 1+(n*7919+r*104729)%hi, &deleted); err != nil {
						fail("%v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if s := failed.Load(); s != nil {
		t.Fatal(*s)
	}
	b.m.delete(0, deleted.Load())
	b.delete(t, 0, deleted.Load())
	b.settle(t)
}

// realRuns bounds the sequences tried on a real disk, whose syncs take their time.
const realRuns = 5

// readOne reads an entry that was stored, unless it is deleted.
func readOne(s raft.LogStore, i uint64, deleted *atomic.Uint64) error {
	var l raft.Log
	err := s.GetLog(i, &l)
	switch {
	case err == nil && l.Index != i:
		return fmt.Errorf("entry %d came as %d", i, l.Index)
	case errors.Is(err, raft.ErrLogNotFound) && i > deleted.Load():
		return fmt.Errorf("entry %d is gone; deleted up to %d", i, deleted.Load())
	case err != nil && !errors.Is(err, raft.ErrLogNotFound):
		return fmt.Errorf("read %d: %w", i, err)
	}
	return nil
}

// random plays any sequence of calls against the model.
func random(t *testing.T, fresh Fresh) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t, fresh)
		if runs++; b.sub.Disk == nil && runs > realRuns {
			b.close(rt)
			return
		}
		steps := b.steps()
		steps["reopen"] = func(rt *rapid.T) { b.settle(rt) }
		steps[""] = func(rt *rapid.T) { b.check(rt) }
		rt.Repeat(steps)
		b.close(rt)
	})
}

// steps are the calls that must succeed in any state.
func (b *bench) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"append": func(t *rapid.T) {
			b.append(t, rapid.IntRange(1, 20).Draw(t, "n"), rapid.IntRange(0, 3000).Draw(t, "size"), rapid.Uint64Range(1, 500).Draw(t, "start"))
		},
		"prefix": func(t *rapid.T) {
			b.delete(t, 0, rapid.Uint64Range(b.m.first, b.m.last+1).Draw(t, "to"))
		},
		"suffix": func(t *rapid.T) {
			b.delete(t, rapid.Uint64Range(b.m.first, b.m.last+1).Draw(t, "from"), 1<<40)
		},
	}
}
