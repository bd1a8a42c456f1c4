// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"bytes"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
	"github.com/kvorum/kvorum/internal/host"
)

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{})
	c := codec{tag: 7}
	f.Add(c.append(nil, &raft.Log{}))
	f.Add(c.append(nil, &raft.Log{Index: 7, Term: 3, Type: 5, Data: []byte("data"), Extensions: []byte("x"), AppendedAt: time.Unix(1, 2)}))
	f.Fuzz(func(t *testing.T, src []byte) {
		var l raft.Log
		if c.Decode(src, &l) != nil {
			return
		}
		if again := c.append(nil, &l); !bytes.Equal(again, src) {
			t.Errorf("%x decodes to %+v, which encodes to %x", src, l, again)
		}
	})
}

func FuzzParseVote(f *testing.F) {
	f.Add([]byte{})
	f.Add(vote{seq: 9, term: 4, voteTerm: 3, node: "n", cand: "n/1"}.append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		page := make([]byte, voteCopy)
		copy(page, src)
		if r, ok := parseVote(page); ok && !bytes.HasPrefix(page, r.append(nil)) {
			t.Errorf("%x parses to %+v", src, r)
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	f.Add([]byte{})
	f.Add(metaRecord{seq: 3, tag: 5, born: 8, state: types.PersistentState{
		NextSegmentID: 9, Segments: []types.SegmentInfo{{ID: 8, BaseIndex: 1, CreateTime: time.Unix(5, 6)}},
	}}.append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		slot := make([]byte, metaSlot)
		copy(slot, src)
		if r, ok := parseMeta(slot); ok && !bytes.HasPrefix(slot, r.append(nil)) {
			t.Errorf("%x parses to %+v", src, r)
		}
	})
}

// zeros makes every log's tag the same.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzOpenWAL puts any bytes in the place of the newest segment, before it held anything
// acknowledged: open must fail with an error or give a log that reads, takes an append and opens
// again the same.
func FuzzOpenWAL(f *testing.F) {
	const name = "/log/00000000000000000001-0000000000000000.wal"
	disk := host.NewMemFS(1)
	s, err := OpenWAL(disk.FS(), "/log", Options{SegmentBytes: 4096, Rand: zeros{}})
	if err != nil {
		f.Fatal(err)
	}
	for i := uint64(1); i < 20; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Data: bytes.Repeat([]byte{1}, int(i))}); err != nil {
			f.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	if err := disk.Edit(name, func(b []byte) []byte {
		used := bytes.TrimRight(b, "\x00")
		f.Add(used)
		f.Add(used[:len(used)-9])
		return b
	}); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		disk := host.NewMemFS(1)
		open := func() (Store, error) { return OpenWAL(disk.FS(), "/log", Options{SegmentBytes: 4096, Rand: zeros{}}) }
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := disk.Edit(name, func([]byte) []byte { return content }); err != nil {
			t.Fatal(err)
		}
		if s, err = open(); err != nil {
			return
		}
		first, _ := s.FirstIndex()
		last, _ := s.LastIndex()
		var l raft.Log
		for i := first; i <= last && last != 0; i++ {
			if s.GetLog(i, &l) != nil {
				return // the batch has a good checksum over a bad entry: nothing of ours wrote it
			}
		}
		if err := s.StoreLog(&raft.Log{Index: last + 1, Data: []byte("more")}); err != nil {
			t.Fatalf("append behind %d..%d: %v", first, last, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = open(); err != nil {
			t.Fatal(err)
		}
		if again, _ := s.LastIndex(); again != last+1 || s.GetLog(again, &l) != nil || string(l.Data) != "more" {
			t.Errorf("the log ends at %d after an append behind %d", again, last)
		}
		_ = s.Close()
	})
}
