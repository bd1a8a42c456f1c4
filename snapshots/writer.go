// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// leastGain is the part of a block by which compression must shrink it: a fifth.
	leastGain = 5
	// maxSkip bounds the blocks that are stored untried, 2 MiB of them.
	maxSkip = 31
)

// Writer writes a stream. Its memory is two blocks and the compressor's, whatever it writes.
type Writer struct {
	w        io.Writer
	zstd     *zstd.Encoder
	digest   hash.Hash // of all bytes before the footer
	raw      []byte    // the block being filled
	frame    []byte    // scratch
	sections uint64
	blocks   uint64
	bytes    uint64 // unpacked
	// skip is how many blocks are stored next without an attempt to compress them; skipNext grows with
	// each attempt in a row that did not pay.
	skip, skipNext int
	// err is the first error, or ErrFinished after Close.
	err error
}

// NewWriter begins a stream on w with its header. Writes to w are whole frames.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	head, err := h.append(nil)
	if err != nil {
		return nil, fmt.Errorf("snapshots: header: %w", err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(BlockSize), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("snapshots: compressor: %w", err)
	}
	sw := &Writer{w: w, zstd: enc, digest: sha256.New(), raw: make([]byte, 0, BlockSize)}
	if sw.put(head); sw.err != nil {
		return nil, sw.err
	}
	return sw, nil
}

// put writes bytes that the digest covers.
func (w *Writer) put(p []byte) {
	if w.err != nil {
		return
	}
	_, _ = w.digest.Write(p)
	if _, err := w.w.Write(p); err != nil {
		w.err = fmt.Errorf("snapshots: write: %w", err)
	}
}

// Section appends one section; data is not kept. After an error the stream is lost and every later
// call returns that error.
func (w *Writer) Section(kind uint8, id uint32, data []byte) error {
	if w.err != nil {
		return w.err
	}
	if uint64(len(data)) > MaxSection {
		return fmt.Errorf("snapshots: section of %d bytes: %w", len(data), ErrTooLarge)
	}
	var head [sectionHead]byte
	head[0] = kind
	binary.LittleEndian.PutUint32(head[1:], id)
	binary.LittleEndian.PutUint64(head[5:], uint64(len(data)))
	w.sections++
	w.fill(head[:])
	w.fill(data)
	return w.err
}

func (w *Writer) fill(p []byte) {
	for len(p) > 0 && w.err == nil {
		n := min(len(p), BlockSize-len(w.raw))
		w.raw = append(w.raw, p[:n]...)
		p = p[n:]
		if len(w.raw) == BlockSize {
			w.flush()
		}
	}
}

// flush writes the block being filled.
func (w *Writer) flush() {
	if len(w.raw) == 0 {
		return
	}
	const head = frameHead
	w.frame = append(w.frame[:0], make([]byte, head)...)
	codec := byte(codecZstd)
	if !w.pack(head) {
		codec = codecStored
		w.frame = append(w.frame[:head], w.raw...)
	}
	f := w.frame
	f[0], f[1] = kindBlock, codec
	binary.LittleEndian.PutUint32(f[4:], uint32(len(w.raw)))
	binary.LittleEndian.PutUint32(f[8:], uint32(len(f)-head))
	binary.LittleEndian.PutUint32(f[head-crcSize:], crc(f[:head-crcSize]))
	w.frame = appendCRC(f, f[head:])
	w.put(w.frame)
	w.blocks++
	w.bytes += uint64(len(w.raw))
	w.raw = w.raw[:0]
}

// pack appends the block being filled to the frame, compressed, and tells whether that is worth its while.
// Where it is not, the blocks that follow are likely to be the same: they are not even tried, twice as many each time.
func (w *Writer) pack(head int) bool {
	if w.skip > 0 {
		w.skip--
		return false
	}
	w.frame = w.zstd.EncodeAll(w.raw, w.frame)
	saved := len(w.raw) - (len(w.frame) - head)
	if saved >= len(w.raw)/leastGain {
		w.skipNext = 0
		return true
	}
	w.skipNext = min(2*w.skipNext+1, maxSkip)
	w.skip = w.skipNext
	return false
}

// Close writes the footer, without which the stream is no snapshot. It does not close the writer
// beneath.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.flush()
	if w.err != nil {
		return w.err
	}
	f := append(w.frame[:0], kindFooter, 0, 0, 0, 0, 0, 0, 0)
	f = binary.LittleEndian.AppendUint64(f, w.sections)
	f = binary.LittleEndian.AppendUint64(f, w.blocks)
	f = binary.LittleEndian.AppendUint64(f, w.bytes)
	f = w.digest.Sum(f)
	f = appendCRC(f, f)
	if w.put(f); w.err != nil {
		return w.err
	}
	w.err = fmt.Errorf("snapshots: write: %w", ErrFinished)
	return nil
}
