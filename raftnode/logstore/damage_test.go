// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// flip damages one byte.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x10; return b }
}

// damageCase is one edit of the files of a closed log.
type damageCase struct {
	name string
	// pick returns the file of the sorted segments to damage.
	pick   func(segments []string) string
	edit   func([]byte) []byte // nil = remove
	fine   bool
	sealed bool // the last append closed a segment
}

func segmentDamage() []damageCase {
	first, last := func(s []string) string { return s[0] }, func(s []string) string { return s[len(s)-1] }
	return []damageCase{
		{"entry of the first segment", first, flip(200), false, false},
		{"frame header of the first segment", first, flip(32), false, false},
		{"file header of the first segment", first, flip(9), false, false},
		{"first segment cut", first, func(b []byte) []byte { return b[:500] }, false, false},
		{"first segment emptied", first, func([]byte) []byte { return nil }, false, false},
		{"first segment missing", first, nil, false, false},
		{"entry of the last segment", last, flip(100), false, false},
		{"frame header of the last segment", last, flip(36), false, false},
		{"file header of the last segment", last, flip(1), false, false},
		{"last segment emptied", last, func([]byte) []byte { return nil }, false, false},
		{"last segment zeroed", last, func(b []byte) []byte { clear(b); return b }, false, false},
		{"last segment missing", last, nil, false, false},
		{"garbage behind the last append", last, func(b []byte) []byte {
			return append(bytes.TrimRight(b, "\x00"), bytes.Repeat([]byte{0, 0, 0, 0, 1, 0, 0, 0, 200, 1, 0, 0, 3, 0, 0, 0}, 50)...)
		}, true, false},
		{"nothing", first, func(b []byte) []byte { return b }, true, false},
	}
}

func listDamage() []damageCase {
	list := func([]string) string { return "segments" }
	return []damageCase{
		{"list missing", list, nil, false, false},
		{"list cut", list, func(b []byte) []byte { return b[:1000] }, false, false},
		{"list wiped", list, func(b []byte) []byte { clear(b); return b }, false, false},
		{"older slot of the list", list, flipSlot(false), true, false},
		{"newer slot of the list", list, flipSlot(true), true, false}, // nothing new in it
		{"newer slot of the list after a rotation", list, flipSlot(true), false, true},
		{"older slot of the list after a rotation", list, flipSlot(false), true, true},
	}
}

// TestWALDamage edits the files of a closed log. Whatever took away something acknowledged must be
// refused with advice; the rest must be as it was.
func TestWALDamage(t *testing.T) {
	for _, c := range append(segmentDamage(), listDamage()...) {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			for range 60 {
				if err := r.append(1); err != nil {
					t.Fatal(err)
				}
			}
			if c.sealed {
				if err := r.append(30); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.s.Close(); err != nil {
				t.Fatal(err)
			}
			names, err := r.disk.FS().ReadDir("/log")
			if err != nil {
				t.Fatal(err)
			}
			var segments []string
			for _, n := range names {
				if strings.HasSuffix(n, ".wal") {
					segments = append(segments, n)
				}
			}
			victim := "/log/" + c.pick(segments)
			if c.edit == nil {
				err = r.disk.FS().Remove(victim)
			} else {
				err = r.disk.Edit(victim, c.edit)
			}
			if err != nil {
				t.Fatal(err)
			}
			err = r.open()
			if c.fine {
				if err != nil {
					t.Fatal(err)
				}
				r.check(t)
				return
			}
			var damage *logstore.DamageError
			if !errors.As(err, &damage) || !strings.Contains(err.Error(), "wipe its data folder") {
				t.Fatalf("open: %v", err)
			}
		})
	}
}

// flipSlot damages one of the two slots of the list of segments, told apart by their sequence.
func flipSlot(newer bool) func([]byte) []byte {
	return func(b []byte) []byte {
		half := len(b) / 2
		at := 0
		if (b[5] < b[half+5]) == newer {
			at = half
		}
		b[at+20] ^= 1
		return b
	}
}

// TestWALTornTail cuts the last append at each byte and spoils it at each byte: open keeps what
// came before and goes on.
func TestWALTornTail(t *testing.T) {
	for at := range 300 {
		for _, how := range []string{"cut", "spoil"} {
			r := newRig(t)
			if err := r.append(1); err != nil {
				t.Fatal(err)
			}
			if err := r.append(2); err != nil {
				t.Fatal(err)
			}
			names, _ := r.disk.FS().ReadDir("/log")
			err := r.disk.Edit("/log/"+names[0], func(b []byte) []byte {
				used := len(bytes.TrimRight(b, "\x00"))
				if how == "cut" {
					return b[:used-1-at]
				}
				b[used-1-at] ^= 0x40
				return b
			})
			if err != nil {
				t.Fatal(err)
			}
			r.disk.Crash(host.CrashPolicy{})
			if err := r.open(); err != nil {
				t.Fatalf("%s at -%d: %v", how, at, err)
			}
			r.next = 2
			r.check(t)
			if err := r.append(3); err != nil {
				t.Fatal(err)
			}
			r.reopen(t)
			r.check(t)
		}
	}
}
