// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestDefectsAreTold: the first defect of a command is told with its stack, those of the next minute are counted.
func TestDefectsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		var d defects
		tell := d.tell(slog.New(slog.NewTextHandler(&said, nil)))
		told := func(command string, want int, with string) {
			t.Helper()
			tell(&fsm.DefectError{Doing: "query " + command, Panic: "index out of range", Stack: []byte("main.go:1")})
			text := said.String()
			if got := strings.Count(text, "index out of range"); got != want || !strings.HasSuffix(strings.TrimSpace(text), with) {
				t.Errorf("%d told instead of %d:\n%s", got, want, text)
			}
		}
		told("GET", 1, "untold=0 stack=main.go:1")
		told("GET", 1, "untold=0 stack=main.go:1")
		told("KEYS", 2, "untold=0 stack=main.go:1")
		time.Sleep(defectPause)
		told("GET", 3, "untold=1 stack=main.go:1")
	})
}
