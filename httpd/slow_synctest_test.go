// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

// Goal: a client that sends its header or body slowly, or does not read its answer, is cut in the
// time that is its own, and nobody else notices. Method: virtual time.
func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := host.NewWorld(1)
		defer world.Close()
		router := tcpdtest.New("n")
		router.Run(fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte("big"), make([]byte, 8<<20)}})
		srv := NewServer(Config{Node: &fakeNode{}, Router: router, Limits: fsm.DefaultLimits()})
		ln, err := world.Host("server").Net.Listen(":7401")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		for _, tt := range []struct {
			name, sent string
			within     time.Duration
		}{
			{"half a header", "GET /v1/kv/k HTTP/1.1\r\nHost: x\r\n", headerTime},
			{"half a body", "PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf", bodyTime},
			{"no reading", "GET /v1/kv/big HTTP/1.1\r\nHost: x\r\n\r\n", stallTime},
			{"nothing more", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", idleTime},
		} {
			nc, err := world.Host("client").Net.Dial(t.Context(), "server:7401")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(nc, tt.sent); err != nil {
				t.Fatal(err)
			}
			time.Sleep(tt.within - time.Second)
			synctest.Wait()
			if _, err := nc.Write([]byte("\r")); err != nil {
				t.Errorf("%s: cut before its time: %v", tt.name, err)
			}
			time.Sleep(tt.within + 2*time.Second)
			synctest.Wait()
			end := time.Now()
			got, err := io.ReadAll(nc)
			if late := time.Since(end); late > 0 {
				t.Errorf("%s: cut %v late", tt.name, late)
			}
			if tt.name == "no reading" && len(got) >= 8<<20 {
				t.Errorf("%s: all of it came, err %v", tt.name, err)
			}
			_ = nc.Close()
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
