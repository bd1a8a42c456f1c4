// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
)

// drawn supplies one byte over and over: a tag of choice.
type drawn byte

func (d drawn) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(d)
	}
	return len(p), nil
}

// walBytes is the segment of a log of one entry, up to its last append.
func walBytes(t *testing.T, tag drawn) []byte {
	t.Helper()
	disk := host.NewMemFS(1)
	s, err := OpenWAL(disk.FS(), "/log", Options{Rand: tag})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.StoreLog(&raft.Log{Index: 1, Data: []byte("first")}); err != nil {
		t.Fatal(err)
	}
	if err := s.StoreLog(&raft.Log{Index: 2, Data: []byte("second")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var used []byte
	if err := disk.Edit("/log/00000000000000000001-0000000000000000.wal", func(b []byte) []byte {
		used = bytes.TrimRight(b, "\x00")
		return b
	}); err != nil {
		t.Fatal(err)
	}
	return used
}

// TestStoredBytesAreNoAppend tears an append whose data looks like appends of a log, at every
// alignment. With another log's tag, which is all that a client can make, the torn append is cut
// off; with this log's own tag they would be taken for a good append behind a bad one.
func TestStoredBytesAreNoAppend(t *testing.T) {
	for _, forged := range []drawn{1, 2} {
		content := walBytes(t, forged)
		refused := 0
		for pad := range 8 {
			disk := host.NewMemFS(1)
			opts := Options{Rand: drawn(1)}
			s, err := OpenWAL(disk.FS(), "/log", opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.StoreLog(&raft.Log{Index: 1, Data: []byte("good")}); err != nil {
				t.Fatal(err)
			}
			data := append(make([]byte, pad), content...)
			if err := s.StoreLog(&raft.Log{Index: 2, Data: append(data, make([]byte, 64)...)}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := disk.Edit("/log/00000000000000000001-0000000000000000.wal", func(b []byte) []byte {
				return bytes.TrimRight(b, "\x00")[:len(bytes.TrimRight(b, "\x00"))-1]
			}); err != nil {
				t.Fatal(err)
			}
			s, err = OpenWAL(disk.FS(), "/log", opts)
			var damage *DamageError
			if errors.As(err, &damage) {
				refused++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if last, _ := s.LastIndex(); last != 1 {
				t.Errorf("pad %d: the log ends at %d", pad, last)
			}
			_ = s.Close()
		}
		if want := map[drawn]int{1: 1, 2: 0}[forged]; refused != want {
			t.Errorf("tag %d: %d alignments refused, want %d", forged, refused, want)
		}
	}
}

// TestTailForgetsWhatIsDeleted walks the tail through its edges.
func TestTailForgetsWhatIsDeleted(t *testing.T) {
	tl := tail{limit: 20 * (50 + tailCost)}
	tl.reset(5)
	for i := uint64(5); i < 15; i++ {
		tl.push(&raft.Log{Index: i}, 50)
	}
	tl.dropBelow(8)
	tl.dropFrom(12)
	for i := uint64(0); i < 20; i++ {
		l := tl.get(i)
		if held := i >= 8 && i < 12; held != (l != nil) || held && l.Index != i {
			t.Errorf("entry %d: %v", i, l)
		}
	}
	if tl.bytes != 4*(50+tailCost) || tl.next != 12 {
		t.Errorf("%d bytes, next %d", tl.bytes, tl.next)
	}
	for i := uint64(12); i < 100; i++ {
		tl.push(&raft.Log{Index: i}, 50)
	}
	if tl.bytes != tl.limit || tl.held() != 20 || tl.get(79) != nil || tl.get(80) == nil {
		t.Errorf("%d bytes in %d entries", tl.bytes, tl.held())
	}
	if n := cap(tl.array); n > 64 {
		t.Errorf("room for %d entries where 21 are held at most", n)
	}
	tl.push(&raft.Log{Index: 100}, 5000)
	if tl.held() != 1 || tl.get(100) == nil {
		t.Errorf("an entry above the limit is not held alone: %d entries", tl.held())
	}
	tl.dropFrom(50) // below what is held
	if tl.bytes != 0 || tl.next != 50 || tl.held() != 0 {
		t.Errorf("%d bytes, next %d", tl.bytes, tl.next)
	}
}
