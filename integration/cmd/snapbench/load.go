// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client"
)

const (
	// burst bounds the writes that a connection sends at once when it is behind.
	burst = 256
	// warmTime of load is measured by nobody.
	warmTime = 3 * time.Second
	// stuckTime bounds one answer, snapshotTime one snapshot.
	stuckTime    = 30 * time.Second
	snapshotTime = 5 * time.Minute
)

// load is connections that write at a steady rate. A write is due at a time of the plan and its
// latency counts from then, also when the connection waited for the answer to an earlier one.
type load struct {
	s     *settings
	conns []*client.Conn
	seeds atomic.Uint64
}

func dialLoad(ctx context.Context, addr string, s *settings) (*load, error) {
	l := &load{s: s}
	for range s.conns {
		conn, err := client.DialConn(ctx, addr, client.WithTimeout(stuckTime))
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

func (l *load) close() {
	for _, c := range l.conns {
		c.Close()
	}
}

// during writes until f is done, and gives the latencies of all writes that were due meanwhile.
func (l *load) during(ctx context.Context, f func(ctx context.Context) error) (*phase, error) {
	began := time.Now()
	var end atomic.Int64 // ns since began, 0 before it is known
	parts := make([]writer, len(l.conns))
	g, ctx := newCrew(ctx)
	theft := watchTheft(began)
	for i, conn := range l.conns {
		w := &parts[i]
		*w = writer{l: l, conn: conn, value: make([]byte, valueSize)}
		w.every = time.Duration(float64(time.Second) * float64(len(l.conns)) / float64(l.s.rate))
		w.due = w.every * time.Duration(i) / time.Duration(len(l.conns))
		g.run(func() error { return w.run(ctx, began, &end) })
	}
	g.run(func() error {
		defer func() { end.Store(int64(time.Since(began))) }()
		return f(ctx)
	})
	err := g.wait()
	thefts, terr := theft.stop()
	p := newPhase(thefts)
	for i := range parts {
		for _, w := range parts[i].done {
			p.add(w)
		}
	}
	return p, errors.Join(err, terr)
}

// writer is one connection's part of a plan. Times are since the plan began.
type writer struct {
	l          *load
	conn       *client.Conn
	due, every time.Duration
	value      []byte
	done       []write
}

// write is one that was answered: when it was due, since the plan began, and how long after that the answer came.
type write struct{ due, late time.Duration }

func (w *writer) run(ctx context.Context, began time.Time, end *atomic.Int64) error {
	for {
		now := time.Since(began)
		if over := end.Load(); over != 0 && w.due >= time.Duration(over) {
			return nil
		}
		if w.due > now {
			if err := sleep(ctx, w.due-now); err != nil {
				return err
			}
			continue
		}
		first, n := w.due, 0
		for ; w.due <= now && n < burst; n++ {
			seed := mix(w.l.seeds.Add(1))
			fillValue(w.value, seed)
			if err := w.conn.Send(client.Set(w.l.s.set.key(int(seed%uint64(w.l.s.set.keys))), w.value)); err != nil {
				return err
			}
			w.due += w.every
		}
		if err := w.conn.Flush(ctx); err != nil {
			return err
		}
		for i := range n {
			if _, err := w.conn.Receive(ctx); err != nil {
				return err
			}
			due := first + time.Duration(i)*w.every
			w.done = append(w.done, write{due: due, late: time.Since(began) - due})
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// phases goes through before, during and after -runs times, not counting those that tell nothing.
func (b *bench) phases(ctx context.Context) error {
	if b.s.runs == 0 {
		return nil
	}
	l, err := dialLoad(ctx, b.node.Native(), &b.s)
	if err != nil {
		return err
	}
	defer l.close()
	defer measuring()()
	l.seeds.Store(rand.Uint64())
	if _, err := l.during(ctx, func(ctx context.Context) error { return sleep(ctx, warmTime) }); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	var errs []error
	void := 0
	for run := 1; run <= b.s.runs; {
		err := b.run(ctx, l)
		if errors.Is(err, errVoid) && void < maxVoid {
			void++
			fmt.Printf("run %d is repeated: %v\n", run, err)
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("run %d: %w", run, err))
		}
		run++
	}
	fmt.Printf("resident %s\n", resident(b.node.Pid()))
	return errors.Join(errs...)
}

// errVoid: the phases without snapshots, before and after, differ by more than snapshots may cost, and what was
// measured meanwhile lies between what they allow; or the machine was another's for too long. The run tells nothing.
var errVoid = errors.New("this tells nothing")

// maxVoid bounds the runs that are repeated because they tell nothing.
const maxVoid = 4

func (b *bench) run(ctx context.Context, l *load) error {
	before, err := b.quiet(ctx, l, "before")
	if err != nil {
		return err
	}
	mark, err := b.logSize()
	if err != nil {
		return err
	}
	var took []time.Duration
	began := time.Now()
	during, err := l.during(ctx, func(ctx context.Context) error {
		for time.Since(began) < b.s.phase {
			t, err := b.snapshot(ctx)
			if err != nil {
				return err
			}
			took = append(took, t.Round(time.Millisecond))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("during: %w", err)
	}
	during.report("during")
	fmt.Printf("  snapshots took %v\n", took)
	held, err := b.holdups(mark)
	if err != nil {
		return err
	}
	fmt.Printf("  apply was held for %v by making a view, for %v by the captures of one entry; the longest entry, with its own work, took %v\n",
		held.view, held.captures, held.apply)
	after, err := b.quiet(ctx, l, "after")
	if err != nil {
		return err
	}
	if long := max(held.view, held.captures); long > b.s.hold {
		return fmt.Errorf("a capture held the apply goroutine for %v", long)
	}
	if most := max(before.lost(), during.lost(), after.lost()); most > maxLost {
		return fmt.Errorf("%.0f %% of a phase were another's: %w", 100*most, errVoid)
	}
	return b.s.judge(before.p999(), during.p999(), after.p999())
}

// judge looks at p99.9 of a run. One that is over what both phases without snapshots allow fails, one that is within what
// both allow does not; between them the run tells something only if the two agree.
func (s *settings) judge(before, during, after time.Duration) error {
	drift := (after - before).Abs()
	switch {
	case during <= min(before, after)+s.margin:
		return nil
	case drift > s.margin && during <= max(before, after)+s.margin:
		return fmt.Errorf("the phases before and after differ by %v: %w", drift, errVoid)
	case drift <= s.margin && during <= before+s.margin:
		return nil
	}
	return fmt.Errorf("p99.9 rose by %v while snapshots were taken", during-before)
}

// quiet is a phase without snapshots.
func (b *bench) quiet(ctx context.Context, l *load, name string) (*phase, error) {
	was, err := b.snapshots()
	if err != nil {
		return nil, err
	}
	h, err := l.during(ctx, func(ctx context.Context) error { return sleep(ctx, b.s.phase) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	h.report(name)
	if is, err := b.snapshots(); err != nil || is != was {
		return nil, errors.Join(err, fmt.Errorf("%s: the node took a snapshot of its own accord: raise --snapshot-log with -args", name))
	}
	return h, nil
}

// snapshot lets the node take a snapshot and tells how long that took.
func (b *bench) snapshot(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.node.HTTP()+"/v1/cluster/snapshot", nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("snapshot: %s: %s", resp.Status, text)
	}
	return time.Since(began), err
}

// snapshots names the node's snapshot files.
func (b *bench) snapshots() (string, error) {
	var names []string
	err := filepath.WalkDir(filepath.Join(b.dir, b.node.Name()), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone since the folder was read
		case err != nil:
			return err
		case !d.IsDir() && strings.Contains(path, "snapshot"):
			names = append(names, path)
		}
		return nil
	})
	return strings.Join(names, "\n"), err
}
