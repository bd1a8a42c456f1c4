// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path"
	"time"

	"github.com/hashicorp/raft-wal/types"
	"github.com/kvorum/kvorum/internal/host"
)

// The list of segments is kept in one file of two slots, written in turn and in place: its space is
// taken when it is made, so that a full disk stops neither rotation nor deletion.
//
//	slot: magic u32 | version u8 | sequence u64 | payload length u32 | payload | crc32c u32 over all before
//	payload: tag u32 | next segment id u64 | born u64 | number of segments u32 | segments
//	segment: id, base, min, max, codec, index start u64 each | created, sealed: s i64, ns u32 each | size limit u32
//
// A slot torn by a crash leaves the other in force, which is right, since the torn one was not
// acknowledged. That a slot rotted instead shows by a segment file the older slot cannot know.
const (
	metaName       = "segments"
	metaMagic      = 0x6b76776d
	metaVersion    = 1
	metaSlot       = 128 << 10
	metaHeader     = 4 + 1 + 8 + 4
	metaFixed      = 4 + 8 + 8 + 4
	metaSegment    = 6*8 + 2*12 + 4
	maxMetaPayload = metaSlot - metaHeader - 4
	// maxSegments is how many segments a log may have; compaction must have failed for long before.
	maxSegments = (maxMetaPayload - metaFixed) / metaSegment
)

var errTooManySegments = errors.New("logstore: too many segments; compaction must have failed for long")

// walMeta is the types.MetaStore of one log. It belongs to the log's one writer.
type walMeta struct {
	fs   host.FS
	path string
	f    host.File
	metaRecord
}

// metaRecord is the content of a slot.
type metaRecord struct {
	seq   uint64 // counts records
	tag   uint32 // of the log's entries, see codec
	state types.PersistentState
	// born bounds the ids of segments known to hold an acknowledged append: the files of those
	// below it must exist and hold it.
	born uint64
}

var _ types.MetaStore = (*walMeta)(nil)

// openMeta opens the list of segments in dir, making it when there is none and none must be there.
func openMeta(fs host.FS, dir string, opts Options) (*walMeta, error) {
	m := &walMeta{fs: fs, path: path.Join(dir, metaName)}
	_, err := fs.Stat(m.path)
	if errors.Is(err, os.ErrNotExist) {
		if opts.MustExist {
			return nil, damaged(m.path, "it is missing")
		}
		err = m.create(opts.Rand)
	}
	if err == nil {
		m.f, err = fs.OpenFile(m.path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("logstore: open %s: %w", m.path, err)
	}
	if err := m.read(); err != nil {
		_ = m.f.Close()
		return nil, err
	}
	return m, nil
}

func (m *walMeta) create(rand io.Reader) error {
	var tag [4]byte
	if _, err := io.ReadFull(rand, tag[:]); err != nil {
		return err
	}
	first := metaRecord{seq: 1, tag: binary.LittleEndian.Uint32(tag[:])}
	second := first
	second.seq = 2
	tmp := m.path + ".tmp"
	f, err := m.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	data := make([]byte, 2*metaSlot)
	copy(data, first.append(nil))
	copy(data[metaSlot:], second.append(nil))
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = m.fs.Rename(tmp, m.path)
	}
	if err == nil {
		err = m.fs.SyncDir(path.Dir(m.path))
	}
	return err
}

func (m *walMeta) read() error {
	data := make([]byte, 2*metaSlot)
	if n, err := m.f.ReadAt(data, 0); errors.Is(err, io.EOF) {
		return damaged(m.path, "it ends after %d bytes", n)
	} else if err != nil {
		return fmt.Errorf("logstore: read %s: %w", m.path, err)
	}
	at := int64(0)
	for i, slot := range [][]byte{data[:metaSlot], data[metaSlot:]} {
		if r, ok := parseMeta(slot); ok && r.seq > m.seq {
			m.metaRecord, at = r, int64(i)*metaSlot
		}
	}
	if m.seq == 0 {
		return damaged(m.path, "neither slot is readable")
	}
	// A process that was killed may have left the record in the cache alone; it is acted on from here.
	err := rewrite(m.f, at, at+int64(len(m.metaRecord.append(nil))))
	if err == nil {
		err = m.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("logstore: sync %s: %w", m.path, err)
	}
	return nil
}

