// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// defaultCapacity is what Free reports the whole of when no quota is set.
const defaultCapacity = 1 << 40

// ErrCrashed is returned by every handle of a node that was crashed: its process is gone.
var ErrCrashed = fmt.Errorf("host: node crashed: %w", os.ErrClosed)

// CrashPolicy says what a crash leaves. The zero value is the strictest disk: exactly what was
// synced.
type CrashPolicy struct {
	// Survive is the chance of every un-synced sector and size to reach the disk, and of every
	// un-synced change of names after all earlier ones did: 0 loses the whole cache, 1 nothing.
	Survive float64
	// ProcessOnly ends the process and leaves the machine running: all is seen as it was, and what
	// was not synced still is not, so that a later power cut may take it. Survive does not count.
	ProcessOnly bool
	// Silent leaves the far ends of connections without a word, as a power cut does; otherwise
	// they are reset.
	Silent bool
}

// MemFS is the disk of one in-memory node: it outlives crashes. FS gives the view of the living
// process; the methods of MemFS itself are the levers of a test.
type MemFS struct {
	mu      sync.Mutex
	rng     *rand.Rand
	root    *inode
	pending []nameOp // changes of names not yet durable, oldest first
	locks   map[string]*memLock
	kvs     map[string]bool // key-value files open now
	used    int64
	quota   int64         // bytes, 0 = none
	delay   time.Duration // of each sync
	syncErr []error       // failures waiting for the next syncs, in order
	syncs   uint64
	onStep  func(op, name string) error
	gen     *generation
}

// generation is one life of the node's process.
type generation struct {
	dead chan struct{} // closed by the crash
	wake chan struct{} // closed and replaced when the sync delay changes; guarded by MemFS.mu
}

// nameOp is one atomic change of names: a rename edits two.
type nameOp []nameEdit

type nameEdit struct {
	dir  *inode
	name string
	to   *inode // nil = the name goes
}

// NewMemFS makes an empty disk. The seed drives what survives a crash.
func NewMemFS(seed uint64) *MemFS {
	return &MemFS{
		rng:   rand.New(rand.NewPCG(seed, 0x6b766f72756d)),
		root:  newDir(),
		locks: make(map[string]*memLock),
		kvs:   make(map[string]bool),
		gen:   newGeneration(),
	}
}

func newGeneration() *generation {
	return &generation{dead: make(chan struct{}), wake: make(chan struct{})}
}

func newDir() *inode {
	return &inode{isDir: true, cur: make(map[string]*inode), dur: make(map[string]*inode)}
}

// FS is the file system of the process that lives now; Crash ends it.
func (m *MemFS) FS() FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memView{m: m, gen: m.gen}
}

// SetQuota limits the bytes the disk holds; writes beyond it fail with ENOSPC. 0 lifts the limit.
func (m *MemFS) SetQuota(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quota = bytes
}

// Used is how many bytes count against the quota.
func (m *MemFS) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// FailNextSync makes the next sync of a file or folder fail with err. As on Linux the bytes it was
// for count as clean afterwards and never become durable. Several calls queue up.
func (m *MemFS) FailNextSync(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncErr = append(m.syncErr, err)
}

// SetSyncDelay makes every sync take d, those under way included; a crash ends them at once.
func (m *MemFS) SetSyncDelay(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = d
	close(m.gen.wake)
	m.gen.wake = make(chan struct{})
}

// OnStep calls f before every step that changes names or bytes or makes them durable: "create",
// "rename", "remove", "mkdir", "write", "truncate", "preallocate", "sync", "syncdir" with the name it is for. An
// error of f is the error of the step, which is then not taken; f may crash the disk. nil ends it.
func (m *MemFS) OnStep(f func(op, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onStep = f
}

// step runs the hook; needs no lock.
func (m *MemFS) step(op, name string) error {
	m.mu.Lock()
	f := m.onStep
	m.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f(op, name); err != nil {
		return pathError(op, name, err)
	}
	return nil
}

// Syncs counts syncs of files and folders that were asked for since the disk was made.
func (m *MemFS) Syncs() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncs
}

// Edit replaces the content of a file, durably and past every handle: damage to the medium. The
// slice given to f is a copy of the content as seen now.
func (m *MemFS) Edit(name string, f func(content []byte) []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("edit", name)
	if err != nil {
		return err
	}
	if n.isDir {
		return pathError("edit", name, syscall.EISDIR)
	}
	content := make([]byte, n.size)
	n.readAt(content, 0)
	content = f(content)
	n.truncate(0, m.give)
	n.writeAt(content, 0, func(b int64) bool { m.used += b; return true })
	n.sync()
	return nil
}

