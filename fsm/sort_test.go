// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"testing"
	"time"

	"github.com/kvorum/kvorum/internal/host/racing"
)

// TestHeavyWorkOfTransactions: commands that ask for much with few bytes are bounded together, and alone as before.
func TestHeavyWorkOfTransactions(t *testing.T) {
	racing.Heavy(t)
	tm := newOwner(t)
	list := bytesOf("l")
	for range 1000 {
		list = append(list, []byte(pad("x", 10_000)))
	}
	tm.must(Command{Op: OpRPush, Args: list})
	dumped := string(tm.do("DUMP", "l").Str)
	sorts, _ := tm.command("SORT", "l", "ALPHA", "LIMIT", "0", "0")
	restores, _ := tm.command("RESTORE", "k", "0", dumped, "REPLACE")
	for _, cmd := range []Command{sorts, restores} {
		cmds := make([]Command, 40)
		for i := range cmds {
			cmds[i] = cmd
		}
		replies := tm.write(Exec(tm.table, nil, nil, cmds)).Elems
		refused := 0
		for i := range replies {
			if replies[i].IsError() {
				refused++
				if string(replies[i].Str) != TextBundleWork {
					t.Fatalf("%s", replies[i].Str)
				}
			} else if refused > 0 {
				t.Errorf("command %d ran behind one that was refused", i)
			}
		}
		if len(replies) != len(cmds) || refused == 0 || refused == len(cmds) {
			t.Errorf("%d of %d refused", refused, len(replies))
		}
		if res := tm.write(Exec(tm.table, nil, nil, cmds[:1])); res.Elems[0].IsError() {
			t.Errorf("alone: %s", res.Elems[0].Str)
		}
	}
}

// TestSortLongPatterns: what a pattern is cut into does not depend on the element, and what it costs is counted.
func TestSortLongPatterns(t *testing.T) {
	tm := newOwner(t)
	list := bytesOf("l")
	for range 1 << 16 {
		list = append(list, []byte("1"))
	}
	tm.must(Command{Op: OpRPush, Args: list})
	tm.do("HSET", "h1", "f", pad("", 65))
	for _, p := range []string{pad("", 4<<20), "*" + pad("", 4<<20), "h*->" + pad("", 4<<20)} {
		start := time.Now()
		tm.do("SORT_RO", "l", "BY", "nosort", "GET", p)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%.8s: %v", p, took)
		}
	}
}
