// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/shard"
)

// TestClusterSave: the body is the stream; one that breaks off says why in its trailer, and one that never
// began in its status.
func TestClusterSave(t *testing.T) {
	f := newFixture(t)
	piece := bytes.Repeat([]byte("stream "), 100_000)
	var fail error
	f.node.save = func(_ context.Context, w io.Writer) error {
		_, err := w.Write(piece)
		return errors.Join(err, fail)
	}
	get := func() (string, string, string) {
		t.Helper()
		resp, err := http.Get(f.url + "/v1/cluster/save")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Status, string(data), resp.Trailer.Get(SaveErrorTrailer)
	}
	if status, body, why := get(); status != "200 OK" || body != string(piece) || why != "" {
		t.Errorf("%s, %d bytes, %q", status, len(body), why)
	}
	fail = errors.New("group 3\nbroke off")
	if status, body, why := get(); status != "200 OK" || body != string(piece) || why != "group 3 broke off" {
		t.Errorf("%s, %d bytes, %q", status, len(body), why)
	}
	for err, want := range map[error]int{
		shard.ErrUninitialised: 503, fmt.Errorf("x: %w", shard.ErrRefused): 409, shard.ErrHoldLost: 409, errors.New("disk"): 500,
	} {
		f.node.save = func(context.Context, io.Writer) error { return err }
		f.want(want, "GET", "/v1/cluster/save", "")
	}
}

// TestClusterSaveClientGone: a client that goes away ends the save.
func TestClusterSaveClientGone(t *testing.T) {
	f := newFixture(t)
	ended := make(chan error, 1)
	f.node.save = func(ctx context.Context, w io.Writer) error {
		_, _ = w.Write([]byte("begin"))
		_ = http.NewResponseController(w.(*begun).ResponseWriter).Flush()
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", f.url+"/v1/cluster/save", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the save goes on")
	}
}

// restoreLines posts a body and gives status and lines.
func (f *fixture) restoreLines(path string, body io.Reader) (int, []map[string]any) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), "POST", f.url+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	tr := &http.Transport{ExpectContinueTimeout: 5 * time.Second}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	var lines []map[string]any
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		var m map[string]any
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			f.t.Fatalf("%s: %v", s.Text(), err)
		}
		lines = append(lines, m)
	}
	return resp.StatusCode, lines
}

// endless is a body without an end; it tells how much was read.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	e.n += len(p)
	return len(p), nil
}

// TestClusterRestore: news while the body still comes, then the end; refusals before the body is sent, and
// in its middle.
func TestClusterRestore(t *testing.T) {
	f := newFixture(t)
	var got []byte
	var settings bool
	f.node.restore = func(_ context.Context, r io.Reader, o shard.RestoreOptions) error {
		settings = o.Settings
		o.News(shard.RestoreProgress{Phase: shard.RestoreBegin})
		half := make([]byte, 3)
		if _, err := io.ReadFull(r, half); err != nil {
			return err
		}
		o.News(shard.RestoreProgress{Phase: shard.RestoreImport, Keys: 3})
		rest, err := io.ReadAll(r)
		got = append(half, rest...)
		return err
	}
	for _, path := range []string{"/v1/cluster/restore", "/v1/cluster/restore?settings=1"} {
		code, lines := f.restoreLines(path, strings.NewReader("abcdef"))
		if code != 200 || len(lines) != 2 || lines[0]["phase"] != "import" || lines[0]["keys"] != 3.0 || lines[1]["done"] != true || string(got) != "abcdef" {
			t.Errorf("%d %v, read %q", code, lines, got)
		}
		if settings != strings.HasSuffix(path, "1") {
			t.Errorf("%s: settings %t", path, settings)
		}
	}

	f.node.restore = func(_ context.Context, _ io.Reader, o shard.RestoreOptions) error {
		o.News(shard.RestoreProgress{Phase: shard.RestoreBegin})
		return fmt.Errorf("group 1: %w", shard.ErrNotEmpty)
	}
	body := &endless{}
	code, lines := f.restoreLines("/v1/cluster/restore", body)
	if code != 409 || lines[0]["applied"] != "no" || !strings.Contains(fmt.Sprint(lines), "not empty") || body.n > 0 {
		t.Errorf("%d %v, %d bytes were sent", code, lines, body.n)
	}

	for _, c := range []struct {
		err     error
		applied string
	}{{shard.ErrBadSave, "no"}, {shard.ErrUndecided, "unknown"}} {
		f.node.restore = func(_ context.Context, r io.Reader, o shard.RestoreOptions) error {
			_, _ = io.ReadFull(r, make([]byte, 1<<20))
			o.News(shard.RestoreProgress{Phase: shard.RestoreImport})
			return c.err
		}
		code, lines = f.restoreLines("/v1/cluster/restore", io.LimitReader(&endless{}, 64<<20))
		if code != 200 || len(lines) != 2 || lines[1]["applied"] != c.applied || lines[1]["error"] != c.err.Error() {
			t.Errorf("%v: %d %v", c.err, code, lines)
		}
	}
	f.node.restore = nil
	f.want(200, "DELETE", "/v1/cluster/restore", "")
	f.node.err = shard.ErrNotRestoring
	f.want(409, "DELETE", "/v1/cluster/restore", "")
}

func TestClusterCheck(t *testing.T) {
	f := newFixture(t)
	f.node.compare = func(ctx context.Context) (shard.Comparison, error) {
		d, ok := ctx.Deadline()
		if left := time.Until(d); !ok || left > 3*time.Second {
			t.Errorf("%v left", left)
		}
		return shard.Comparison{Verdict: shard.VerdictDifferent, Groups: []shard.GroupComparison{{Group: 1, Verdict: shard.VerdictDifferent}}}, nil
	}
	text, _ := f.want(200, "GET", "/v1/cluster/check?timeout=3s", "")
	var c shard.Comparison
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Verdict != shard.VerdictDifferent || len(c.Groups) != 1 {
		t.Errorf("%s: %v", text, err)
	}
	for _, bad := range []string{"x", "-1s", "24h"} {
		f.want(400, "GET", "/v1/cluster/check?timeout="+bad, "")
	}
	f.node.compare, f.node.err = nil, shard.ErrUninitialised
	f.want(503, "GET", "/v1/cluster/check", "")
}
