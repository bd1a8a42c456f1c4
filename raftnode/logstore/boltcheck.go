// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/kvorum/kvorum/internal/host"
)

// Format of a bbolt file, version 2: pages of one size, numbered from 0; a page may run on over the
// overflow pages behind it. Numbers are in the byte order of the machine.
//
//	page: id u64 | flags u16 | count u16 | overflow u32 | count elements | keys and values, closely packed
//	branch element: position u32, from the element | key size u32 | page u64
//	leaf element: flags u32 (1 = a bucket) | position u32 | key size u32 | value size u32
//	bucket: root page u64 | sequence u64 | if the root is 0, its one leaf, with the header of a page
//	meta, in pages 0 and 1 behind the header: magic u32 | version u32 | page size u32 | flags u32 |
//	root bucket | freelist u64 | pages u64 | transaction u64 | fnv-1a u64 over all before
//
// Pages have no checksum, and bbolt believes them: a bad one ends in a panic, on a goroutine of its own
// while it opens, in a fault, in recursion without end, or in a log that is short. So every page in use
// is looked at here before bbolt sees the file; what entries hold is covered by a checksum of their own.
const (
	boltMagic      = 0xed0cdaed
	boltVersion    = 2
	boltPageHeader = 16
	boltElement    = 16
	boltBucket     = 16
	boltMeta       = 64
	boltBranch     = 1
	boltLeaf       = 2
	boltMetaArea   = 128 << 10 // holds both meta pages whatever the size of a page
	boltMaxDepth   = 64
	boltLogs       = "logs"
	boltConf       = "conf"
)

var (
	errBoltMeta = errors.New("neither meta page is readable")
	errBoltRead = errors.New("read") // an error of the disk, not of what it holds
)

// boltFile is a bbolt file being checked.
type boltFile struct {
	f        host.File
	size     int64
	pageSize int64
	pages    uint64 // how many pages the file counts
	root     uint64
	used     map[uint64]bool
}

// boltBounds are the entries a file holds; 0, 0 = none.
type boltBounds struct{ first, last uint64 }

// checkBolt looks at every page that is in use.
func checkBolt(f host.File) (b boltBounds, err error) {
	t := &boltFile{f: f, used: make(map[uint64]bool)}
	if t.size, err = f.Size(); err != nil {
		return b, err
	}
	if err := t.readMeta(); err != nil {
		return b, err
	}
	names := 0
	err = t.walk(t.root, nil, nil, 0, func(flags uint32, key, value []byte) error {
		names++
		switch {
		case flags != 1:
			return fmt.Errorf("%q is no bucket", key)
		case string(key) == boltLogs && names == 2:
			return t.bucket(value, b.entry)
		case string(key) == boltConf && names == 1:
			return t.bucket(value, func(flags uint32, key, _ []byte) error {
				if flags != 0 {
					return fmt.Errorf("%q is a bucket", key)
				}
				return nil
			})
		}
		return fmt.Errorf("bucket %q is in the place of another", key)
	})
	if err == nil && names != 2 {
		err = fmt.Errorf("%d buckets", names)
	}
	return b, err
}

// entry takes the next key of the log.
func (b *boltBounds) entry(flags uint32, key, _ []byte) error {
	if flags != 0 || len(key) != 8 {
		return fmt.Errorf("an entry has the key %x and the flags %d", key, flags)
	}
	i := binary.BigEndian.Uint64(key)
	if i == 0 || b.last != 0 && i != b.last+1 {
		return fmt.Errorf("entry %d follows entry %d", i, b.last)
	}
	if b.last == 0 {
		b.first = i
	}
	b.last = i
	return nil
}

// readMeta finds the meta page in force.
func (t *boltFile) readMeta() error {
	area := make([]byte, min(boltMetaArea, t.size))
	if err := t.read(area, 0); err != nil {
		return err
	}
	newest, found := uint64(0), false
	take := func(at int64) {
		if at+boltPageHeader+boltMeta > int64(len(area)) {
			return
		}
		m := area[at+boltPageHeader:][:boltMeta]
		u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56])
		if u32(m) != boltMagic || u32(m[4:]) != boltVersion || u64(m[56:]) != sum.Sum64() {
			return
		}
		if tx := u64(m[48:]); !found || tx > newest {
			newest, found = tx, true
			t.pageSize, t.root, t.pages = int64(u32(m[8:])), u64(m[16:]), u64(m[40:])
		}
	}
	take(0)
	for size := int64(1 << 10); size <= boltMetaArea/2; size *= 2 {
		if !found || size == t.pageSize {
			take(size)
		}
	}
	if !found || t.pageSize < 1<<10 || t.pageSize > boltMetaArea/2 {
		return errBoltMeta
	}
	return nil
}

// boltEach is called for each key in order; the slices are valid during the call.
type boltEach func(flags uint32, key, value []byte) error

