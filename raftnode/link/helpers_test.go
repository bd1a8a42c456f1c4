// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

var (
	testCluster = Identity{Cluster: "c1", Epoch: 1}
	quiet       = slog.New(slog.DiscardHandler)
)

// testPort is where every node of a test world listens.
const testPort = ":7400"

// worldDirectory knows the nodes of a test world by their names.
func worldDirectory(node string) (string, bool) {
	return node + testPort, node != "" && node != "nobody"
}

// start makes a listening link of the node name in w; change may edit its configuration.
func start(t *testing.T, w *host.World, name string, change ...func(*Config)) *Link {
	t.Helper()
	cfg := Config{Host: w.Host(name), Node: name, Logger: quiet}
	for _, f := range change {
		f(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.SetCluster(testCluster)
	l.SetDirectory(worldDirectory)
	if err := l.Listen(testPort); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// echo answers with the sender's name and the request.
func echo(_ context.Context, from string, req []byte) ([]byte, error) {
	return []byte(from + ":" + string(req)), nil
}

func mustCall(t *testing.T, l *Link, node, req, want string) {
	t.Helper()
	got, err := l.Call(t.Context(), node, ClassControl, []byte(req))
	if err != nil || string(got) != want {
		t.Fatalf("call = %q, %v; want %q", got, err, want)
	}
}

// mustFail checks that err has the outcome and the cause.
func mustFail(t *testing.T, err, outcome, cause error) {
	t.Helper()
	if !errors.Is(err, outcome) || !errors.Is(err, cause) {
		t.Fatalf("error = %v; want %q because of %q", err, outcome, cause)
	}
	if errors.Is(err, ErrNotSent) && errors.Is(err, ErrLost) {
		t.Fatalf("error %v claims both outcomes", err)
	}
}

// outcome is a short text for what became of a call.
func outcome(reply []byte, err error) string {
	var remote *RemoteError
	switch {
	case err == nil:
		return "answer " + string(reply)
	case errors.As(err, &remote):
		return "remote " + remote.Text
	case errors.Is(err, ErrNotSent) == errors.Is(err, ErrLost):
		return fmt.Sprintf("unclear: %v", err)
	case errors.Is(err, ErrNotSent):
		return "not sent"
	}
	return "lost"
}

func within(t *testing.T, what string, most time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if d := time.Since(began); d > most {
		t.Errorf("%s took %v, want at most %v", what, d, most)
	}
}
