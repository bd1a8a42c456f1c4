// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
	"pgregory.net/rapid"
)

const voteNode = "0123456789012345678901234567890123456789"

func keyTerm() []byte     { return []byte("CurrentTerm") }
func keyVoteTerm() []byte { return []byte("LastVoteTerm") }
func keyVoteCand() []byte { return []byte("LastVoteCand") }

// ballot is what raft can read of a vote file.
type ballot struct {
	term, voteTerm uint64
	cand           string
}

func readBallot(t fataler, v *logstore.VoteFile) ballot {
	t.Helper()
	var b ballot
	var err error
	miss := func(err error) {
		if err != nil && err.Error() != "not found" { // raft compares the text
			t.Fatalf("read vote file: %v", err)
		}
	}
	b.term, err = v.GetUint64(keyTerm())
	miss(err)
	b.voteTerm, err = v.GetUint64(keyVoteTerm())
	miss(err)
	cand, err := v.Get(keyVoteCand())
	miss(err)
	b.cand = string(cand)
	return b
}

func castVote(v *logstore.VoteFile, term uint64, cand string) error {
	if err := v.SetUint64(keyVoteTerm(), term); err != nil {
		return err
	}
	return v.Set(keyVoteCand(), []byte(cand))
}

func openVote(t fataler, disk *host.MemFS, opts ...logstore.VoteOption) *logstore.VoteFile {
	t.Helper()
	v, err := logstore.OpenVoteFile(disk.FS(), "/vote", voteNode, opts...)
	if err != nil {
		t.Fatalf("open vote file: %v", err)
	}
	return v
}

