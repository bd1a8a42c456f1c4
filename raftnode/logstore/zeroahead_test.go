// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
)

// span is a stretch of a file.
type span struct{ lo, hi int64 }

// spanFile notes where it is written; full makes it refuse what lies at or behind it.
type spanFile struct {
	host.File
	written []span
	full    int64
}

func (f *spanFile) WriteAt(p []byte, off int64) (int, error) {
	if f.full > 0 && off >= f.full {
		return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	f.written = append(f.written, span{off, off + int64(len(p))})
	return len(p), nil
}

// TestZeroAhead: behind an append whole stretches of zeros are written, once each, and never beyond what
// is preallocated, so that syncs need no journal of the file system and no space.
func TestZeroAhead(t *testing.T) {
	const k = 1 << 10
	for name, c := range map[string]struct {
		paid, full int64
		appends    []span
		want       []span
	}{
		"small appends": {
			1024 * k, 0,
			[]span{{0, 3 * k}, {3 * k, 5 * k}, {5 * k, 255 * k}, {255 * k, 257 * k}, {257 * k, 258 * k}},
			[]span{{0, 3 * k}, {3 * k, 256 * k}, {3 * k, 5 * k}, {5 * k, 255 * k}, {255 * k, 257 * k}, {257 * k, 512 * k}, {257 * k, 258 * k}},
		},
		"end of the segment": {300 * k, 0, []span{{0, 290 * k}, {290 * k, 310 * k}}, []span{{0, 290 * k}, {290 * k, 300 * k}, {290 * k, 310 * k}}},
		"a whole stretch":    {1024 * k, 0, []span{{0, 256 * k}, {256 * k, 257 * k}}, []span{{0, 256 * k}, {256 * k, 257 * k}, {257 * k, 512 * k}}},
		"nothing paid":       {0, 0, []span{{0, 3 * k}, {3 * k, 300 * k}}, []span{{0, 3 * k}, {3 * k, 300 * k}}},
		"paid, yet no space": {1024 * k, 3 * k, []span{{0, 3 * k}}, []span{{0, 3 * k}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &spanFile{full: c.full}
			w := &walFile{f: f, paid: c.paid}
			for _, a := range c.appends {
				if _, err := w.WriteAt(make([]byte, a.hi-a.lo), a.lo); err != nil {
					t.Fatal(err)
				}
			}
			if fmt.Sprint(f.written) != fmt.Sprint(c.want) {
				t.Errorf("wrote %v, want %v", f.written, c.want)
			}
		})
	}
	f := &spanFile{full: 1}
	if _, err := (&walFile{f: f, paid: k}).WriteAt([]byte("x"), 1); !errors.Is(err, ErrNoSpace) {
		t.Errorf("append on a full disk: %v", err)
	}
}
