// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/kvorum/kvorum/integration/history"
	"github.com/kvorum/kvorum/internal/host/racing"
)

var (
	seedFlag = flag.Uint64("seed", 1, "first seed of TestSeeds")
	runsFlag = flag.Int("runs", 0, "number of seeds TestSeeds plays; by default 6, and 3 with the race detector")
	logFlag  = flag.Bool("nodelog", false, "print the nodes' logs")
)

// TestSeeds plays seeds in virtual time: whole nodes under crashes, cuts, delays, resets, transfers,
// clock steps, slow disks and pauses; registers and lists must be linearizable, nothing acknowledged
// lost, every replica equal in the end.
func TestSeeds(t *testing.T) {
	runs := *runsFlag
	if runs == 0 {
		runs = racing.Fewer(6, 3)
	}
	for i := range runs {
		seed := *seedFlag + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			opt := Swarm(seed)
			if *logFlag {
				opt.Log = os.Stderr
			}
			rep := Run(t, opt)
			t.Log(rep)
			if rep.Failed() {
				keepArtefacts(t, rep)
				t.Errorf("seed %d: %v; repeat with: go test ./integration/sim -run TestSeeds -seed %d -runs 1", seed, rep.Findings, seed)
			}
		})
	}
}

// keepArtefacts writes the history beside the test's other artefacts.
func keepArtefacts(t *testing.T, rep *Report) {
	t.Helper()
	path := filepath.Join(t.ArtifactDir(), "history.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if err := history.WriteJSONL(f, rep.Ops); err != nil {
		t.Error(err)
	}
	t.Logf("history: %s", path)
}
