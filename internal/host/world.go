// SPDX-License-Identifier: Apache-2.0

package host

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// World is a set of in-memory nodes on one network. Made inside a testing/synctest bubble it runs
// in the bubble's time, and every wait in it is durably blocking; it must not cross the border of
// a bubble. It owns no goroutine: Close ends every wait of others in it.
type World struct {
	seed uint64
	net  *memNet

	mu    sync.Mutex
	nodes map[string]*worldNode
}

// worldNode is what outlives the process of a node.
type worldNode struct {
	fs     *MemFS
	wall   *memWall
	faults *Faults
	lives  uint64
	host   *Host // of the present life, nil after a crash
}

// NewWorld makes an empty world; the seed drives every choice in it.
func NewWorld(seed uint64) *World {
	return &World{seed: seed, net: newMemNet(seed), nodes: make(map[string]*worldNode)}
}

// Host is the node of that name, made on first use. After Crash it is a new process over the
// files that survived. Every other node reaches it by "name:port".
func (w *World) Host(name string) *Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.node(name)
	if n.host == nil {
		n.lives++
		n.host = &Host{
			FS:     n.fs.FS(),
			Net:    w.net.live(name),
			Wall:   n.wall,
			Rand:   newMemRand(w.seedOf(name) + n.lives),
			Faults: n.faults,
		}
	}
	return n.host
}

// node needs mu.
func (w *World) node(name string) *worldNode {
	n := w.nodes[name]
	if n == nil {
		n = &worldNode{fs: NewMemFS(w.seedOf(name)), wall: &memWall{since: time.Now()}, faults: new(Faults)}
		w.nodes[name] = n
	}
	return n
}

// seedOf mixes the name into the world's seed (FNV-1a).
func (w *World) seedOf(name string) uint64 {
	h := uint64(14695981039346656037) ^ w.seed
	for _, b := range []byte(name) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// FS is the disk of a node.
func (w *World) FS(name string) *MemFS {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node(name).fs
}

// Faults is the fault table of a node; it outlives crashes.
func (w *World) Faults(name string) *Faults {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node(name).faults
}

// Crash ends the process of a node: its connections, listeners, locks and handles are gone, and
// its disk keeps what the policy leaves (none given: exactly what was synced).
func (w *World) Crash(name string, policy ...CrashPolicy) {
	var p CrashPolicy
	if len(policy) > 0 {
		p = policy[0]
	}
	w.mu.Lock()
	n := w.node(name)
	n.host = nil
	w.mu.Unlock()
	w.net.crash(name, p.Silent)
	n.fs.Crash(p)
}

// Close ends the world: every handle, connection and wait in it fails. The disks keep what was
// written.
func (w *World) Close() {
	w.mu.Lock()
	names := make([]string, 0, len(w.nodes))
	for name := range w.nodes {
		names = append(names, name)
	}
	w.mu.Unlock()
	w.net.mu.Lock()
	w.net.closed = true
	w.net.mu.Unlock()
	for _, name := range names {
		w.Crash(name, CrashPolicy{ProcessOnly: true})
	}
}

// Cut stops the directed path: bytes, ends and resets on it are held back, and dials that need it
// wait, until Heal.
func (w *World) Cut(from, to string) { w.net.edit(from, to, func(l *link) { l.cut = true }) }

// Stall is a Cut that lets dials through: the far end accepts and stays mute.
func (w *World) Stall(from, to string) { w.net.edit(from, to, func(l *link) { l.stalled = true }) }

// Heal undoes Cut and Stall of the directed path; delays stay.
func (w *World) Heal(from, to string) {
	w.net.edit(from, to, func(l *link) { l.cut, l.stalled = false, false })
}

// HealAll heals every path.
func (w *World) HealAll() {
	for _, ends := range w.net.allLinks() {
		w.Heal(ends[0], ends[1])
	}
}

// Isolate cuts a node off from the others, in both directions.
func (w *World) Isolate(name string, others ...string) {
	for _, other := range others {
		w.Cut(name, other)
		w.Cut(other, name)
	}
}

// SetDelay makes every packet of the directed path take base plus up to jitter. Order is kept.
func (w *World) SetDelay(from, to string, base, jitter time.Duration) {
	w.net.edit(from, to, func(l *link) { l.base, l.jitter = base, jitter })
}

// ResetConns breaks every connection that from dialled to to, at both ends at once.
func (w *World) ResetConns(from, to string) { w.net.reset(from, to) }

// SetWallOffset steps a node's time of day to d from the true time as it runs on from now.
func (w *World) SetWallOffset(name string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.node(name).wall.step(d)
}

// SetWallRate lets a node's time of day run faster by ppm millionths from now on.
func (w *World) SetWallRate(name string, ppm int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.node(name).wall.drift(ppm)
}

// memWall is a time of day with a fault: true time + offset + rate * (true time - since).
type memWall struct {
	mu     sync.Mutex
	since  time.Time
	offset time.Duration
	ppm    int64
}

func (w *memWall) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	return now.Add(w.faultAt(now)).Round(0)
}

func (w *memWall) faultAt(now time.Time) time.Duration {
	return w.offset + time.Duration(float64(now.Sub(w.since))*float64(w.ppm)/1e6)
}

func (w *memWall) step(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.offset = time.Now(), d
}

func (w *memWall) drift(ppm int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.offset, w.since, w.ppm = w.faultAt(now), now, ppm
}

// memRand is a seeded stream that may be read from several goroutines.
type memRand struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

func newMemRand(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return &memRand{rng: rand.NewChaCha8(key)}
}

func (r *memRand) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.Read(p)
}
