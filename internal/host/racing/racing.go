// SPDX-License-Identifier: Apache-2.0

// Package racing says how much tests do. Random cases are the same each time, so that a change that passed does not fail
// later by a draw; and less is done where the race detector finds nothing: what one goroutine does is only ten times as
// slow with it.
package racing

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Random cases, where no flag says otherwise.
const (
	checks = "8" // how many of them a test makes with the race detector
	seed   = "1" // what they start from: the same cases each time. "make explore" draws new ones, with 0
)

// Main runs the tests of a package that makes random cases with rapid. It is called by TestMain.
func Main(m *testing.M) {
	flag.Parse()
	values := map[string]string{"rapid.seed": seed}
	if Detector {
		values["rapid.checks"] = checks
	}
	flag.Visit(func(f *flag.Flag) { delete(values, f.Name) })
	for name, value := range values {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// Heavy skips a test of much work by one goroutine with the race detector. "make heavy" runs such tests without it, by
// their names.
func Heavy(t *testing.T) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), "TestHeavy") {
		t.Fatalf("make heavy does not know %s", t.Name())
	}
	if Detector {
		t.Skip("one goroutine, and ten times as slow with the race detector: make heavy runs it")
	}
}

// Fewer is n, or with the race detector fewer.
func Fewer(n, fewer int) int {
	if Detector {
		return fewer
	}
	return n
}