// Crash ends the process on this disk: its handles fail, its locks go, and only what the policy
// leaves remains.
func (m *MemFS) Crash(p CrashPolicy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.gen.dead)
	m.gen = newGeneration()
	clear(m.locks)
	clear(m.kvs)
	m.syncErr = nil
	m.used = 0
	if p.ProcessOnly {
		m.closeAll(m.root)
		return
	}
	kept := 0
	for kept < len(m.pending) && chance(p.Survive, m.rng) {
		m.pending[kept].applyDurable()
		kept++
	}
	m.pending = nil
	m.restore(m.root, p.Survive)
}

// closeAll forgets the handles of a dead process and counts what its files hold.
func (m *MemFS) closeAll(dir *inode) {
	for _, n := range dir.cur {
		if n.isDir {
			m.closeAll(n)
			continue
		}
		n.opens = 0
		m.used += n.charged
	}
}

// restore walks in sorted order so that a seed decides the same each time.
func (m *MemFS) restore(dir *inode, survive float64) {
	dir.cur = make(map[string]*inode, len(dir.dur))
	for _, name := range sortedNames(dir.dur) {
		n := dir.dur[name]
		dir.cur[name] = n
		if n.isDir {
			m.restore(n, survive)
			continue
		}
		n.crash(survive, m.rng)
		n.links = 1
		n.charged = n.recount()
		m.used += n.charged
	}
}

func (op nameOp) applyDurable() {
	for _, e := range op {
		if e.to == nil {
			delete(e.dir.dur, e.name)
		} else {
			e.dir.dur[e.name] = e.to
		}
	}
}

func (op nameOp) touches(dirs map[*inode]bool) bool {
	return slices.ContainsFunc(op, func(e nameEdit) bool { return dirs[e.dir] })
}

// change applies an edit of names as seen and remembers it as not yet durable.
func (m *MemFS) change(op ...nameEdit) {
	for _, e := range op {
		if old := e.dir.cur[e.name]; old != nil {
			m.unlink(old)
		}
		if e.to == nil {
			delete(e.dir.cur, e.name)
			continue
		}
		e.dir.cur[e.name] = e.to
		e.to.links++
	}
	m.pending = append(m.pending, op)
}

func (m *MemFS) unlink(n *inode) {
	n.links--
	m.reclaim(n)
}

// reclaim gives back the quota of a file that has neither name nor handle. Its durable bytes stay
// known, since a crash may bring an un-synced removal back.
func (m *MemFS) reclaim(n *inode) {
	if n.links == 0 && n.opens == 0 {
		m.give(n.charged)
		n.charged = 0
	}
}

// syncNames makes the changes in one folder durable, with those in others that an atomic change
// over two folders ties to it.
func (m *MemFS) syncNames(dir *inode) {
	dirs := map[*inode]bool{dir: true}
	take := make([]bool, len(m.pending))
	for i := len(m.pending) - 1; i >= 0; i-- {
		if take[i] = m.pending[i].touches(dirs); take[i] {
			for _, e := range m.pending[i] {
				dirs[e.dir] = true
			}
		}
	}
	rest := m.pending[:0]
	for i, op := range m.pending {
		if take[i] {
			op.applyDurable()
		} else {
			rest = append(rest, op)
		}
	}
	clear(m.pending[len(rest):])
	m.pending = rest
}

func (m *MemFS) grow(bytes int64) bool {
	if m.quota > 0 && m.used+bytes > m.quota {
		return false
	}
	m.used += bytes
	return true
}

func (m *MemFS) give(bytes int64) { m.used -= bytes }

// lookup finds the inode of a name.
func (m *MemFS) lookup(op, name string) (*inode, error) {
	n := m.root
	for _, part := range split(name) {
		if !n.isDir {
			return nil, pathError(op, name, errNotDir)
		}
		if n = n.cur[part]; n == nil {
			return nil, pathError(op, name, syscall.ENOENT)
		}
	}
	return n, nil
}

// lookupDir finds the folder of a name and the name in it.
func (m *MemFS) lookupDir(op, name string) (*inode, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", pathError(op, name, syscall.EINVAL)
	}
	dir, err := m.lookup(op, path.Join(parts[:len(parts)-1]...))
	if err != nil {
		return nil, "", pathError(op, name, errors.Unwrap(err))
	}
	if !dir.isDir {
		return nil, "", pathError(op, name, errNotDir)
	}
	return dir, parts[len(parts)-1], nil
}

// split resolves a name against the root: relative names and absolute ones are the same.
func split(name string) []string {
	name = path.Clean("/" + name)
	if name == "/" {
		return nil
	}
	return strings.Split(name[1:], "/")
}

func sortedNames(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func pathError(op, name string, err error) error {
	return &os.PathError{Op: op, Path: name, Err: err}
}
