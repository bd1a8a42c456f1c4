// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"io"
	"net"
	"testing"
	"time"
)

// holdIdle opens connections that say nothing until the test ends, and returns how many there are.
func holdIdle(t *testing.T, addr string, n int) int {
	t.Helper()
	for range n {
		nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
	}
	return n
}

// poke sends bytes and reads what comes back, until the other side ends or a moment has passed.
func poke(t *testing.T, addr, frame string) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(nc, frame) // the other side may be gone already
	_, _ = io.Copy(io.Discard, nc)
}
