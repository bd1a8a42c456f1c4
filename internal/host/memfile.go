// SPDX-License-Identifier: Apache-2.0

package host

import (
	"math/rand/v2"
)

const (
	// pageSize is the unit in which a file's bytes are held and charged against the quota.
	pageSize = 4096
	// sectorSize is the unit in which un-synced bytes survive or vanish in a power cut.
	sectorSize = 512
	// maxFileSize bounds the page table of a file.
	maxFileSize = 16 << 30
)

// inode is a file or a folder: what programs see now beside what a power cut would leave. All of
// it is guarded by MemFS.mu.
type inode struct {
	isDir bool
	// cur and dur are a folder's names as seen and as durable.
	cur, dur map[string]*inode

	pages []*page // index = offset / pageSize, nil = zeros on both sides
	size  int64   // as seen
	dsize int64   // as durable
	dirty []int   // pages with an open dirty range
	lost  []int   // pages whose dirty bytes a failed sync threw away: seen, never durable
	// reserved is how many bytes from offset 0 are paid for by Preallocate, in whole pages.
	reserved int64
	charged  int64 // bytes this file holds of the quota
	links    int   // names that show it now
	opens    int   // open handles
}

// page holds one page of a file on both sides; a nil slice means zeros.
type page struct {
	cur, dur []byte
	lo, hi   int // dirty bytes [lo, hi); hi == 0 means clean
	lost     bool
}

func (n *inode) page(i int) *page {
	for len(n.pages) <= i {
		n.pages = append(n.pages, nil)
	}
	if n.pages[i] == nil {
		n.pages[i] = &page{}
	}
	return n.pages[i]
}

// mark widens the dirty range of a page to cover [lo, hi).
func (n *inode) mark(i, lo, hi int) {
	p := n.page(i)
	if p.hi == 0 {
		p.lo, p.hi = lo, hi
		n.dirty = append(n.dirty, i)
		return
	}
	p.lo, p.hi = min(p.lo, lo), max(p.hi, hi)
}

