// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Section is one section of a stream.
type Section struct {
	Kind uint8
	ID   uint32
	// Data is valid until the next call of Next.
	Data []byte
}

// Reader reads a stream and checks it on the way. What it has returned before an error was written
// so, but may be a part only: a caller that must not act on half a snapshot reads to the end first
// (see Inspect).
type Reader struct {
	r      io.Reader
	header Header
	zstd   *zstd.Decoder
	digest hash.Hash // nil: the stream was verified before
	off    int64     // bytes read from r
	frame  []byte
	block  []byte // unpacked
	at     int    // next byte of block
	data   []byte // of the section handed out
	// wanted is set during Skim.
	wanted func(kind uint8) bool
	info   Info
	err    error
}

// Info sums up a stream.
type Info struct {
	Header   Header
	Sections uint64
	Blocks   uint64
	// Bytes is the unpacked size of all blocks, Size that of the stream.
	Bytes uint64
	Size  int64
	// Digest is the SHA-256 of the stream before its footer.
	Digest [sha256.Size]byte
}

// NewReader reads the header of a stream.
func NewReader(r io.Reader) (*Reader, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxBlock),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("snapshots: decompressor: %w", err)
	}
	sr := &Reader{r: r, zstd: dec, digest: sha256.New()}
	if err := sr.readHeader(); err != nil {
		return nil, fmt.Errorf("snapshots: read: %w", err)
	}
	sr.info.Header = sr.header
	return sr, nil
}

// NewVerifiedReader is NewReader for a stream that was read to its end a moment ago. Its checksums are
// checked again, its digest is not taken again.
func NewVerifiedReader(r io.Reader) (*Reader, error) {
	sr, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	sr.digest = nil
	return sr, nil
}

// Info sums up the stream, once Next returned io.EOF.
func (r *Reader) Info() Info { return r.info }

// Header returns the stream's header.
func (r *Reader) Header() Header { return r.header }

// read fills p; a stream that ends before is damaged.
func (r *Reader) read(p []byte, what string) error {
	n, err := io.ReadFull(r.r, p)
	r.off += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off at byte %d, in %s", ErrCorrupt, r.off, what)
	}
	return err
}

func (r *Reader) corrupt(what string) error {
	return fmt.Errorf("%w: %s before byte %d", ErrCorrupt, what, r.off)
}

func zero(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }

func (r *Reader) readHeader() error {
	frame := make([]byte, frameHead, frameHead+MaxHeader+crcSize)
	if err := r.read(frame, "the header"); err != nil {
		return err
	}
	if string(frame[:8]) != streamMagic {
		return r.corrupt("no snapshot stream: magic")
	}
	if v := binary.LittleEndian.Uint16(frame[8:]); v != streamVersion {
		return fmt.Errorf("%w: %d", ErrVersion, v)
	}
	n := binary.LittleEndian.Uint32(frame[12:])
	if n > MaxHeader || !zero(frame[10:12]) {
		return r.corrupt("length of the header")
	}
	frame = frame[:frameHead+n+crcSize]
	if err := r.read(frame[frameHead:], "the header"); err != nil {
		return err
	}
	body := frame[:frameHead+n]
	if binary.LittleEndian.Uint32(frame[len(body):]) != crc(body) {
		return r.corrupt("checksum of the header")
	}
	_, _ = r.digest.Write(frame)
	return r.header.parseFields(body[frameHead:])
}

// Next returns the next section, and io.EOF behind the last one, once the footer proved the stream
// complete.
func (r *Reader) Next() (Section, error) {
	if r.err != nil {
		return Section{}, r.err
	}
	s, err := r.next()
	if err != nil {
		if err != io.EOF { //nolint:errorlint // exactly what next returns at the end
			err = fmt.Errorf("snapshots: read: %w", err)
		}
		r.err = err
	}
	return s, err
}

// Skim is Next for a caller who wants the data of some kinds only: the others are checked, and their
// Data is nil.
func (r *Reader) Skim(wanted func(kind uint8) bool) (Section, error) {
	r.wanted = wanted
	defer func() { r.wanted = nil }()
	return r.Next()
}

func (r *Reader) next() (Section, error) {
	if r.at == len(r.block) {
		if err := r.nextBlock(); err != nil {
			return Section{}, err // io.EOF too: the stream ends between sections
		}
	}
	var err error
	if r.data, err = r.take(r.data[:0], sectionHead, true); err != nil {
		return Section{}, err
	}
	s := Section{Kind: r.data[0], ID: binary.LittleEndian.Uint32(r.data[1:])}
	n := binary.LittleEndian.Uint64(r.data[5:])
	if n > MaxSection {
		return Section{}, r.corrupt("length of a section")
	}
	if r.wanted != nil && !r.wanted(s.Kind) {
		_, err = r.take(nil, int64(n), false)
	} else {
		r.data, err = r.take(r.data[:0], int64(n), true)
		s.Data = r.data
	}
	if err != nil {
		return Section{}, err
	}
	r.info.Sections++
	return s, nil
}

