// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// watched starts a and b; what a is told of nodes that are gone arrives in the channel.
func watched(t *testing.T, f func(t *testing.T, w *host.World, a, b *Link, told <-chan string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		told := make(chan string, 8)
		a := start(t, w, "a", func(c *Config) { c.Gone = func(node string) { told <- node } })
		b := start(t, w, "b")
		a.Handle(ClassControl, echo)
		b.Handle(ClassControl, echo)
		f(t, w, a, b, told)
		_ = a.Close()
		_ = b.Close()
	})
}

func TestProcessThatDiedIsGoneAtOnce(t *testing.T) {
	for _, dialer := range []string{"a", "b"} {
		watched(t, func(t *testing.T, w *host.World, a, b *Link, told <-chan string) {
			if dialer == "a" {
				mustCall(t, a, "b", "x", "a:x")
			} else {
				mustCall(t, b, "a", "x", "b:x")
			}
			if a.Gone("b") {
				t.Fatal("gone while connected")
			}
			began := time.Now()
			w.Crash("b")
			if node := <-told; node != "b" || !a.Gone("b") {
				t.Errorf("told of %q, gone %v", node, a.Gone("b"))
			}
			if d := time.Since(began); d > 50*time.Millisecond {
				t.Errorf("noticed after %v", d)
			}
			_ = b.Close()
			again := start(t, w, "b")
			again.Handle(ClassControl, echo)
			if _, err := again.Call(t.Context(), "a", ClassControl, nil); err != nil {
				t.Fatal(err)
			}
			if a.Gone("b") {
				t.Error("gone although it is back")
			}
			_ = again.Close()
		})
	}
}

func TestSilenceIsNoDeath(t *testing.T) {
	for name, strike := range map[string]func(w *host.World){
		"cut": func(w *host.World) { w.Isolate("a", "b") },
		"power": func(w *host.World) {
			w.Crash("b", host.CrashPolicy{Silent: true})
			w.Isolate("a", "b")
		},
		"reset": func(w *host.World) { w.ResetConns("a", "b") },
		"cut behind a reset": func(w *host.World) {
			w.ResetConns("a", "b")
			w.Isolate("a", "b")
		},
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, func(t *testing.T, w *host.World, a, _ *Link, told <-chan string) {
				mustCall(t, a, "b", "x", "a:x")
				strike(w)
				for range 5 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, _ = a.Call(ctx, "b", ClassControl, []byte("y"))
					cancel()
				}
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if a.Gone("b") || len(told) > 0 {
					t.Error("a node that only fell silent counts as gone")
				}
			})
		})
	}
}
