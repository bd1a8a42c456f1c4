// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// holdups reads the longest from the node's log, from a place on.
func (b *bench) holdups(from int64) (most holdup, err error) {
	text, err := os.ReadFile(b.logName())
	if err != nil {
		return most, err
	}
	said := regexp.MustCompile(`msg="snapshot done".* view=(\S+) longest_apply=(\S+) longest_captures=(\S+)`)
	found := 0
	for line := range strings.Lines(string(text[from:])) {
		m := said.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for i, to := range []*time.Duration{&most.view, &most.apply, &most.captures} {
			d, err := time.ParseDuration(m[i+1])
			if err != nil {
				return most, err
			}
			*to = max(*to, d)
		}
		found++
	}
	if found == 0 {
		return most, fmt.Errorf("%s tells of no snapshot", b.logName())
	}
	return most, nil
}
