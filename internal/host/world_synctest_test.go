// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

func TestWorldWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		n1, n2 := w.Host("n1").Wall, w.Host("n2").Wall
		if !n1.Now().Equal(n2.Now()) || !n1.Now().Equal(time.Now()) {
			t.Error("clocks differ without a fault")
		}
		w.SetWallOffset("n1", -time.Hour)
		w.SetWallRate("n2", 1000)
		time.Sleep(1000 * time.Second)
		if d := n1.Now().Sub(time.Now()); d != -time.Hour {
			t.Errorf("n1 is off by %v", d)
		}
		if d := n2.Now().Sub(time.Now()); d != time.Second {
			t.Errorf("n2 is off by %v", d)
		}
		w.SetWallRate("n2", 0)
		time.Sleep(1000 * time.Second)
		if d := n2.Now().Sub(time.Now()); d != time.Second {
			t.Errorf("n2 is off by %v after the drift ended", d)
		}
		w.Crash("n1")
		if d := w.Host("n1").Wall.Now().Sub(time.Now()); d != -time.Hour {
			t.Errorf("n1 is off by %v after a restart", d)
		}
	})
}

func TestWorldSeedDecides(t *testing.T) {
	draw := func(seed uint64, name string, crashes int) []byte {
		w := host.NewWorld(seed)
		defer w.Close()
		for range crashes {
			w.Host(name)
			w.Crash(name)
		}
		b := make([]byte, 16)
		if _, err := io.ReadFull(w.Host(name).Rand, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := draw(1, "n1", 0)
	if !bytes.Equal(first, draw(1, "n1", 0)) {
		t.Error("one seed gave two streams")
	}
	for _, other := range [][]byte{draw(2, "n1", 0), draw(1, "n2", 0), draw(1, "n1", 1)} {
		if bytes.Equal(first, other) {
			t.Error("another seed, node or life gave the same stream")
		}
	}
}

func TestFaults(t *testing.T) {
	real := host.Real()
	if err := real.Point("any"); err != nil {
		t.Errorf("point without a table: %v", err)
	}
	w := host.NewWorld(1)
	defer w.Close()
	h, boom := w.Host("n1"), errors.New("boom")
	if err := h.Point("p"); err != nil {
		t.Errorf("point that is not armed: %v", err)
	}
	w.Faults("n1").Arm("p", func(point string) error { return errors.Join(boom, errors.New(point)) })
	if err := h.Point("p"); !errors.Is(err, boom) || err.Error() != "boom\np" {
		t.Errorf("armed point: %v", err)
	}
	if err := h.Point("q"); err != nil {
		t.Errorf("another point: %v", err)
	}
	if n := w.Faults("n1").Hits("p"); n != 1 {
		t.Errorf("hits %d", n)
	}
	w.Faults("n1").ArmOnce("p", boom)
	if err := h.Point("p"); !errors.Is(err, boom) {
		t.Errorf("first reach: %v", err)
	}
	if err := h.Point("p"); err != nil {
		t.Errorf("second reach: %v", err)
	}
	w.Faults("n1").Disarm("p")
	if n := w.Faults("n1").Hits("p"); n != 0 || h.Point("p") != nil {
		t.Error("point fires after disarming")
	}
}

// TestFaultPointCrashes is the way tests place a crash: the hook kills the node, and the step it
// stands before fails on the dead disk.
func TestFaultPointCrashes(t *testing.T) {
	w := host.NewWorld(1)
	defer w.Close()
	h := w.Host("n1")
	w.Faults("n1").Arm("before sync", func(string) error { w.Crash("n1"); return nil })
	put(t, h.FS, "/f", "x")
	if err := h.Point("before sync"); err != nil {
		t.Fatal(err)
	}
	if err := h.FS.SyncDir("/"); !errors.Is(err, host.ErrCrashed) {
		t.Errorf("sync: %v", err)
	}
}

// TestWorldCarriesHTTP runs a stock server and client over a slow link: the connections behave
// well enough for package net/http.
func TestWorldCarriesHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		w.SetDelay("n1", "n2", 5*time.Millisecond, time.Millisecond)
		w.SetDelay("n2", "n1", 5*time.Millisecond, time.Millisecond)
		ln, err := w.Host("n2").Net.Listen(":80")
		must(t, err)
		body := bytes.Repeat([]byte("kvorum"), 100_000)
		srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("request body: %d bytes, %v", len(got), err)
			}
			_, _ = rw.Write(got)
		})}
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(ln) })
		tr := &http.Transport{}
		n1 := w.Host("n1").Net
		tr.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return n1.Dial(ctx, addr) }
		for range 3 {
			wg.Go(func() {
				resp, err := (&http.Client{Transport: tr}).Post("http://n2:80/", "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
					t.Errorf("response body: %d bytes, %v", len(got), err)
				}
			})
		}
		time.Sleep(time.Minute)
		tr.CloseIdleConnections()
		must(t, srv.Shutdown(t.Context()))
		w.Close()
		wg.Wait()
	})
}