func (n *inode) readAt(p []byte, off int64) int {
	if off >= n.size {
		return 0
	}
	p = p[:min(int64(len(p)), n.size-off)]
	for done := 0; done < len(p); {
		i, at := int((off+int64(done))/pageSize), int((off+int64(done))%pageSize)
		part := p[done:min(len(p), done+pageSize-at)]
		if i < len(n.pages) && n.pages[i] != nil && n.pages[i].cur != nil {
			copy(part, n.pages[i].cur[at:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(p)
}

// writeAt stores as much of p as space allows; grow(bytes) takes quota and may refuse.
func (n *inode) writeAt(p []byte, off int64, grow func(int64) bool) int {
	done := 0
	for done < len(p) {
		i, at := int((off+int64(done))/pageSize), int((off+int64(done))%pageSize)
		part := p[done:min(len(p), done+pageSize-at)]
		pg := n.page(i)
		if pg.cur == nil {
			if int64(i)*pageSize >= n.reserved {
				if !grow(pageSize) {
					break
				}
				n.charged += pageSize
			}
			pg.cur = make([]byte, pageSize)
		}
		copy(pg.cur[at:], part)
		n.mark(i, at, at+len(part))
		done += len(part)
	}
	if done > 0 {
		n.size = max(n.size, off+int64(done))
	}
	return done
}

// truncate sets the size; give returns quota.
func (n *inode) truncate(size int64, give func(int64)) {
	if size < n.size {
		first := int(size / pageSize)
		for i := first; i < len(n.pages); i++ {
			pg := n.pages[i]
			if pg == nil || pg.cur == nil {
				continue
			}
			if at := int(size - int64(i)*pageSize); at > 0 {
				clear(pg.cur[at:])
				n.mark(i, at, pageSize)
				continue
			}
			if int64(i)*pageSize >= n.reserved {
				give(pageSize)
				n.charged -= pageSize
			}
			pg.cur = nil
			n.mark(i, 0, pageSize)
		}
		if keep := roundUp(size); keep < n.reserved {
			give(n.reserved - keep)
			n.charged -= n.reserved - keep
			n.reserved = keep
		}
	}
	n.size = size
}

// reserve pays for the first size bytes; nothing changes when grow refuses.
func (n *inode) reserve(size int64, grow func(int64) bool) bool {
	want := roundUp(size)
	if want <= n.reserved {
		return true
	}
	need := want - n.reserved
	for i := int(n.reserved / pageSize); i < len(n.pages) && int64(i)*pageSize < want; i++ {
		if n.pages[i] != nil && n.pages[i].cur != nil {
			need -= pageSize
		}
	}
	if !grow(need) {
		return false
	}
	n.charged += need
	n.reserved = want
	return true
}

// sync makes the dirty ranges and the size durable.
func (n *inode) sync() {
	for _, i := range n.dirty {
		n.persist(i, n.pages[i].lo, n.pages[i].hi)
		n.pages[i].lo, n.pages[i].hi = 0, 0
	}
	n.dirty = n.dirty[:0]
	n.dsize = n.size
}

// persist copies bytes [lo, hi) of a page from the seen to the durable side.
func (n *inode) persist(i, lo, hi int) {
	pg := n.pages[i]
	if pg.cur == nil {
		if lo == 0 && hi == pageSize {
			pg.dur = nil
		} else if pg.dur != nil {
			clear(pg.dur[lo:hi])
		}
		return
	}
	if pg.dur == nil {
		pg.dur = make([]byte, pageSize)
	}
	copy(pg.dur[lo:hi], pg.cur[lo:hi])
}

// loseDirty is what a failed fsync does on Linux: the pages count as clean, are still seen, and
// never reach the disk.
func (n *inode) loseDirty() {
	for _, i := range n.dirty {
		n.pages[i].lo, n.pages[i].hi = 0, 0
		if !n.pages[i].lost {
			n.pages[i].lost = true
			n.lost = append(n.lost, i)
		}
	}
	n.dirty = n.dirty[:0]
}

// crash makes the seen side equal to the durable one, after each un-synced sector and the
// un-synced size had their chance to survive.
func (n *inode) crash(survive float64, rng *rand.Rand) {
	for _, i := range n.dirty {
		pg := n.pages[i]
		for s := pg.lo / sectorSize * sectorSize; s < pg.hi; s += sectorSize {
			if chance(survive, rng) {
				n.persist(i, max(s, pg.lo), min(s+sectorSize, pg.hi))
			}
		}
		pg.lo, pg.hi = 0, 0
		n.revert(i)
	}
	for _, i := range n.lost {
		n.pages[i].lost = false
		n.revert(i)
	}
	n.dirty, n.lost = nil, nil
	if n.size != n.dsize && chance(survive, rng) {
		n.dsize = n.size
	}
	n.dropBeyond(n.dsize)
	n.size, n.opens = n.dsize, 0
	n.reserved = min(n.reserved, roundUp(n.size))
}

func (n *inode) revert(i int) {
	pg := n.pages[i]
	if pg.dur == nil {
		pg.cur = nil
		return
	}
	if pg.cur == nil {
		pg.cur = make([]byte, pageSize)
	}
	copy(pg.cur, pg.dur)
}

// dropBeyond zeroes both sides beyond size, as a file system does when it cuts a file.
func (n *inode) dropBeyond(size int64) {
	for i := int(size / pageSize); i < len(n.pages); i++ {
		pg := n.pages[i]
		if pg == nil {
			continue
		}
		if at := int(size - int64(i)*pageSize); at > 0 {
			if pg.cur != nil {
				clear(pg.cur[at:])
			}
			if pg.dur != nil {
				clear(pg.dur[at:])
			}
			continue
		}
		n.pages[i] = nil
	}
}

// recount is the quota this file holds, computed from scratch.
func (n *inode) recount() int64 {
	total := n.reserved
	for i := int(n.reserved / pageSize); i < len(n.pages); i++ {
		if n.pages[i] != nil && n.pages[i].cur != nil {
			total += pageSize
		}
	}
	return total
}

func roundUp(n int64) int64 { return (n + pageSize - 1) / pageSize * pageSize }

// chance draws a coin; the sure cases draw nothing.
func chance(p float64, rng *rand.Rand) bool {
	switch {
	case p <= 0:
		return false
	case p >= 1:
		return true
	}
	return rng.Float64() < p
}
