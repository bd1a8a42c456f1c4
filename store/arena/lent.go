// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"sync"
	"unsafe"
)

// lent is what an arena has from its Memory. It is an object of its own so that it outlives the arena: what
// a dropped arena still had goes back when the garbage collector finds that nobody can reach it, and so no
// reader holds its bytes.
type lent struct {
	mem Memory

	mu     sync.Mutex
	pieces map[*byte][]byte
}

func (l *lent) Alloc(size int) []byte {
	p := l.mem.Alloc(size)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pieces[unsafe.SliceData(p)] = p
	return p
}

func (l *lent) Free(p []byte) {
	l.mu.Lock()
	delete(l.pieces, unsafe.SliceData(p))
	l.mu.Unlock()
	l.mem.Free(p)
}

// giveBack is called once nobody uses the arena any more.
func (l *lent) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pieces {
		l.mem.Free(p)
	}
	clear(l.pieces)
}
