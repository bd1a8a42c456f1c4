// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// TestVoteFileMadeInAnotherLife kills the process at each step that makes the file, and lets it fail
// there. The next life votes in what it finds, which must survive a power cut.
func TestVoteFileMadeInAnotherLife(t *testing.T) {
	for _, how := range []string{"killed", "sync failed"} {
		t.Run(how, func(t *testing.T) {
			for at := 1; ; at++ {
				disk := host.NewMemFS(1)
				steps := 0
				disk.OnStep(func(op, _ string) error {
					if steps++; steps != at {
						return nil
					}
					if how == "killed" {
						disk.Crash(host.CrashPolicy{ProcessOnly: true})
					} else if strings.HasPrefix(op, "sync") {
						disk.FailNextSync(syscall.EIO)
					}
					return nil
				})
				_, _ = logstore.OpenVoteFile(disk.FS(), "/vote", voteNode)
				disk.OnStep(nil)
				if steps < at {
					return
				}
				disk.Crash(host.CrashPolicy{ProcessOnly: true})
				v := openVote(t, disk)
				if err := castVote(v, 1, "a/1"); err != nil {
					t.Fatal(err)
				}
				disk.Crash(host.CrashPolicy{})
				v, err := logstore.OpenVoteFile(disk.FS(), "/vote", voteNode, logstore.MustExist())
				if err != nil {
					t.Fatalf("step %d: %v", at, err)
				}
				if b := readBallot(t, v); b.cand != "a/1" {
					t.Fatalf("step %d: %+v", at, b)
				}
			}
		})
	}
}

// TestVoteFileSyncError: after a failed sync the cache shows a vote that no disk holds. Whatever the
// next life reads must be there after a power cut.
func TestVoteFileSyncError(t *testing.T) {
	for lives := range 4 { // of no interest but for the slot that is written last
		disk := host.NewMemFS(1)
		v := openVote(t, disk)
		for term := range uint64(lives) {
			if err := v.SetUint64(keyTerm(), term+1); err != nil {
				t.Fatal(err)
			}
		}
		disk.FailNextSync(syscall.EIO)
		if err := castVote(v, 9, "b/1"); !errors.Is(err, logstore.ErrPoisoned) {
			t.Fatal(err)
		}
		disk.Crash(host.CrashPolicy{ProcessOnly: true})
		read := readBallot(t, openVote(t, disk))
		disk.Crash(host.CrashPolicy{})
		if got := readBallot(t, openVote(t, disk)); got != read {
			t.Errorf("%d terms: read %+v, after a power cut %+v", lives, read, got)
		}
	}
}
