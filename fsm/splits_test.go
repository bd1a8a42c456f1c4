// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// moment is what a proposer has to write at one time.
type moment struct {
	clock int64
	cmds  []Command
}

// drawMoments draws writes over five minutes: tokens live longer, so none expires.
func drawMoments(seed uint64) (ms []moment) {
	g := newLogSource(seed)
	for range 40 {
		g.clock += int64([]int{1, 50, 1500, 7000}[g.IntN(4)])
		m := moment{clock: g.clock}
		for range g.IntN(12) {
			m.cmds = append(m.cmds, g.writes()...)
		}
		for i := range m.cmds {
			m.cmds[i].Room = MaxReply
		}
		ms = append(ms, m)
	}
	return ms
}

// applyMoments applies the same writes at the same times. cut tells where a new Sub begins, and where a new
// entry does.
func applyMoments(t *testing.T, ms []moment, cut func() (sub, entry bool)) (tm *testMachine, replies []Result) {
	t.Helper()
	tm = newOwner(t)
	for _, m := range ms {
		tm.clock = m.clock
		subs := []*Sub{{}}
		flush := func() {
			tm.entry(Header{}, subs...)
			for _, s := range subs {
				replies = append(replies, s.Results...)
			}
		}
		for i := range m.cmds {
			newSub, newEntry := cut()
			switch {
			case newEntry:
				flush()
				subs = []*Sub{{}}
			case newSub:
				subs = append(subs, &Sub{})
			}
			s := subs[len(subs)-1]
			s.Body = AppendCommand(s.Body, &m.cmds[i])
			s.Writes++
		}
		flush()
	}
	// The dead are removed entry by entry: here all are gone, however many entries there were.
	for range 40 {
		tm.entry(Header{})
	}
	return tm, replies
}

// TestBatchSplits applies the same writes at the same times in entries and Subs that are cut differently:
// each write alone, all of one time together, and at random. Replies, digest and reads are the same.
func TestBatchSplits(t *testing.T) {
	for seed := range logSeeds() {
		ms := drawMoments(seed)
		want, replies := applyMoments(t, ms, func() (bool, bool) { return true, true })
		if len(replies) < 50 {
			t.Fatalf("seed %d: only %d writes", seed, len(replies))
		}
		digest, reads := want.m.Digest(), probe(want)
		rng := seeded(seed, 8)
		for _, c := range []struct {
			name string
			cut  func() (sub, entry bool)
		}{
			{"one Sub a time", func() (bool, bool) { return false, false }},
			{"one entry a time, a Sub each", func() (bool, bool) { return true, false }},
			{"long Subs", func() (bool, bool) { return rng.IntN(20) == 0, rng.IntN(30) == 0 }},
			{"short Subs", func() (bool, bool) { return rng.IntN(3) == 0, rng.IntN(5) == 0 }},
		} {
			tm, got := applyMoments(t, ms, c.cut)
			for i := range replies {
				if !sameResult(replies[i], got[i]) {
					t.Fatalf("seed %d, %s: reply %d is %s, want %s", seed, c.name, i, show(got[i]), show(replies[i]))
				}
			}
			if d := tm.m.Digest(); d.Machine != digest.Machine {
				t.Errorf("seed %d, %s: another digest", seed, c.name)
			}
			if p := probe(tm); p != reads {
				t.Errorf("seed %d, %s: reads\n%.2000s\nwant\n%.2000s", seed, c.name, p, reads)
			}
		}
	}
}

// childSeed makes TestOtherProcessesAgree play the child.
const childSeed = "KVORUM_TEST_CHILD_SEED"

// fingerprint applies a log and sums up replies, digest and reads.
func fingerprint(t *testing.T, seed uint64) string {
	t.Helper()
	g := newLogSource(seed)
	r := &replica{name: "alone", tm: newTestMachine(t)}
	h := sha256.New()
	for range 150 {
		g.next(r.tm.m)
		for _, s := range r.apply(g.index, g.log[g.index-1]) {
			fmt.Fprintln(h, s.Status, s.Next)
			for i := range s.Results {
				h.Write(AppendResult(nil, &s.Results[i]))
			}
		}
	}
	fmt.Fprintf(h, "%x %s", r.tm.m.Digest().Machine, probe(r.tm))
	return fmt.Sprintf("fingerprint %x", h.Sum(nil))
}

// TestOtherProcessesAgree applies logs in processes of their own, whose maps and hashes have other seeds and
// whose collector and scheduler behave otherwise: replies, digest and reads are the same.
func TestOtherProcessesAgree(t *testing.T) {
	if seed, err := strconv.ParseUint(os.Getenv(childSeed), 10, 64); err == nil {
		fmt.Println(fingerprint(t, seed))
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3) {
		want := fingerprint(t, seed)
		for _, env := range []string{"GOGC=1", "GOMAXPROCS=1", "GODEBUG=gcstoptheworld=1"} {
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestOtherProcessesAgree$", "-test.v")
			cmd.Env = append(os.Environ(), env, childSeed+"="+strconv.FormatUint(seed, 10))
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("seed %d, %s: %v\n%s\nwant %s", seed, env, err, out, want)
			}
		}
	}
}
