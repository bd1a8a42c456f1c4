// SPDX-License-Identifier: Apache-2.0

// Package racing lets tests do less where the race detector finds nothing: what one goroutine does is only ten times as
// slow with it.
package racing

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// checks is how many random cases a test makes with the race detector, unless -rapid.checks says otherwise.
const checks = "8"

// Main runs the tests of a package that makes random cases with rapid. It is called by TestMain.
func Main(m *testing.M) {
	flag.Parse()
	given := !Detector
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", checks); err != nil {
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