func TestVoteFile(t *testing.T) {
	disk := host.NewMemFS(1)
	v := openVote(t, disk)
	for _, key := range [][]byte{keyTerm(), keyVoteTerm()} {
		if n, err := v.GetUint64(key); n != 0 || err == nil || err.Error() != "not found" {
			t.Errorf("%s of a new file: %d, %v", key, n, err)
		}
	}
	if b, err := v.Get(keyVoteCand()); b != nil || err == nil || err.Error() != "not found" {
		t.Errorf("candidate of a new file: %q, %v", b, err)
	}
	if err := v.Set(keyVoteCand(), []byte("early")); !errors.Is(err, logstore.ErrNoVoteTerm) {
		t.Errorf("candidate before its term: %v", err)
	}
	before := disk.Syncs()
	if err := v.SetUint64(keyTerm(), 7); err != nil {
		t.Fatal(err)
	}
	if err := v.SetUint64(keyVoteTerm(), 7); err != nil {
		t.Fatal(err)
	}
	if got := readBallot(t, v); got != (ballot{term: 7}) {
		t.Errorf("a vote term without its candidate is readable: %+v", got)
	}
	if err := v.Set(keyVoteCand(), []byte("a/1")); err != nil {
		t.Fatal(err)
	}
	if n := disk.Syncs() - before; n != 2 {
		t.Errorf("an election took %d syncs, want 2", n)
	}
	want := ballot{7, 7, "a/1"}
	if got := readBallot(t, v); got != want {
		t.Errorf("read %+v", got)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v.SetUint64(keyTerm(), 8); !errors.Is(err, logstore.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	disk.Crash(host.CrashPolicy{})
	v = openVote(t, disk, logstore.MustExist())
	if got := readBallot(t, v); got != want {
		t.Errorf("read %+v after a power cut", got)
	}
	for _, err := range []error{v.Set([]byte("other"), nil), v.SetUint64([]byte("other"), 1)} {
		if !errors.Is(err, logstore.ErrUnknownKey) {
			t.Errorf("unknown key: %v", err)
		}
	}
}

func TestVoteFileLimits(t *testing.T) {
	disk := host.NewMemFS(1)
	v := openVote(t, disk)
	long := strings.Repeat("c", 192)
	if err := castVote(v, 1, long); err != nil {
		t.Fatalf("candidate at the limit: %v", err)
	}
	if err := castVote(v, 2, long+"c"); !errors.Is(err, logstore.ErrTooLarge) {
		t.Errorf("candidate above the limit: %v", err)
	}
	if got := readBallot(t, v); got != (ballot{0, 1, long}) {
		t.Errorf("read %+v", got)
	}
	if _, err := logstore.OpenVoteFile(disk.FS(), "/w", strings.Repeat("n", 193)); !errors.Is(err, logstore.ErrTooLarge) {
		t.Errorf("node id above the limit: %v", err)
	}
	w, err := logstore.OpenVoteFile(disk.FS(), "/w", strings.Repeat("n", 192))
	if err != nil {
		t.Fatal(err)
	}
	if err := castVote(w, 3, long); err != nil {
		t.Fatalf("both names at the limit: %v", err)
	}
}

func TestVoteFileRefusals(t *testing.T) {
	disk := host.NewMemFS(1)
	if _, err := logstore.OpenVoteFile(disk.FS(), "/vote", voteNode, logstore.MustExist()); !errors.Is(err, logstore.ErrVoteMissing) {
		t.Errorf("missing file: %v", err)
	}
	if err := openVote(t, disk).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := logstore.OpenVoteFile(disk.FS(), "/vote", "another"); !errors.Is(err, logstore.ErrOtherNode) {
		t.Errorf("another node's file: %v", err)
	}
	disk.SetQuota(disk.Used())
	if _, err := logstore.OpenVoteFile(disk.FS(), "/new", voteNode); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("new file on a full disk: %v", err)
	}
	v := openVote(t, disk)
	if err := castVote(v, 5, "b/2"); err != nil {
		t.Errorf("vote on a full disk: %v", err)
	}
}

// TestVoteFileDamage spoils copies. One bad copy of a record is repaired from the other; a record
// without a good copy is refused, since an older vote would pass for the last one.
func TestVoteFileDamage(t *testing.T) {
	const page = 4096
	for mask := 1; mask < 16; mask++ {
		t.Run(fmt.Sprintf("%04b", mask), func(t *testing.T) {
			disk := host.NewMemFS(1)
			v := openVote(t, disk)
			if err := errors.Join(v.SetUint64(keyTerm(), 3), castVote(v, 3, "a/1"), v.Close()); err != nil {
				t.Fatal(err)
			}
			spoil := func(mask int) {
				err := disk.Edit("/vote", func(b []byte) []byte {
					for i := range 4 {
						if mask&(1<<i) != 0 {
							b[i*page+30] ^= 1
						}
					}
					return b
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			spoil(mask)
			v, err := logstore.OpenVoteFile(disk.FS(), "/vote", voteNode)
			if mask&3 == 3 || mask&12 == 12 {
				var damage *logstore.DamageError
				if !errors.As(err, &damage) {
					t.Fatalf("open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := ballot{3, 3, "a/1"}
			if got := readBallot(t, v); got != want {
				t.Fatalf("read %+v", got)
			}
			// What was repaired stands the loss of the copies that were good.
			disk.Crash(host.CrashPolicy{})
			spoil(mask&5<<1 | mask&10>>1)
			if got := readBallot(t, openVote(t, disk)); got != want {
				t.Fatalf("read %+v after the other copy went too", got)
			}
		})
	}
	t.Run("cut", func(t *testing.T) {
		disk := host.NewMemFS(1)
		openVote(t, disk)
		if err := disk.Edit("/vote", func(b []byte) []byte { return b[:len(b)-1] }); err != nil {
			t.Fatal(err)
		}
		var damage *logstore.DamageError
		if _, err := logstore.OpenVoteFile(disk.FS(), "/vote", voteNode); !errors.As(err, &damage) {
			t.Errorf("open: %v", err)
		}
	})
}

// TestVoteFileCrash votes and crashes at random disk steps: what was acknowledged stays, the write
// in flight is there wholly or not at all, and what a restarted node has read is not lost again.
func TestVoteFileCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := host.NewMemFS(rapid.Uint64().Draw(t, "seed"))
		var is ballot
		for range rapid.IntRange(1, 8).Draw(t, "lives") {
			policy := rapid.SampledFrom([]host.CrashPolicy{{}, {Survive: 0.5}, {Survive: 1}, {ProcessOnly: true}}).Draw(t, "policy")
			left := rapid.IntRange(1, 20).Draw(t, "step")
			crashed := false
			disk.OnStep(func(string, string) error {
				if left--; left == 0 {
					crashed = true
					disk.Crash(policy)
				}
				return nil
			})
			may := is
			v, err := logstore.OpenVoteFile(disk.FS(), "/vote", voteNode)
			if err == nil && !crashed {
				may = castSome(t, v, &is, &crashed)
			}
			disk.OnStep(nil)
			if err != nil && !crashed {
				t.Fatalf("open: %v", err)
			}
			if !crashed {
				disk.Crash(policy)
			}
			got := readBallot(t, openVote(t, disk))
			if got != is && got != may {
				t.Fatalf("read %+v, want %+v or %+v", got, is, may)
			}
			is = got
			disk.Crash(host.CrashPolicy{})
			if got := readBallot(t, openVote(t, disk)); got != is {
				t.Fatalf("read %+v after the next power cut, %+v before", got, is)
			}
			disk.Crash(host.CrashPolicy{})
		}
	})
}

// castSome votes until a crash. It returns what the write in flight would have made.
func castSome(t *rapid.T, v *logstore.VoteFile, is *ballot, crashed *bool) (may ballot) {
	for i := 0; i < 12; i++ {
		may = *is
		var err error
		if rapid.Bool().Draw(t, "vote") {
			may.voteTerm, may.cand = is.term, fmt.Sprint("node/", rapid.IntRange(1, 9).Draw(t, "cand"))
			if is.term == 0 {
				continue
			}
			err = castVote(v, may.voteTerm, may.cand)
		} else {
			may.term++
			err = v.SetUint64(keyTerm(), may.term)
		}
		if *crashed {
			return may
		}
		if err != nil {
			t.Fatalf("vote: %v", err)
		}
		*is = may
	}
	return *is
}

func TestVoteFilePoisoned(t *testing.T) {
	disk := host.NewMemFS(1)
	fatals := 0
	v := openVote(t, disk, logstore.OnFatal(func(error) { fatals++ }))
	if err := castVote(v, 1, "a/1"); err != nil {
		t.Fatal(err)
	}
	disk.FailNextSync(syscall.EIO)
	if err := castVote(v, 2, "b/1"); !errors.Is(err, logstore.ErrPoisoned) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("vote: %v", err)
	}
	_, err1 := v.GetUint64(keyTerm())
	_, err2 := v.Get(keyVoteCand())
	for i, err := range []error{err1, err2, v.SetUint64(keyTerm(), 3), castVote(v, 3, "c/1")} {
		if !errors.Is(err, logstore.ErrPoisoned) {
			t.Errorf("call %d on a poisoned file: %v", i, err)
		}
	}
	if fatals != 1 {
		t.Errorf("fatal was called %d times", fatals)
	}
}