// take passes over n unpacked bytes, and appends them to dst if they are to be kept.
func (r *Reader) take(dst []byte, n int64, keep bool) ([]byte, error) {
	for n > 0 {
		if r.at == len(r.block) {
			err := r.nextBlock()
			if err == io.EOF { //nolint:errorlint // exactly what nextBlock returns at the end
				err = r.corrupt("footer inside a section")
			}
			if err != nil {
				return dst, err
			}
		}
		k := min(n, int64(len(r.block)-r.at))
		if keep {
			dst = append(dst, r.block[r.at:r.at+int(k)]...)
		}
		r.at += int(k)
		n -= k
	}
	return dst, nil
}

// nextBlock unpacks the next block, or checks the footer and returns io.EOF.
func (r *Reader) nextBlock() error {
	head := r.grow(frameHead)
	if err := r.read(head, "a frame"); err != nil {
		return err
	}
	if head[0] == kindFooter {
		return r.footer(head)
	}
	if binary.LittleEndian.Uint32(head[frameHead-crcSize:]) != crc(head[:frameHead-crcSize]) {
		return r.corrupt("checksum of a block's head")
	}
	codec, raw, n := head[1], binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[8:])
	if head[0] != kindBlock || codec > codecZstd {
		return fmt.Errorf("%w: frame of kind %d, codec %d", ErrVersion, head[0], codec)
	}
	if raw == 0 || raw > MaxBlock || n > raw || (n == raw) != (codec == codecStored) || !zero(head[2:4]) {
		return r.corrupt("lengths of a block")
	}
	frame := r.grow(frameHead + int(n) + crcSize)
	if err := r.read(frame[frameHead:], "a block"); err != nil {
		return err
	}
	content := frame[frameHead : frameHead+n]
	if binary.LittleEndian.Uint32(frame[frameHead+n:]) != crc(content) {
		return r.corrupt("checksum of a block")
	}
	if r.digest != nil {
		_, _ = r.digest.Write(frame)
	}
	r.info.Blocks++
	r.info.Bytes += uint64(raw)
	return r.unpack(codec, content, int(raw))
}

// grow returns the frame buffer with n bytes, its beginning kept.
func (r *Reader) grow(n int) []byte {
	if cap(r.frame) < n {
		r.frame = append(make([]byte, 0, max(n, BlockSize/16)), r.frame...)
	}
	r.frame = r.frame[:n]
	return r.frame
}

func (r *Reader) unpack(codec byte, content []byte, raw int) error {
	r.at = 0
	if codec == codecStored {
		r.block = append(r.block[:0], content...)
		return nil
	}
	if cap(r.block) < raw {
		r.block = make([]byte, 0, raw)
	}
	block, err := r.zstd.DecodeAll(content, r.block[:0])
	if err != nil || len(block) != raw {
		r.block = r.block[:0]
		return r.corrupt("content of a block")
	}
	r.block = block
	return nil
}

// footer checks the footer, of which head is the beginning, and that nothing follows.
func (r *Reader) footer(head []byte) error {
	var f [footerSize]byte
	n := copy(f[:], head)
	if err := r.read(f[n:], "the footer"); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(f[64:]) != crc(f[:64]) || !zero(f[1:8]) {
		return r.corrupt("checksum of the footer")
	}
	if r.digest != nil {
		copy(r.info.Digest[:], r.digest.Sum(nil))
	} else {
		copy(r.info.Digest[:], f[32:])
	}
	if binary.LittleEndian.Uint64(f[8:]) != r.info.Sections ||
		binary.LittleEndian.Uint64(f[16:]) != r.info.Blocks ||
		binary.LittleEndian.Uint64(f[24:]) != r.info.Bytes ||
		!bytes.Equal(f[32:64], r.info.Digest[:]) {
		return r.corrupt("counts or digest of the footer")
	}
	var more [1]byte
	switch _, err := io.ReadFull(r.r, more[:]); {
	case err == nil:
		return r.corrupt("bytes behind the footer")
	case !errors.Is(err, io.EOF):
		return err
	}
	r.info.Size = r.off
	return io.EOF
}

// Inspect reads a whole stream and sums it up; an error means that it is no snapshot.
func Inspect(r io.Reader) (Info, error) {
	sr, err := NewReader(r)
	if err != nil {
		return Info{}, err
	}
	for {
		if _, err := sr.Next(); err == io.EOF { //nolint:errorlint // exactly what Next returns at the end
			return sr.info, nil
		} else if err != nil {
			return Info{}, err
		}
	}
}
