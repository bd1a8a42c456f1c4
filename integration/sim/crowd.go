// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/history"
	"github.com/kvorum/kvorum/store"
)

const (
	// crowdKeys is how many keys each client of the crowd writes: together several times what the limit allows.
	crowdKeys = 250
	crowdLife = 10 * time.Minute // beyond the run: under volatile policies a key needs a deadline
	// freshTime is how long a key that was written must stay under LRU. The others are seconds old on average, and a
	// victim is the oldest of sixteen.
	freshTime = 150 * time.Millisecond
)

// crowdCount is what the crowd did and saw.
type crowdCount struct {
	// Bytes of acknowledged values.
	Bytes uint64
	// Fresh counts the keys read just after they were written, Evicted those that were missed later, Refused
	// the writes answered with OOM.
	Fresh, Evicted, Refused int
}

// inCrowd tells whether a client belongs to the crowd. Where any key may be evicted, nobody else's values can be
// relied on but those that die anyway.
func (l *load) inCrowd(client int) bool {
	switch {
	case l.opt.MaxMemory == 0:
		return false
	case l.opt.Policy.Volatile(), l.opt.Policy == store.NoEviction:
		return client < kinds
	}
	return client%kinds != 2
}

// crowd is a client that fills memory with keys of its own, "e" keys, which nobody else writes. It knows what
// each must hold, unless it was evicted.
type crowd struct {
	l      *load
	rng    *rand.Rand
	self   int // the client's number, another one after each unknown outcome
	prefix string
	// value is what was acknowledged last, "" nothing; a key of unknown outcome has none. order has the keys with
	// a value, those touched last behind.
	value map[string]string
	order []string
}

func newCrowd(l *load, id int, rng *rand.Rand) *crowd {
	return &crowd{l: l, rng: rng, self: id, prefix: fmt.Sprintf("e%d.", id), value: map[string]string{}}
}

func (w *crowd) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(1+w.rng.IntN(30))*time.Millisecond)
		switch n := w.rng.IntN(8); {
		case n < 4:
			w.write(ctx, w.prefix+strconv.Itoa(w.rng.IntN(crowdKeys)))
		case len(w.order) == 0:
		case n < 6:
			w.write(ctx, w.old())
		case n == 6 && w.l.opt.Policy == store.NoEviction:
			w.remove(ctx, w.old())
		default:
			w.read(ctx, w.order[w.rng.IntN(len(w.order))], 0)
		}
	}
}

// old picks a key that is about to be evicted, if the client's share of the memory is what it should be.
func (w *crowd) old() string {
	share := int(w.l.opt.MaxMemory) / crowdEntry / max(1, w.l.crowdClients())
	at := len(w.order) - share*7/10 - w.rng.IntN(share*6/10)
	return w.order[max(0, at)]
}

// crowdEntry is the mean size of an entry of the crowd in logical bytes, roughly.
const crowdEntry = 700

func (l *load) crowdClients() (n int) {
	for i := range kinds * l.opt.Clients {
		if l.inCrowd(i) {
			n++
		}
	}
	return n
}

// do sends one operation and keeps the books.
func (w *crowd) do(ctx context.Context, op *history.Op) {
	op.Client = w.self
	w.l.execute(ctx, w.l.c.nodes[w.rng.IntN(len(w.l.c.nodes))], op)
	op.Arg, _, _ = strings.Cut(op.Arg, padding)
	op.Value, _, _ = strings.Cut(op.Value, padding)
	w.l.done(op)
	if op.Out == history.Unknown {
		w.self += kinds * w.l.opt.Clients
	}
}

// padding makes values large; histories go without it.
const padding = "_"

// know notes what a key must hold, "" for what nobody can say.
func (w *crowd) know(key, value string) {
	for i := range w.order {
		if w.order[i] == key {
			w.order = append(w.order[:i], w.order[i+1:]...)
			break
		}
	}
	if w.value[key] = value; value != "" {
		w.order = append(w.order, key)
	}
}

func (w *crowd) write(ctx context.Context, key string) {
	value := fmt.Sprintf("%s:%d", key, w.rng.Uint32())
	size := 100 + w.rng.IntN(1000)
	op := history.Op{Key: key, Func: history.Write, Arg: value + strings.Repeat(padding, size)}
	if w.l.opt.Policy.Volatile() {
		op.Func, op.Len = history.Expire, crowdLife.Milliseconds()
	}
	w.do(ctx, &op)
	switch {
	case op.Err == fsm.TextOOM:
		w.refused()
	case op.Out == history.Unknown:
		w.know(key, "")
	case op.Out == history.OK:
		w.know(key, value)
		w.l.mu.Lock()
		w.l.crowded.Bytes += uint64(size)
		w.l.mu.Unlock()
		w.read(ctx, key, op.Call)
	}
}

func (w *crowd) refused() {
	w.l.mu.Lock()
	w.l.crowded.Refused++
	w.l.mu.Unlock()
	if w.l.opt.Policy != store.NoEviction {
		w.l.c.fatal(fmt.Errorf("sim: a write was refused for want of memory under %s", w.l.opt.Policy))
	}
}

// read looks at a key with a value. written is when the write of the value began, if that was just now.
func (w *crowd) read(ctx context.Context, key string, written int64) {
	op := history.Op{Key: key, Func: history.Read}
	w.do(ctx, &op)
	age := time.Duration(op.Return - written)
	if op.Out == history.OK && written > 0 && age < freshTime {
		w.l.mu.Lock()
		w.l.crowded.Fresh++
		w.l.mu.Unlock()
	}
	want := w.value[key]
	if op.Out != history.OK || op.Value == want && op.Found {
		return
	}
	p := w.l.opt.Policy
	switch {
	case op.Found:
		w.l.c.fatal(fmt.Errorf("sim: %s holds %q, its only writer was told of %q", key, op.Value, want))
	case p == store.NoEviction:
		w.l.c.fatal(fmt.Errorf("sim: %s is gone under noeviction", key))
	case written > 0 && age < freshTime && w.lru():
		w.l.c.fatal(fmt.Errorf("sim: %s was gone %v after it was written, under %s", key, age, p))
	}
	w.know(key, "")
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.crowded.Evicted++
}

// lru tells whether what was used last stays longest, as clients see it.
func (w *crowd) lru() bool {
	p := w.l.opt.Policy
	return (p == store.AllKeysLRU || p == store.VolatileLRU) && !w.l.opt.Faults.Clock
}

func (w *crowd) remove(ctx context.Context, key string) {
	op := history.Op{Key: key, Func: history.Delete}
	w.do(ctx, &op)
	if op.Out == history.OK && !op.Found {
		w.l.c.fatal(fmt.Errorf("sim: %s was gone under noeviction", key))
	}
	if op.Out != history.Fail {
		w.know(key, "")
	}
}

// makeRoom removes the crowd from a cluster that is full, and stays so by itself.
func (l *load) makeRoom(ctx context.Context) error {
	if l.opt.MaxMemory == 0 || l.opt.Policy != store.NoEviction {
		return nil
	}
	if err := l.withinLimit(ctx); err != nil {
		return err
	}
	for key := range history.ByKey(l.rec.Ops()) {
		if key[0] != 'e' {
			continue
		}
		op := history.Op{Key: key, Func: history.Delete}
		if l.execute(ctx, l.c.nodes[0], &op); op.Out != history.OK {
			return fmt.Errorf("sim: remove %s: %s", key, op.Err)
		}
	}
	return nil
}
