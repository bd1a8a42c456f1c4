// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kvorum/kvorum/shard"
)

const (
	// crowd is how many idle connections are held, crowdRoom what each may cost a node, in bytes.
	crowd     = 10_000
	crowdRoom = 16 << 10
)

// raiseFiles lets this process open n files more, or skips the test.
func raiseFiles(t *testing.T, n uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Max < n {
		t.Skipf("%d files may be open, and %d are needed", l.Max, n)
	}
	if before := l; l.Cur < n {
		l.Cur = n
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
				t.Error(err)
			}
		})
	}
}

// hold sends bytes on n connections that never read, as many as are taken at once, and keeps them.
func hold(t *testing.T, addr string, n int, data []byte) {
	t.Helper()
	for range n {
		nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		if err := nc.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = nc.Write(data) // the node stops reading from one that does not read
	}
}

// TestRESPHostileCrowd: ten thousand idle connections, readers that never read, frames that never end and counts without
// sense, all at one time: the node stays up, within its memory, and a client that was there before goes on over the
// connection that it has.
func TestRESPHostileCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("holds ten thousand connections")
	}
	raiseFiles(t, crowd+1000)
	c := startCluster(t, 1, "--max-connections", fmt.Sprint(crowd+1000))
	n := c.Nodes()[0]
	good := redis.NewClient(&redis.Options{Addr: n.RESP(), Protocol: 2, ReadTimeout: 30 * time.Second, MaxRetries: -1}) // a slow machine is no crowd
	defer good.Close()
	const large = 4 << 20
	if err := good.Set(t.Context(), "large", bytes.Repeat([]byte("v"), large), 0).Err(); err != nil {
		t.Fatal(err)
	}
	id, count := good.ClientID(t.Context()).Val(), 0
	serves := func(what string) {
		t.Helper()
		start := time.Now()
		count++
		if got, err := good.Incr(t.Context(), "count").Result(); err != nil || got != int64(count) {
			t.Fatalf("behind %s: %d %v", what, got, err)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("behind %s a write took %v", what, d)
		}
		if now := good.ClientID(t.Context()).Val(); now != id {
			t.Errorf("behind %s: another connection", what)
		}
	}
	serves("nothing")
	before := peakMemory(t, n)
	holdIdle(t, n.RESP(), crowd)
	connected := func() (n int) {
		_, text, _ := strings.Cut(good.Info(t.Context(), "clients").Val(), "connected_clients:")
		_, _ = fmt.Sscan(text, &n) // 0 when it is not there
		return n
	}
	eventually(t, "all idle connections", func() bool { return connected() == crowd+1 })
	serves("idle connections")
	idle := peakMemory(t, n)
	if cost := idle - before; cost > crowd*crowdRoom {
		t.Errorf("%d idle connections cost %d MiB", crowd, cost>>20)
	}

	hold(t, n.RESP(), 20, bytes.Repeat([]byte("*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n"), 2000))
	serves("readers that never read")
	half := append([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777216\r\n"), make([]byte, 8<<20)...)
	hold(t, n.RESP(), 40, half)
	serves("frames that never end")
	for _, frame := range []string{
		"*2147483647\r\n", "*1048577\r\n", "*-1\r\n*0\r\n*-2147483648\r\nPING\r\n", "*2\r\n$3\r\nGET\r\n$536870912\r\n", "*2\r\n$3\r\nGET\r\n$-2\r\n", "*1\r\n$4\r\nPINGxx", "*18446744073709551617\r\n", "*1\r\n$0x4\r\nPING\r\n",
		"*3\r\n$4\r\nMGET\r\n$-1\r\n$-1\r\n", strings.Repeat("*1000000\r\n", 1000), "\r\n\r\n\r\n" + strings.Repeat("\x00", 1000) + "\r\n", strings.Repeat("PING ", 14_000),
	} {
		poke(t, n.RESP(), frame)
		serves(fmt.Sprintf("%.20q", frame))
	}
	peak := peakMemory(t, n)
	t.Logf("%d MiB before, %d with the crowd, %d at most", before>>20, idle>>20, peak>>20)
	// Replies that wait have 248 MiB, and so have commands that are not whole; garbage doubles what lives.
	if peak-idle > 1100<<20 {
		t.Errorf("%d MiB for those who do not read or end their frames", (peak-idle)>>20)
	}
	// Who stands still is put out, as documented, after half a minute.
	within(t, time.Minute, "the others' end", func() bool { return connected() == crowd+1 })
	serves("all of it")
	waitStatus(t, c, "the node", func(s *shard.Status) bool { return s.Cluster.Health == shard.HealthOK })
}
