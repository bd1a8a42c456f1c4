// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/kvorum/kvorum/internal/host"
)

const (
	fileMagic   = "KVSNAPSH"
	fileVersion = 1
	// MaxMeta bounds the encoded Meta of a file.
	MaxMeta     = 1 << 20
	metaFixed   = 36 // its fields of fixed size, lengths included
	trailerSize = 16
)

// Meta is what a folder knows of a snapshot.
type Meta struct {
	// Index and Term are those of the last log entry in the state.
	Index, Term uint64
	Group       uint32
	Cluster     string
	// Configuration is the group's membership in Raft's encoding, opaque here, as of log index
	// ConfigurationIndex.
	Configuration      []byte
	ConfigurationIndex uint64
	// Size is that of the stream, ID the snapshot's name in its folder. Both are set by the folder;
	// Create ignores them.
	Size int64
	ID   string
}

func (m *Meta) append(dst []byte) ([]byte, error) {
	n := metaFixed + len(m.Cluster) + len(m.Configuration)
	if n > MaxMeta {
		return nil, fmt.Errorf("meta data of %d bytes: %w", n, ErrTooLarge)
	}
	start := len(dst)
	dst = append(dst, fileMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, fileVersion)
	dst = append(dst, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = binary.LittleEndian.AppendUint64(dst, m.Index)
	dst = binary.LittleEndian.AppendUint64(dst, m.Term)
	dst = binary.LittleEndian.AppendUint64(dst, m.ConfigurationIndex)
	dst = binary.LittleEndian.AppendUint32(dst, m.Group)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Cluster)))
	dst = append(dst, m.Cluster...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Configuration)))
	dst = append(dst, m.Configuration...)
	return appendCRC(dst, dst[start:]), nil
}

// parse reads the meta data between frame head and checksum.
func (m *Meta) parse(p []byte) bool {
	if len(p) < metaFixed {
		return false
	}
	m.Index = binary.LittleEndian.Uint64(p)
	m.Term = binary.LittleEndian.Uint64(p[8:])
	m.ConfigurationIndex = binary.LittleEndian.Uint64(p[16:])
	m.Group = binary.LittleEndian.Uint32(p[24:])
	n := uint64(binary.LittleEndian.Uint32(p[28:]))
	if p = p[32:]; n+4 > uint64(len(p)) {
		return false
	}
	m.Cluster = string(p[:n])
	k := uint64(binary.LittleEndian.Uint32(p[n:]))
	if p = p[n+4:]; k != uint64(len(p)) {
		return false
	}
	m.Configuration = append([]byte(nil), p...)
	return true
}

// readEnvelope reads head and trailer of a file and checks them against its size. It returns where
// the stream begins and its checksum.
func readEnvelope(f host.File) (m Meta, start int64, sum uint32, err error) {
	size, err := f.Size()
	if err != nil {
		return Meta{}, 0, 0, err
	}
	var head [frameHead]byte
	if err := readAt(f, head[:], 0); err != nil {
		return Meta{}, 0, 0, err
	}
	if string(head[:8]) != fileMagic {
		return Meta{}, 0, 0, fmt.Errorf("%w: no snapshot file: magic", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint16(head[8:]); v != fileVersion {
		return Meta{}, 0, 0, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	n := int64(binary.LittleEndian.Uint32(head[12:]))
	if n > MaxMeta || !zero(head[10:12]) {
		return Meta{}, 0, 0, fmt.Errorf("%w: length of the meta data", ErrCorrupt)
	}
	if size < frameHead+n+crcSize+trailerSize {
		return Meta{}, 0, 0, fmt.Errorf("%w: cut off at byte %d, in the meta data", ErrCorrupt, size)
	}
	frame := make([]byte, frameHead+n+crcSize)
	if err := readAt(f, frame, 0); err != nil {
		return Meta{}, 0, 0, err
	}
	body := frame[:frameHead+n]
	if binary.LittleEndian.Uint32(frame[len(body):]) != crc(body) || !m.parse(body[frameHead:]) {
		return Meta{}, 0, 0, fmt.Errorf("%w: checksum of the meta data", ErrCorrupt)
	}
	start = int64(len(frame))
	var tail [trailerSize]byte
	if err := readAt(f, tail[:], size-trailerSize); err != nil {
		return Meta{}, 0, 0, err
	}
	m.Size = size - start - trailerSize
	if binary.LittleEndian.Uint32(tail[12:]) != crc(tail[:12]) || binary.LittleEndian.Uint64(tail[:]) != uint64(m.Size) {
		return Meta{}, 0, 0, fmt.Errorf("%w: trailer at byte %d", ErrCorrupt, size-trailerSize)
	}
	return m, start, binary.LittleEndian.Uint32(tail[8:]), nil
}

func readAt(f host.File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: cut off at byte %d", ErrCorrupt, off+int64(n))
	}
	return err
}

func appendTrailer(dst []byte, size int64, sum uint32) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(size))
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return appendCRC(dst, dst[start:])
}

// streamReader reads the stream in a file and checks it at its end.
type streamReader struct {
	f          host.File
	left       func() // tells the folder that the reader is closed
	start, end int64  // of the stream in the file
	next       int64  // offset in the file
	want       uint32
	sum        uint32 // of [from, next)
	from       int64
}

// Read returns ErrCorrupt in place of io.EOF when the bytes read are not those written.
func (r *streamReader) Read(p []byte) (int, error) {
	if r.next == r.end {
		if r.from == r.start && r.sum != r.want {
			return 0, fmt.Errorf("snapshots: read: %w: checksum of the stream", ErrCorrupt)
		}
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.end-r.next)]
	n, err := r.f.ReadAt(p, r.next)
	r.sum = crc32.Update(r.sum, crc32.MakeTable(crc32.Castagnoli), p[:n])
	r.next += int64(n)
	switch {
	case n == len(p):
		err = nil
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: cut off at byte %d", ErrCorrupt, r.next)
	}
	if err != nil {
		err = fmt.Errorf("snapshots: read: %w", err)
	}
	return n, err
}

// Seek moves within the stream. The checksum is compared at the end only of a run of reads that
// began at the start.
func (r *streamReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		offset += r.start
	case io.SeekCurrent:
		offset += r.next
	case io.SeekEnd:
		offset += r.end
	default:
		return 0, fmt.Errorf("snapshots: seek: whence %d", whence)
	}
	if offset < r.start || offset > r.end {
		return 0, fmt.Errorf("snapshots: seek: offset %d outside the stream", offset-r.start)
	}
	r.next, r.from, r.sum = offset, offset, 0
	return offset - r.start, nil
}

// Close closes the file.
func (r *streamReader) Close() error {
	defer r.left()
	return r.f.Close()
}
