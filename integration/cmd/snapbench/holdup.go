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

// holdups reads from the node's log, from a place on, the longest that making a view took, and the longest
// Apply of an entry while one was open.
func (b *bench) holdups(from int64) (view, apply time.Duration, err error) {
	text, err := os.ReadFile(b.logName())
	if err != nil {
		return 0, 0, err
	}
	said := regexp.MustCompile(`msg="snapshot done".* view=(\S+) longest_apply=(\S+)`)
	found := 0
	for line := range strings.Lines(string(text[from:])) {
		m := said.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		v, err := time.ParseDuration(m[1])
		if err != nil {
			return 0, 0, err
		}
		a, err := time.ParseDuration(m[2])
		if err != nil {
			return 0, 0, err
		}
		view, apply = max(view, v), max(apply, a)
		found++
	}
	if found == 0 {
		return 0, 0, fmt.Errorf("%s tells of no snapshot", b.logName())
	}
	return view, apply, nil
}