// bucket walks the pages of a bucket.
func (t *boltFile) bucket(value []byte, each boltEach) error {
	if len(value) < boltBucket {
		return fmt.Errorf("a bucket of %d bytes", len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return t.walk(root, nil, nil, 0, each)
	}
	page := value[boltBucket:]
	if len(page) < boltPageHeader || binary.NativeEndian.Uint16(page[8:]) != boltLeaf {
		return errors.New("a bucket without a page")
	}
	return leafPage(page, nil, nil, each)
}

// walk goes through a page and what lies below it. Keys lie in [from, to); nil is no bound.
func (t *boltFile) walk(id uint64, from, to []byte, depth int, each boltEach) error {
	page, err := t.page(id)
	if err != nil {
		return err
	}
	if depth > boltMaxDepth {
		return fmt.Errorf("page %d lies too deep", id)
	}
	switch flags := binary.NativeEndian.Uint16(page[8:]); flags {
	case boltLeaf:
		err = leafPage(page, from, to, each)
	case boltBranch:
		err = t.branchPage(page, from, to, depth, each)
	default:
		err = fmt.Errorf("flags %#x", flags)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// page reads a page that was not met before, with its overflow.
func (t *boltFile) page(id uint64) ([]byte, error) {
	if id < 2 || id >= t.pages || int64(id+1) > t.size/t.pageSize {
		return nil, fmt.Errorf("page %d is not in the file of %d bytes and %d pages", id, t.size, t.pages)
	}
	at := int64(id) * t.pageSize
	var head [boltPageHeader]byte
	if err := t.read(head[:], at); err != nil {
		return nil, err
	}
	over := uint64(binary.NativeEndian.Uint32(head[12:]))
	if got := binary.NativeEndian.Uint64(head[:]); got != id || id+over >= t.pages || int64(id+over+1) > t.size/t.pageSize {
		return nil, fmt.Errorf("page %d calls itself page %d and has %d pages behind it", id, got, over)
	}
	for i := id; i <= id+over; i++ {
		if t.used[i] {
			return nil, fmt.Errorf("page %d is in use twice", i)
		}
		t.used[i] = true
	}
	page := make([]byte, int64(over+1)*t.pageSize)
	return page, t.read(page, at)
}

func (t *boltFile) read(b []byte, at int64) error {
	if _, err := io.ReadFull(io.NewSectionReader(t.f, at, int64(len(b))), b); err != nil {
		return fmt.Errorf("%w %d bytes at %d: %w", errBoltRead, len(b), at, err)
	}
	return nil
}

// packed walks the elements of a page, whose keys and values follow each other without a gap: so a
// wrong count or size shows. sizes tells where an element's position stands and the sizes of its parts.
func packed(page []byte, sizes func(e []byte) (pos, key, value uint32), each func(e, key, value []byte) error) error {
	n := int(binary.NativeEndian.Uint16(page[10:]))
	end := int64(boltPageHeader + n*boltElement)
	if end > int64(len(page)) {
		return fmt.Errorf("%d elements", n)
	}
	for i := range n {
		at := boltPageHeader + i*boltElement
		e := page[at:][:boltElement]
		pos, k, v := sizes(e)
		if int64(at)+int64(pos) != end || end+int64(k)+int64(v) > int64(len(page)) || k == 0 {
			return fmt.Errorf("element %d of %d is not in its place", i, n)
		}
		key := page[end:][:k]
		value := page[end+int64(k):][:v]
		if err := each(e, key, value); err != nil {
			return err
		}
		end += int64(k) + int64(v)
	}
	return nil
}

func leafPage(page, from, to []byte, each boltEach) error {
	u32 := binary.NativeEndian.Uint32
	var last []byte
	return packed(page, func(e []byte) (pos, key, value uint32) { return u32(e[4:]), u32(e[8:]), u32(e[12:]) },
		func(e, key, value []byte) error {
			if err := inOrder(last, key, from, to); err != nil {
				return err
			}
			last = key
			return each(u32(e), key, value)
		})
}

func inOrder(last, key, from, to []byte) error {
	if last != nil && bytes.Compare(key, last) <= 0 || bytes.Compare(key, from) < 0 || to != nil && bytes.Compare(key, to) >= 0 {
		return fmt.Errorf("key %x is out of order", key)
	}
	return nil
}

func (t *boltFile) branchPage(page, from, to []byte, depth int, each boltEach) error {
	u32 := binary.NativeEndian.Uint32
	type child struct {
		id  uint64
		key []byte
	}
	var children []child
	var last []byte
	err := packed(page, func(e []byte) (pos, key, value uint32) { return u32(e), u32(e[4:]), 0 },
		func(e, key, _ []byte) error {
			children = append(children, child{binary.NativeEndian.Uint64(e[8:]), key})
			err := inOrder(last, key, from, to)
			last = key
			return err
		})
	if err != nil {
		return err
	}
	if len(children) == 0 {
		return errors.New("a branch without leaves")
	}
	for i, c := range children {
		end := to
		if i+1 < len(children) {
			end = children[i+1].key
		}
		if err := t.walk(c.id, c.key, end, depth+1, each); err != nil {
			return err
		}
	}
	return nil
}
