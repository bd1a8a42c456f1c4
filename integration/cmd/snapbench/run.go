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
	"slices"
	"strings"
	"time"
)

// phases goes through the rounds of a run -runs times, not counting runs that tell nothing.
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

// errVoid: the machine was another's for too long. The run tells nothing.
var errVoid = errors.New("this tells nothing")

// maxVoid bounds the runs that are repeated because they tell nothing.
const maxVoid = 4

// run goes through -rounds snapshots, with a phase without one before, between and behind them, so that what comes and
// goes on the machine within minutes meets both kinds alike.
func (b *bench) run(ctx context.Context, l *load) error {
	mark, err := b.logSize()
	if err != nil {
		return err
	}
	var without, during []*phase
	for round := range b.s.rounds + 1 {
		if round > 0 {
			p, err := b.snapshots(ctx, l)
			if err != nil {
				return fmt.Errorf("during: %w", err)
			}
			during = append(during, p)
		}
		p, err := b.quiet(ctx, l)
		if err != nil {
			return fmt.Errorf("without: %w", err)
		}
		without = append(without, p)
	}
	joined(without).report("without")
	joined(during).report("during")
	held, long, err := b.holdups(mark, during)
	if err != nil {
		return err
	}
	fmt.Printf("  apply was held for %v by making a view, for %v by the captures of one entry; the longest entry, with its own work, took %v; longest hold without a theft %v\n",
		held.view, held.captures, held.apply, long)
	if long > b.s.hold {
		return fmt.Errorf("a capture held the apply goroutine for %v", long)
	}
	return b.s.judge(without, during)
}

// judge compares the p99.9 of a middle phase of each kind: of those without snapshots the lower one where two are in the
// middle, of those with them the higher one. Phases that were another's for the most part do not count; if that are the
// most of a kind, the run tells nothing.
func (s *settings) judge(without, during []*phase) error {
	var middle [2]time.Duration
	for i, all := range [][]*phase{without, during} {
		var good []time.Duration
		for _, p := range all {
			if p.lost() <= maxLost {
				good = append(good, p.p999())
			}
		}
		if 2*len(good) <= len(all) {
			return fmt.Errorf("%d of %d phases were another's: %w", len(all)-len(good), len(all), errVoid)
		}
		slices.Sort(good)
		middle[i] = good[(len(good)-1+i)/2]
	}
	fmt.Printf("p99.9 of a middle phase: without %.3f ms, during %.3f ms\n", ms(middle[0].Microseconds()), ms(middle[1].Microseconds()))
	if rise := middle[1] - middle[0]; rise > s.margin {
		return fmt.Errorf("p99.9 rose by %v while snapshots were taken", rise)
	}
	return nil
}

// snapshots is a phase in which snapshots are taken, one behind the other: one at least.
func (b *bench) snapshots(ctx context.Context, l *load) (*phase, error) {
	var took []time.Duration
	began := time.Now()
	p, err := l.during(ctx, func(ctx context.Context) error {
		for len(took) == 0 || time.Since(began) < b.s.phase {
			t, err := b.snapshot(ctx)
			if err != nil {
				return err
			}
			took = append(took, t.Round(time.Millisecond))
		}
		return nil
	})
	if err == nil {
		fmt.Printf("  %s while snapshots took %v\n", p, took)
	}
	return p, err
}

// quiet is a phase without snapshots.
func (b *bench) quiet(ctx context.Context, l *load) (*phase, error) {
	was, err := b.files()
	if err != nil {
		return nil, err
	}
	p, err := l.during(ctx, func(ctx context.Context) error { return sleep(ctx, b.s.phase) })
	if err != nil {
		return nil, err
	}
	fmt.Printf("  %s without\n", p)
	is, err := b.files()
	for name := range is {
		if !was[name] { // one that is gone was being removed
			err = errors.Join(err, fmt.Errorf("the node took a snapshot of its own accord, %s: raise --snapshot-log with -args", name))
		}
	}
	return p, err
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

// files names the node's snapshot files.
func (b *bench) files() (map[string]bool, error) {
	names := make(map[string]bool)
	err := filepath.WalkDir(filepath.Join(b.dir, b.node.Name()), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone since the folder was read
		case err != nil:
			return err
		case !d.IsDir() && strings.HasSuffix(path, ".snap"):
			names[path] = true
		}
		return nil
	})
	return names, err
}
