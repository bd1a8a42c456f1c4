// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

func TestSmoke(t *testing.T) {
	fs := host.NewMemFS(1)
	s, err := logstore.OpenWAL(fs.FS(), "/log", logstore.Options{SegmentBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i < 1000; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, 100)}); err != nil {
			t.Fatal(i, err)
		}
	}
	fs.Crash(host.CrashPolicy{})
	s, err = logstore.OpenWAL(fs.FS(), "/log", logstore.Options{SegmentBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.FirstIndex()
	l, _ := s.LastIndex()
	t.Log(f, l, s.Bytes())
}
