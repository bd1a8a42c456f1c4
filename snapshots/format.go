// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	streamMagic   = "KVSTREAM"
	streamVersion = 1

	// BlockSize is how many bytes a Writer packs into a block.
	BlockSize = 64 << 10
	// MaxBlock bounds a block, packed or not, and with it what a Reader allocates at once.
	MaxBlock = 1 << 20
	// MaxSection bounds a section's data.
	MaxSection = 16 << 30
	// MaxHeader bounds the fields of a header.
	MaxHeader = 4096

	frameHead     = 16 // of header and blocks
	sectionHead   = 13
	footerSize    = 68
	kindBlock     = 1
	kindFooter    = 2
	codecStored   = 0
	codecZstd     = 1
	crcSize       = 4
	maxFieldBytes = 1<<16 - 1
)

func crc(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

func appendCRC(dst, covered []byte) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc(covered))
}

// Header opens a stream. Zero fields are left out.
type Header struct {
	// ClusterVersion is the version of the data format that the sections follow.
	ClusterVersion uint32
	// Cluster is the cluster's id, Group the shard group's number.
	Cluster string
	Group   uint32
	// Epoch is that of the slot map the group followed.
	Epoch uint64
	// Index and Term are those of the last log entry in the state.
	Index, Term uint64
}

// The tags of a header's fields.
const (
	tagClusterVersion = 1
	tagCluster        = 2
	tagGroup          = 3
	tagEpoch          = 4
	tagIndex          = 5
	tagTerm           = 6
)

func (h *Header) append(dst []byte) ([]byte, error) {
	if len(h.Cluster) > maxFieldBytes {
		return nil, fmt.Errorf("cluster id of %d bytes: %w", len(h.Cluster), ErrTooLarge)
	}
	start := len(dst)
	dst = append(dst, streamMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, streamVersion)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	dst = appendField32(dst, tagClusterVersion, h.ClusterVersion)
	if h.Cluster != "" {
		dst = append(dst, tagCluster)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(h.Cluster)))
		dst = append(dst, h.Cluster...)
	}
	dst = appendField32(dst, tagGroup, h.Group)
	dst = appendField64(dst, tagEpoch, h.Epoch)
	dst = appendField64(dst, tagIndex, h.Index)
	dst = appendField64(dst, tagTerm, h.Term)
	n := len(dst) - start - frameHead
	if n > MaxHeader {
		return nil, fmt.Errorf("header of %d bytes: %w", n, ErrTooLarge)
	}
	binary.LittleEndian.PutUint32(dst[start+12:], uint32(n))
	return appendCRC(dst, dst[start:]), nil
}

func appendField32(dst []byte, tag byte, v uint32) []byte {
	if v == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint32(append(dst, tag, 4, 0), v)
}

func appendField64(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(append(dst, tag, 8, 0), v)
}

// parseFields reads what append wrote between frame head and checksum.
func (h *Header) parseFields(p []byte) error {
	last := byte(0)
	for len(p) > 0 {
		if len(p) < 3 {
			return fmt.Errorf("%w: header field cut off", ErrCorrupt)
		}
		tag, n := p[0], int(binary.LittleEndian.Uint16(p[1:]))
		if p = p[3:]; n > len(p) || tag <= last {
			return fmt.Errorf("%w: header field %d", ErrCorrupt, tag)
		}
		if err := h.setField(tag, p[:n]); err != nil {
			return err
		}
		p, last = p[n:], tag
	}
	return nil
}

func (h *Header) setField(tag byte, v []byte) error {
	width := 8
	switch tag {
	case tagCluster:
		h.Cluster, width = string(v), len(v)
	case tagClusterVersion, tagGroup:
		width = 4
	case tagEpoch, tagIndex, tagTerm:
	default:
		return fmt.Errorf("%w: header field %d", ErrVersion, tag)
	}
	if len(v) != width || width == 0 || tag != tagCluster && zero(v) {
		return fmt.Errorf("%w: header field %d has %d bytes", ErrCorrupt, tag, len(v))
	}
	switch tag {
	case tagClusterVersion:
		h.ClusterVersion = binary.LittleEndian.Uint32(v)
	case tagGroup:
		h.Group = binary.LittleEndian.Uint32(v)
	case tagEpoch:
		h.Epoch = binary.LittleEndian.Uint64(v)
	case tagIndex:
		h.Index = binary.LittleEndian.Uint64(v)
	case tagTerm:
		h.Term = binary.LittleEndian.Uint64(v)
	}
	return nil
}
