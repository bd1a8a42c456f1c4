// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func (b *bench) logName() string { return filepath.Join(b.dir, b.node.Name()+".log") }

// logSize is how long the node's log is.
func (b *bench) logSize() (int64, error) {
	info, err := os.Stat(b.logName())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// holdup is the longest that snapshots held the apply goroutine: by making a view, by the captures of one entry; and
// the longest that it took for an entry meanwhile, with the entry's own work.
type holdup struct{ view, captures, apply time.Duration }

var (
	saidDone = regexp.MustCompile(`msg="snapshot done".* view=(\S+) longest_apply=(\S+) longest_captures=(\S+)`)
	saidHeld = regexp.MustCompile(`^time=(\S+) .*msg="a snapshot held up apply".* took=(\S+)`)
)

// holdups reads the longest from the node's log, from a place on; and the longest of those that did not meet with a
// theft in one of the phases, 0 if none was worth a word.
func (b *bench) holdups(from int64, phases []*phase) (most holdup, counted time.Duration, err error) {
	text, err := os.ReadFile(b.logName())
	if err != nil {
		return most, 0, err
	}
	if most, counted, err = readHoldups(string(text[from:]), phases); err != nil {
		err = fmt.Errorf("%s: %w", b.logName(), err)
	}
	return most, counted, err
}

func readHoldups(log string, phases []*phase) (most holdup, counted time.Duration, err error) {
	found := 0
	for line := range strings.Lines(log) {
		if held := saidHeld.FindStringSubmatch(line); held != nil {
			at, aterr := time.Parse(time.RFC3339, held[1])
			took, err := time.ParseDuration(held[2])
			if err := errors.Join(aterr, err); err != nil {
				return most, 0, err
			}
			if !slices.ContainsFunc(phases, func(p *phase) bool { return p.stolen(at.Add(-took), at) }) {
				counted = max(counted, took)
			}
		}
		done := saidDone.FindStringSubmatch(line)
		if done == nil {
			continue
		}
		for i, to := range []*time.Duration{&most.view, &most.apply, &most.captures} {
			d, err := time.ParseDuration(done[i+1])
			if err != nil {
				return most, 0, err
			}
			*to = max(*to, d)
		}
		found++
	}
	if found == 0 {
		return most, 0, errors.New("no snapshot was done")
	}
	return most, counted, nil
}
