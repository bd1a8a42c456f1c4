// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
)

// inWorld is the configuration of a node of an in-memory world.
func inWorld(t *testing.T, args ...string) *config {
	t.Helper()
	c, err := parse(append([]string{"--data", "/data", "--groups", "1"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// life is a node under way.
type life struct {
	t    *testing.T
	said *transcript
	stop context.CancelFunc
	done chan error
}

func startServe(t *testing.T, h *host.Host, c *config) *life {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &life{t: t, said: newTranscript(), stop: stop, done: make(chan error, 1)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		l.done <- runServe(ctx, h, c, l.said, func() { t.Error("closing hangs") })
	}()
	t.Cleanup(func() { stop(); <-over })
	return l
}

// says waits for a text.
func (l *life) says(text string) {
	l.t.Helper()
	patience := time.After(time.Minute)
	for !strings.Contains(l.said.String(), text) {
		select {
		case <-l.said.more:
		case err := <-l.done:
			l.t.Fatalf("ended with %v before it said %q:\n%s", err, text, l.said)
		case <-patience:
			l.t.Fatalf("never said %q:\n%s", text, l.said)
		}
	}
}

func (l *life) ends() error {
	l.t.Helper()
	select {
	case err := <-l.done:
		return err
	case <-time.After(time.Minute):
		l.t.Fatalf("does not end:\n%s", l.said)
		return nil
	}
}

// TestServeFatal: a disk that fails ends the node with its reason, in order: the folder is free for the
// next life.
func TestServeFatal(t *testing.T) {
	w := host.NewWorld(1)
	defer w.Close()
	h := w.Host("n1")
	l := startServe(t, h, inWorld(t, "--init"))
	l.says("founded a cluster")
	bad := errors.New("platter on fire")
	w.FS("n1").FailNextSync(bad)
	// Any write will do; a node that has nothing to write would not notice.
	put(t, h, "127.0.0.1:7401")
	err := l.ends()
	if _, fatal := errors.AsType[*fatalError](err); !fatal || !errors.Is(err, bad) || !strings.Contains(err.Error(), "stopped to keep data safe") {
		t.Errorf("ended with %v", err)
	}
	l = startServe(t, h, inWorld(t))
	l.says("node is up")
	l.stop()
	if err := l.ends(); err != nil {
		t.Errorf("the next life: %v", err)
	}
}

// put sends a write whose outcome does not matter.
func put(t *testing.T, h *host.Host, addr string) {
	t.Helper()
	conn, err := h.Net.Dial(t.Context(), addr)
	if err != nil {
		return // the node has ended by itself
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PUT /v1/kv/k HTTP/1.1\r\nHost: n1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nv")); err != nil {
		return
	}
	var answer [64]byte
	_, _ = conn.Read(answer[:])
}

// TestFatalSeams: every layer's report of a fatal condition ends the node.
func TestFatalSeams(t *testing.T) {
	w := host.NewWorld(2)
	defer w.Close()
	c, log := inWorld(t), slog.New(slog.DiscardHandler)
	rn, err := raftnode.Open(w.Host("n1"), c.raftConfig(log, func(error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer rn.Close()
	bad := errors.New("an entry from the future")
	for name, report := range map[string]func(context.CancelCauseFunc) func(error){
		"consensus": func(stop context.CancelCauseFunc) func(error) { return c.raftConfig(log, stop).Events.Fatal },
		"routing": func(stop context.CancelCauseFunc) func(error) {
			return c.shardConfig(log, stop, rn, &listeners{}).Fatal
		},
	} {
		ctx, stop := context.WithCancelCause(t.Context())
		report(stop)(bad)
		report(stop)(errors.New("a second one")) // the first is the reason
		if _, fatal := errors.AsType[*fatalError](context.Cause(ctx)); !fatal || !errors.Is(context.Cause(ctx), bad) {
			t.Errorf("%s: %v", name, context.Cause(ctx))
		}
	}
}
