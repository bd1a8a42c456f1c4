// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
)

// peakMemory is the largest memory that a process ever had resident, in bytes.
func peakMemory(t *testing.T, n *proc.Node) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	if err != nil {
		t.Skip("this system does not tell the memory of processes: ", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestReplyMemory: pipelines of 256 GETs of 4 MiB each, several at one time through the leader and through
// the other nodes, are answered in full, and no process grows by the size of the replies.
func TestReplyMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves gigabytes")
	}
	const conns, pipeline, size = 4, 256, 4 << 20
	c := startCluster(t, 3, "--groups", "1")
	nodes := c.Nodes()
	value := bytes.Repeat([]byte("v"), size)
	first := dialV1(t, nodes[0].Native())
	for i := range 4 {
		first.set(fmt.Sprint("k", i), string(value), 0)
	}
	for _, n := range nodes {
		before := peakMemory(t, n)
		start := time.Now()
		var wg sync.WaitGroup
		for range conns {
			v := dialV1(t, n.Native())
			v.await(5 * time.Minute)
			wg.Go(func() {
				var frames []byte
				for i := range pipeline {
					frames = append(frames, v1Request(1, fmt.Appendf(nil, "k%d", i%4))...)
				}
				if _, err := v.conn.Write(frames); err != nil {
					t.Error(err)
					return
				}
				if got, err := io.CopyN(io.Discard, v.conn, pipeline*(6+size)); err != nil {
					t.Errorf("%s: %v after %d bytes", n.Name(), err, got)
				}
			})
		}
		wg.Wait()
		t.Logf("%s: %v, %d MiB before, %d MiB after", n.Name(), time.Since(start).Round(time.Millisecond), before>>20, peakMemory(t, n)>>20)
	}
	// Replies make 4 GiB at a node. The budgets are 248 MiB for its callers and for its peers, and
	// garbage doubles what lives.
	for _, n := range nodes {
		if peak := peakMemory(t, n); peak > 1200<<20 {
			t.Errorf("%s had %d MiB", n.Name(), peak>>20)
		}
	}
}
