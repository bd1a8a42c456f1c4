// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// TestMustExist: a log that was there before and is gone is refused; an empty one would have the
// replica forget what it acknowledged.
func TestMustExist(t *testing.T) {
	dir := t.TempDir() + "/log"
	disk := host.NewMemFS(1)
	for name, open := range map[string]func(must bool) (logstore.Store, error){
		"wal": func(must bool) (logstore.Store, error) {
			return logstore.OpenWAL(disk.FS(), "/log", logstore.Options{MustExist: must})
		},
		"bolt": func(must bool) (logstore.Store, error) {
			return logstore.OpenBolt(dir, logstore.Options{MustExist: must})
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(true)
			var damage *logstore.DamageError
			if !errors.As(err, &damage) || !strings.Contains(err.Error(), "missing") {
				t.Errorf("no log at all: %v", err)
			}
			for _, must := range []bool{false, true} {
				s, err := open(must)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
