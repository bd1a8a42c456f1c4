// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
	"github.com/kvorum/kvorum/raftnode/logstore/logstoretest"
)

const (
	realCuts  = 100
	imageSize = 128 << 20
)

func boltsIn(dir string, n int) []logstoretest.Subject {
	var subs []logstoretest.Subject
	for i := range n {
		subs = append(subs, logstoretest.Subject{
			Open: func() (raft.LogStore, error) {
				return logstore.OpenBolt(fmt.Sprintf("%s/%d", dir, i), logstore.Options{TailBytes: 1000})
			},
			Close: closeStore,
		})
	}
	return subs
}

// TestPowerCuts cuts the power of a real file system: ext4 on a loop device, stopped in the middle of
// what it does without a word to its journal. bbolt can be tested in no other way, since it maps its
// file into memory.
func TestPowerCuts(t *testing.T) {
	for name, subs := range map[string]func(dir string) []logstoretest.Subject{
		"bolt": func(dir string) []logstoretest.Subject { return boltsIn(dir, 3) },
		"wal": func(dir string) []logstoretest.Subject {
			return walsIn(func() host.FS { return host.Real().FS }, dir, 3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := newLoopDisk(t, t.TempDir(), imageSize)
			logstoretest.PowerCuts(t, disk, subs(disk.at), realCuts, 1)
		})
	}
}

// TestPowerCutsWhileMaking cuts the power in the making of a log. Nothing was promised yet, so nothing
// may stand in the way of the next life, which makes it again or goes on.
func TestPowerCutsWhileMaking(t *testing.T) {
	disk := newLoopDisk(t, t.TempDir(), imageSize)
	disk.until = 3 * time.Millisecond
	const cuts = 50
	dir := disk.at + "/made"
	for i, sub := range append(boltsIn(dir, cuts/2), walsIn(func() host.FS { return host.Real().FS }, dir+"-too", cuts/2)...) {
		disk.Arm(rand.New(rand.NewPCG(1, uint64(i))))
		made := 0
		if s, err := sub.Open(); err == nil {
			made = 1
			_ = sub.Close(s)
		}
		if err := errors.Join(disk.Cut(), disk.Restore()); err != nil {
			t.Fatal(err)
		}
		s, err := sub.Open()
		if err != nil {
			t.Fatalf("log %d, made %d times before: %v", i, made, err)
		}
		if err := errors.Join(s.StoreLog(&raft.Log{Index: 1}), sub.Close(s)); err != nil {
			t.Fatal(err)
		}
	}
}
