// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// codecID names the encoding of entries in segment headers; a changed encoding gets a new one.
const codecID = 0x6b760001

// entryHeader is the size of an encoded entry without its data and extensions:
//
//	crc32c u32 over all that follows | tag u32 | index u64 | term u64 | type u8 |
//	appended at: s i64, ns u32 | data length u32 | extensions length u32
const entryHeader = 4 + 4 + 8 + 8 + 1 + 8 + 4 + 4 + 4

var errEntryDamaged = errors.New("logstore: entry fails its checksum")

// castagnoli is the table of every checksum here; package hash/crc32 makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// codec encodes entries for raft-wal with a checksum of their own, so that every read is checked
// and not just the recovery of the tail. The tag is drawn once per log: bytes that a client stored
// never pass for an entry, since it cannot know the tag.
type codec struct {
	tag uint32
	// room is where entries are encoded; nil: each in memory of its own.
	room *encodeRoom
}

// encodeRoom is memory that the encoded entries of one StoreLogs lie in, used again by the next: raft-wal copies them
// into its write buffer before it returns. The one goroutine that appends owns it.
type encodeRoom struct{ free, all []byte }

// encodeRoomSize is what a room has, in bytes. Entries that find no place in it get memory of their own.
const encodeRoomSize = 256 << 10

// reset takes all memory back.
func (r *encodeRoom) reset() { r.free = r.all }

// cut gives an empty slice with n bytes of room.
func (r *encodeRoom) cut(n int) []byte {
	if r.all == nil {
		r.all = make([]byte, encodeRoomSize)
		r.free = r.all
	}
	if n > len(r.free) {
		return make([]byte, 0, n)
	}
	b := r.free[:0:n]
	r.free = r.free[n:]
	return b
}

var _ wal.Codec = codec{}

func (codec) ID() uint64 { return codecID }

// encodedSize is what an entry takes in a segment before padding.
func encodedSize(l *raft.Log) int { return entryHeader + len(l.Data) + len(l.Extensions) }

func (c codec) Encode(l *raft.Log, w io.Writer) error {
	var dst []byte
	switch b, ok := w.(*bytes.Buffer); {
	case !ok:
		dst = make([]byte, 0, encodedSize(l))
	case c.room != nil && b.Cap() == 0: // raft-wal's, a new one for each entry
		*b = *bytes.NewBuffer(c.room.cut(encodedSize(l)))
		dst = b.AvailableBuffer()
	default:
		b.Grow(encodedSize(l))
		dst = b.AvailableBuffer()
	}
	_, err := w.Write(c.append(dst, l))
	return err
}

func (c codec) append(dst []byte, l *raft.Log) []byte {
	start := len(dst)
	dst = c.appendHeader(dst, l)
	dst = append(dst, l.Data...)
	dst = append(dst, l.Extensions...)
	binary.LittleEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli()))
	return dst
}

// appendHeader leaves the checksum 0.
func (c codec) appendHeader(dst []byte, l *raft.Log) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, c.tag)
	dst = binary.LittleEndian.AppendUint64(dst, l.Index)
	dst = binary.LittleEndian.AppendUint64(dst, l.Term)
	dst = append(dst, byte(l.Type))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(l.AppendedAt.Unix()))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(l.AppendedAt.Nanosecond()))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(l.Data)))
	return binary.LittleEndian.AppendUint32(dst, uint32(len(l.Extensions)))
}

// sum is the checksum of the encoded entry.
func (c codec) sum(l *raft.Log) uint32 {
	var head [entryHeader]byte
	sum := crc32.Checksum(c.appendHeader(head[:0], l)[4:], castagnoli())
	sum = crc32.Update(sum, castagnoli(), l.Data)
	return crc32.Update(sum, castagnoli(), l.Extensions)
}

// good tells whether src is an entry of this log; the tag is looked at first, which costs nothing.
func (c codec) good(src []byte) bool {
	return len(src) >= entryHeader && binary.LittleEndian.Uint32(src[4:]) == c.tag &&
		crc32.Checksum(src[4:], castagnoli()) == binary.LittleEndian.Uint32(src)
}

// Decode copies out of src, which belongs to the caller.
func (c codec) Decode(src []byte, l *raft.Log) error {
	if !c.good(src) {
		return errEntryDamaged
	}
	dlen, xlen := binary.LittleEndian.Uint32(src[37:]), binary.LittleEndian.Uint32(src[41:])
	if uint64(dlen)+uint64(xlen) != uint64(len(src)-entryHeader) {
		return errEntryDamaged
	}
	*l = raft.Log{
		Index:      binary.LittleEndian.Uint64(src[8:]),
		Term:       binary.LittleEndian.Uint64(src[16:]),
		Type:       raft.LogType(src[24]),
		AppendedAt: time.Unix(int64(binary.LittleEndian.Uint64(src[25:])), int64(binary.LittleEndian.Uint32(src[33:]))).UTC(),
	}
	body := append([]byte(nil), src[entryHeader:]...)
	if dlen > 0 {
		l.Data = body[:dlen:dlen]
	}
	if xlen > 0 {
		l.Extensions = body[dlen:]
	}
	return nil
}
