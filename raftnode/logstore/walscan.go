// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"github.com/kvorum/kvorum/internal/host"
)

// Format of a raft-wal segment (its README and package segment): a file header, then batches. A
// batch is frames that end in a commit frame, whose checksum covers everything since the commit
// before it; the file header belongs to the first batch. raft-wal itself checks the last batch
// alone, believes a batch that is followed by leftovers of an older append, and does not check
// sealed segments; so every segment is scanned here before raft-wal sees it.
const (
	segmentMagic  = 0x58eb6b0d
	segmentHeader = 32
	frameHeader   = 8
	// searchBudget bounds the bytes checked while looking for batches behind a bad one.
	searchBudget = 1 << 30
)

// segmentScan is what the good batches at the start of a segment hold.
type segmentScan struct {
	offsets []uint32 // of each entry's frame
	sizes   []uint32 // of each entry's frame without padding
	end     int64    // behind the last good batch; 0 = none
	last    int64    // where the last good batch begins
	// indexStart is where the index begins if the last good batch sealed the segment, else 0.
	indexStart uint64
	// rest tells that there is something other than zeros behind end.
	rest bool
}

// frame is a parsed frame header.
type frame struct {
	typ  uint8
	len  uint32 // of the payload; for a commit frame the checksum
	full int64  // bytes with header and padding
}

// parseFrame is false for zeros and anything else that is no frame.
func parseFrame(b []byte) (frame, bool) {
	if len(b) < frameHeader || b[1]|b[2]|b[3] != 0 {
		return frame{}, false
	}
	f := frame{typ: b[0], len: binary.LittleEndian.Uint32(b[4:])}
	switch f.typ {
	case segment.FrameCommit:
		f.full = frameHeader
	case segment.FrameEntry, segment.FrameIndex:
		if f.len > segment.MaxEntrySize {
			return frame{}, false
		}
		f.full = frameHeader + (int64(f.len)+7)/8*8
	default:
		return frame{}, false
	}
	return f, true
}

// scanSegment reads a whole segment.
func scanSegment(f host.File, name string, info types.SegmentInfo, c codec) (segmentScan, error) {
	data, err := readWhole(f)
	if err != nil {
		return segmentScan{}, fmt.Errorf("logstore: read %s: %w", name, err)
	}
	s := scanBatches(data)
	if s.end > 0 {
		got := [3]uint64{}
		for i := range got {
			got[i] = binary.LittleEndian.Uint64(data[8+8*i:])
		}
		if want := [3]uint64{info.BaseIndex, info.ID, info.Codec}; got != want {
			return s, damaged(name, "its header names base, id and codec %d, the list of segments %d", got, want)
		}
	}
	if !info.SealTime.IsZero() {
		if last := info.BaseIndex + uint64(len(s.offsets)) - 1; last < info.MaxIndex {
			return s, damaged(name, "it is good up to entry %d and must be up to entry %d", last, info.MaxIndex)
		}
		return s, nil
	}
	rest := data[s.end:]
	if s.rest = !allZero(rest); s.rest {
		if at, found := findBatch(rest, c); found {
			return s, damaged(name, "the append at byte %d is bad, and a good one follows at byte %d", s.end, s.end+at)
		}
	}
	return s, nil
}

func allZero(b []byte) bool {
	var zeros [4096]byte
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

func readWhole(f host.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if errors.Is(err, io.EOF) && int64(n) == size {
		err = nil
	}
	return data, err
}

// scanBatches takes good batches from the start until the first that is not.
func scanBatches(data []byte) segmentScan {
	var s segmentScan
	if len(data) < segmentHeader || binary.LittleEndian.Uint64(data) != segmentMagic {
		return s
	}
	var offsets, sizes []uint32
	var indexStart uint64
	for at := int64(segmentHeader); at < int64(len(data)); {
		f, ok := parseFrame(data[at:])
		if !ok || at+f.full > int64(len(data)) {
			break
		}
		switch f.typ {
		case segment.FrameEntry:
			offsets = append(offsets, uint32(at))
			sizes = append(sizes, frameHeader+f.len)
		case segment.FrameIndex:
			indexStart = uint64(at) + frameHeader
		case segment.FrameCommit:
			if crc32.Checksum(data[s.end:at], castagnoli()) != f.len {
				return s
			}
			s.last, s.end = s.end, at+frameHeader
			s.offsets, s.sizes, s.indexStart = offsets, sizes, indexStart
		}
		at += f.full
	}
	return s
}

// findBatch looks for a whole good batch that begins anywhere in data. Appends are synced one
// after the other, so a good one behind a bad one means that the bad one was once good. Bytes that
// a client stored do not count, whatever they look like, since they lack the log's tag. When the
// budget ends first the answer is yes: it is not known that nothing was lost.
func findBatch(data []byte, c codec) (at int64, found bool) {
	budget := int64(searchBudget)
	for from := int64(frameHeader); from+frameHeader <= int64(len(data)); from += frameHeader {
		f, ok := parseFrame(data[from:])
		if !ok || f.typ != segment.FrameEntry || from+f.full > int64(len(data)) ||
			!c.good(data[from+frameHeader:from+frameHeader+int64(f.len)]) {
			continue
		}
		for to := from; ; {
			f, ok := parseFrame(data[to:])
			if !ok || to+f.full > int64(len(data)) {
				break
			}
			if budget -= frameHeader; budget < 0 {
				return from, true
			}
			if f.typ == segment.FrameCommit {
				budget -= to - from
				if crc32.Checksum(data[from:to], castagnoli()) == f.len {
					return from, true
				}
				break
			}
			to += f.full
		}
	}
	return 0, false
}
