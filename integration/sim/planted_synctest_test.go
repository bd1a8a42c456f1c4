// SPDX-License-Identifier: Apache-2.0

//go:build planted

package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/store"
)

// maxHunt is how many seeds a planted bug may hide for.
const maxHunt = 80

// underLimit plays under a limit of memory.
func underLimit(p fsm.Policy) func(*Options) {
	return func(o *Options) {
		o.pressed(p)
		o.Groups, o.Faults.Clock, o.AuditGap = 1, false, time.Second
	}
}

// restarts plays nodes that often start from snapshots, taken while writes go on.
func restarts(o *Options) {
	o.Faults = Faults{Crash: true, LateView: true}
	o.FaultGap, o.Groups, o.SnapshotLogBytes = 300*time.Millisecond, 1, 8<<10
	o.AuditGap, o.MaxMemory = time.Second, 0
}

// TestPlanted plants one bug at a time and plays seeds until the checkers see it. A bug that is not
// seen is a hole in the bench. The seeds needed are the bench's sensitivity. Bugs that show in one
// seed of forty get the faults that they need in every seed.
func TestPlanted(t *testing.T) {
	for _, bug := range []struct {
		name, want string
		favour     func(*Options)
	}{
		{"local-read", "a read without the fence", func(o *Options) {
			o.Faults = Faults{Transfer: true, Delay: true}
			o.FaultGap, o.Groups = 300*time.Millisecond, 1
		}},
		{"no-sync", "an acknowledged append that was never synced", nil},
		{"no-dir-sync", "a log segment whose name was never synced", nil},
		{"trust-cache", "a log that takes the cache's word for what a failed sync was to write", func(o *Options) {
			o.Faults.DiskError, o.FaultGap = true, 300*time.Millisecond
		}},
		{"no-dedupe", "a session that executes a repeated sub-batch", nil},
		{"fresh-retry", "a frontend that repeats an unknown sub-batch under a new number", nil},
		{"snapshot-without-sessions", "a snapshot that forgets the sessions", nil},
		{"local-clock", "reads that expire keys by the node's own clock", func(o *Options) {
			o.Faults.Clock, o.FaultGap = true, 300*time.Millisecond
		}},
		{"wrong-fail", "an unknown outcome reported as definitely failed", func(o *Options) {
			o.Faults = Faults{Cut: true, OneWay: true}
			o.FaultGap = 300 * time.Millisecond
		}},
		{"unstarted-clock", "a leader's first entry cut before its clock was started", func(o *Options) {
			o.Faults = Faults{Pause: true, Transfer: true}
			o.FaultGap, o.Groups = 300*time.Millisecond, 1
		}},
		{"swapped-replies", "replies handed to the wrong callers", nil},
		{"save-unfenced", "a save through a leader that has not caught up", func(o *Options) {
			o.Faults = Faults{Pause: true, Transfer: true}
			o.PausePoints = []string{"raftnode.apply"}
			o.FaultGap, o.Groups, o.SaveGap, o.MaxMemory = 300*time.Millisecond, 1, 50*time.Millisecond, 0
		}},
		{"local-eviction", "replicas that choose victims by their own recency", underLimit(store.AllKeysLRU)},
		{"evict-other-version", "a victim evicted although it was written since it was chosen", underLimit(store.AllKeysLRU)},
		{"evict-anyway", "evictions under noeviction", underLimit(store.NoEviction)},
		{"evict-nobody", "a leader that names no victims", underLimit(store.AllKeysLRU)},
		{"refuse-early", "writes refused under a policy that evicts", underLimit(store.AllKeysLRU)},
		{"exec-unwatched", "a transaction that runs although a watched key changed", nil},
		{"effect-unguarded", "a script whose effects are applied although what it read has changed", nil},
		{"wait-blind", "a client that is registered without a look at what is there", nil},
		{"view-late", "a view that sees writes behind it", restarts},
		{"restore-ttl", "a restored key that lives for ever", restarts},
	} {
		t.Run(bug.name, func(t *testing.T) {
			t.Setenv("KVORUM_PLANTED", bug.name)
			for seed := uint64(1); seed <= maxHunt; seed++ {
				o := Swarm(seed)
				if bug.favour != nil {
					bug.favour(&o)
				}
				rep := Run(t, o)
				if rep.Failed() {
					t.Logf("%s: caught at seed %d: %.300s", bug.want, seed, strings.Join(rep.Findings, "; "))
					return
				}
			}
			t.Errorf("%s: not caught in %d seeds", bug.want, maxHunt)
		})
	}
}

// TestPlantedClock plants a bug that only a cluster shows that is quiet behind its snapshot: the next entry mends
// the clock.
func TestPlantedClock(t *testing.T) {
	t.Setenv("KVORUM_PLANTED", "restore-clock")
	for seed := uint64(900); seed < 900+maxHunt; seed++ {
		if err := restoredClock(t, seed); err != nil {
			t.Logf("a restored clock that begins anew: caught at seed %d: %v", seed, err)
			return
		}
	}
	t.Errorf("a restored clock that begins anew: not caught in %d seeds", maxHunt)
}