func (r metaRecord) append(b []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, metaMagic)
	b = append(b, metaVersion)
	b = binary.LittleEndian.AppendUint64(b, r.seq)
	b = binary.LittleEndian.AppendUint32(b, uint32(metaFixed+len(r.state.Segments)*metaSegment))
	b = binary.LittleEndian.AppendUint32(b, r.tag)
	b = binary.LittleEndian.AppendUint64(b, r.state.NextSegmentID)
	b = binary.LittleEndian.AppendUint64(b, r.born)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.state.Segments)))
	for _, g := range r.state.Segments {
		for _, u := range []uint64{g.ID, g.BaseIndex, g.MinIndex, g.MaxIndex, g.Codec, g.IndexStart} {
			b = binary.LittleEndian.AppendUint64(b, u)
		}
		for _, t := range []time.Time{g.CreateTime, g.SealTime} {
			b = binary.LittleEndian.AppendUint64(b, uint64(t.Unix()))
			b = binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
		}
		b = binary.LittleEndian.AppendUint32(b, g.SizeLimit)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

func parseMeta(slot []byte) (r metaRecord, ok bool) {
	if binary.LittleEndian.Uint32(slot) != metaMagic || slot[4] != metaVersion {
		return r, false
	}
	r.seq = binary.LittleEndian.Uint64(slot[5:])
	size := int64(binary.LittleEndian.Uint32(slot[13:]))
	if size < metaFixed || size > maxMetaPayload {
		return r, false
	}
	end := metaHeader + size
	if crc32.Checksum(slot[:end], castagnoli()) != binary.LittleEndian.Uint32(slot[end:]) {
		return r, false
	}
	p := slot[metaHeader:end]
	r.tag = binary.LittleEndian.Uint32(p)
	r.state.NextSegmentID = binary.LittleEndian.Uint64(p[4:])
	r.born = binary.LittleEndian.Uint64(p[12:])
	n := int64(binary.LittleEndian.Uint32(p[20:]))
	if p = p[metaFixed:]; n*metaSegment != int64(len(p)) {
		return r, false
	}
	for ; len(p) > 0; p = p[metaSegment:] {
		u := func(i int) uint64 { return binary.LittleEndian.Uint64(p[i:]) }
		t := func(i int) time.Time {
			return time.Unix(int64(u(i)), int64(binary.LittleEndian.Uint32(p[i+8:]))).UTC()
		}
		r.state.Segments = append(r.state.Segments, types.SegmentInfo{
			ID: u(0), BaseIndex: u(8), MinIndex: u(16), MaxIndex: u(24), Codec: u(32), IndexStart: u(40),
			CreateTime: t(48), SealTime: t(60), SizeLimit: binary.LittleEndian.Uint32(p[72:]),
		})
	}
	return r, true
}

// put makes a record the one in force. When it fails for lack of space the old one still is.
func (m *walMeta) put(s types.PersistentState, born uint64) error {
	if len(s.Segments) > maxSegments {
		return fmt.Errorf("%w: %w", ErrNoSpace, errTooManySegments)
	}
	// Record n is in slot (n-1)%2, so the write spares the one in force.
	at := int64(m.seq%2) * metaSlot
	next := metaRecord{seq: m.seq + 1, tag: m.tag, state: s, born: born}
	if _, err := m.f.WriteAt(next.append(nil), at); isSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	} else if err != nil {
		return err
	}
	if err := m.f.Sync(); err != nil {
		return err
	}
	m.metaRecord = next
	return nil
}

// markBorn records that a segment holds an acknowledged append.
func (m *walMeta) markBorn(id uint64) error {
	if id < m.born {
		return nil
	}
	return m.put(m.state, id+1)
}

// Load implements types.MetaStore; the folder was given to openMeta.
func (m *walMeta) Load(string) (types.PersistentState, error) { return m.state, nil }

// CommitState implements types.MetaStore.
func (m *walMeta) CommitState(s types.PersistentState) error { return m.put(s, m.born) }

// GetStable implements types.MetaStore; term and vote are in a VoteFile.
func (m *walMeta) GetStable([]byte) ([]byte, error) { return nil, ErrUnknownKey }

// SetStable implements types.MetaStore.
func (m *walMeta) SetStable(_, _ []byte) error { return ErrUnknownKey }

// Close leaves the file open: the log that is opened anew in place goes on with it.
func (m *walMeta) Close() error { return nil }

func (m *walMeta) close() error { return m.f.Close() }
