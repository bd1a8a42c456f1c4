// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
)

// TestShareEnv: nodes on one machine share its cores, and what the user says wins.
func TestShareEnv(t *testing.T) {
	for _, c := range []struct {
		env          []string
		nodes, cores int
		want         []string
	}{
		{[]string{"A=b"}, 3, 2, []string{"A=b", "GOMAXPROCS=1"}},
		{[]string{"A=b"}, 3, 16, []string{"A=b", "GOMAXPROCS=5"}},
		{nil, 1, 8, []string{"GOMAXPROCS=8"}},
		{[]string{"GOMAXPROCS=7", "A=b"}, 3, 2, []string{"GOMAXPROCS=7", "A=b"}},
		{[]string{"GOMAXPROCS_="}, 3, 6, []string{"GOMAXPROCS_=", "GOMAXPROCS=2"}},
	} {
		was := slices.Clone(c.env)
		if got := shareEnv(c.env, c.nodes, c.cores); !slices.Equal(got, c.want) || !slices.Equal(c.env, was) {
			t.Errorf("%d nodes, %d cores, %q: %q", c.nodes, c.cores, was, got)
		}
	}
}
