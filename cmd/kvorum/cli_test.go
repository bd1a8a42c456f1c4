// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// outcome is what one command line did.
type outcome struct {
	code     int
	out, err string
}

// runLine runs a command line as the program would.
func runLine(t *testing.T, env map[string]string, stdin io.Reader, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, stdio{in: stdin, out: &out, err: &errs, getenv: func(name string) string { return env[name] }})
	return outcome{code, out.String(), errs.String()}
}

// member plays a node's HTTP edge.
type fakeMember struct {
	t    *testing.T
	addr string

	mu sync.Mutex // held while a request is served; a test changes the rest between requests
	// answer serves requests; last is the newest of them, its body read.
	answer func(w http.ResponseWriter, r *http.Request)
	last   *http.Request
	body   string
}

func newMember(t *testing.T) *fakeMember {
	t.Helper()
	m := &fakeMember{t: t, answer: func(http.ResponseWriter, *http.Request) {}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.last, m.body = r, string(body)
		m.answer(w, r)
	}))
	t.Cleanup(s.Close)
	m.addr = strings.TrimPrefix(s.URL, "http://")
	return m
}

func (m *fakeMember) run(args ...string) outcome {
	m.t.Helper()
	defer m.settled()
	return runLine(m.t, map[string]string{"KVORUM_ADDR": m.addr}, strings.NewReader(""), args...)
}

// settled waits until no request is being served: a client that was hung up on does not.
func (m *fakeMember) settled() {
	m.mu.Lock()
	defer m.mu.Unlock()
}

func refuse(status int, text, applied string) func(http.ResponseWriter, *http.Request) {
	return refuseKind(status, text, "k", applied)
}

func refuseKind(status int, text, kind, applied string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": text, "kind": kind, "applied": applied})
	}
}

// TestUsage: wrong command lines end with code 2 and a text that names what is wrong.
func TestUsage(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{"bogus", "bogus"},
		{"bogus", "'kvorum --help' lists"},
		{"stat", "did you mean set or status?"},
		{"get -k", "-- goes before a word that begins with -"},
		{"serve --bogus", "--bogus"},
		{"serve -x", "-x"},
		{"serve extra", "extra"},
		{"serve --port seven", "--port"},
		{"serve --maxmemory 1tib", "--maxmemory"},
		{"serve --insecure=perhaps", "--insecure"},
		{"serve --heartbeat 5", "--heartbeat"},
		{"serve --log-level loud --groups 0", "--groups"},
		{"serve --log-level loud --groups 0", "--log-level"},
		{"serve --config /nonexistent/file", "/nonexistent/file"},
		{"dev --nodes 10", "--nodes"},
		{"dev extra", "extra"},
		{"join", "arg"},
		{"leave a b", "arg"},
		{"status extra", "extra"},
		{"status -o xml", "xml"},
		{"snapshot bogus", "bogus"},
		{"get", "arg"},
		{"get a b", "arg"},
		{"get", "usage: kvorum get KEY"},
		{"get k --timeout 0s", "--timeout"},
		{"serve --join nonsense", "nonsense"},
		{"serve --join 127.0.0.1:7400,:1", ":1"},
		{"get k --addr nonsense", "--addr"},
		{"get k --addr a:b:c", "--addr"},
		{"get k --timeout soon", "--timeout"},
		{"set", "arg"},
		{"set k v w", "arg"},
		{"set k v --ttl 5", "--ttl"},
		{"set k v --ttl=-5s", "--ttl"},
		{"set k v --ttl 1ns", "--ttl"},
		{"set k v --if-version=", "--if-version"},
		{"set k v --if-version abc", "--if-version"},
		{"set k v --if-version 1 --nx", "--nx"},
		{"set k v --file f", "--file"},
		{"set k --file /nonexistent/file", "/nonexistent/file"},
		{"del", "arg"},
		{"exec", "arg"},
		{"bench --mix dance", "dance"},
		{"bench --clients 0", "--clients"},
	} {
		got := runLine(t, nil, strings.NewReader(""), strings.Fields(row.line)...)
		if got.code != exitUsage || !strings.Contains(got.err, row.want) || got.out != "" {
			t.Errorf("kvorum %s: %+v, want code %d and %q", row.line, got, exitUsage, row.want)
		}
		for line := range strings.Lines(got.err) {
			if !strings.HasPrefix(line, "kvorum: ") {
				t.Errorf("kvorum %s: a line without a head: %q", row.line, line)
			}
		}
	}
}

// TestExitCodes: the code says what became of the command.
func TestExitCodes(t *testing.T) {
	m := newMember(t)
	for _, row := range []struct {
		name   string
		line   string
		answer func(http.ResponseWriter, *http.Request)
		code   int
		want   string
	}{
		{"absent", "get k", refuseKind(404, "no such key", "no-such-key", "no"), exitNotFound, `"k" does not exist`},
		{"no such node", "leave n", refuseKind(404, "no such node", "admin", "no"), exitFailed, "no such node"},
		{"an old node", "get k", refuseKind(404, "no such route", "route", "no"), exitFailed, "no such route"},
		{"wrong type", "get k", refuse(409, "WRONGTYPE it is a list", "no"), exitFailed, "WRONGTYPE it is a list"},
		{"no leader", "get k", refuse(503, "no leader", "no"), exitFailed, "no leader"},
		{"condition", "set k v --nx", refuse(412, "does not hold", "no"), exitFailed, "does not hold"},
		{"unknown", "set k v", refuse(504, "timed out", "unknown"), exitUnknown, "it may have been applied"},
		{"unknown by status", "set k v", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(504) }, exitUnknown, ""},
		{"no space", "set k v", refuse(507, "no disk space", "no"), exitFailed, "no disk space"},
		{"error of a command", "exec INCR k", refuse(400, "ERR value is not an integer", "no"), exitFailed, "ERR value is not an integer"},
		{"cut off write", "set k v", hangUp, exitUnknown, ""},
		{"cut off exec", "exec INCR k", hangUp, exitUnknown, ""},
		{"cut off read", "get k", hangUp, exitFailed, ""},
		{"join refused", "join a:1", refuse(409, "belongs to a cluster already", "no"), exitFailed, "belongs to a cluster already"},
		{"not Kvorum", "status", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, exitFailed, "unreadable"},
		{"join by name", "join 127.0.0.1:7400 nonsense", func(http.ResponseWriter, *http.Request) { t.Error("was asked") }, exitFailed, `"nonsense" is no host:port`},
		{"no page", "get k", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, exitFailed, m.addr + " answers 404"},
		{"too slow", "set k v --timeout 50ms", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, exitUnknown, "no answer from " + m.addr},
		{"too slow to read", "get k --timeout 50ms", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, exitFailed, "--timeout"},
		{"no cluster", "get k", refuseKind(503, "shard: cluster is not initialised", "cluster-is-not-initialised", "no"), exitFailed, "kvorum: cluster is not initialised: 'kvorum status"},
		{"no quorum", "get k", refuseKind(503, "shard: read: no leader found", "no-leader-found", "no"), exitFailed, "kvorum: read: no leader found: 'kvorum status"},
		{"packages", "leave n", refuse(404, "shard: leave: shard: no such node: \"n\"", "no"), exitFailed, "kvorum: leave: no such node: \"n\"\n"},
		{"a list", "get k", refuseKind(409, "WRONGTYPE x; the key holds a list: use /v1/exec", "wrong-type", "no"), exitFailed, "use 'kvorum exec'"},
		{"no JSON", "set k v", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "teapot", 418) }, exitFailed, "teapot"},
	} {
		m.answer = row.answer
		got := m.run(strings.Fields(row.line)...)
		if got.code != row.code || !strings.Contains(got.err, row.want) || got.out != "" {
			t.Errorf("%s: %+v, want code %d and %q", row.name, got, row.code, row.want)
		}
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// TestNobodyThere: a port where nothing listens is not an unknown outcome.
func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	for _, line := range []string{"get k", "set k v", "exec INCR k", "status", "join a:1", "leave", "check"} {
		got := runLine(t, nil, strings.NewReader(""), append(strings.Fields(line), "--addr", addr)...)
		if line == "exec INCR k" { // flags stand before the command's words
			got = runLine(t, nil, strings.NewReader(""), "exec", "--addr", addr, "INCR", "k")
		}
		if got.code != exitFailed || !strings.Contains(got.err, "no node answers at "+addr) || !strings.Contains(got.err, "--addr") {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

// TestNotHTTP: the native or peer port given for the HTTP port is told from a node that is gone.
func TestNotHTTP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte("ERR version\r\n"))
			conn.Close()
		}
	})
	got := runLine(t, nil, strings.NewReader(""), "get", "k", "--addr", ln.Addr().String())
	if got.code != exitFailed || !strings.Contains(got.err, "does not speak HTTP") {
		t.Errorf("%+v", got)
	}
}

// TestNoProxy: the proxy of the web does not lead to a node.
func TestNoProxy(t *testing.T) {
	a, err := (&endpoint{addr: "10.0.0.1:7401", output: "table", timeout: time.Second}).open()
	if err != nil {
		t.Fatal(err)
	}
	if tr, ok := a.client.Transport.(*http.Transport); !ok || tr.Proxy != nil {
		t.Errorf("requests go by %#v", a.client.Transport)
	}
}

// TestAddr: --addr is stronger than KVORUM_ADDR.
func TestAddr(t *testing.T) {
	m := newMember(t)
	m.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }
	if got := m.run("get", "k"); got != (outcome{0, "hello\n", ""}) {
		t.Errorf("KVORUM_ADDR: %+v", got)
	}
	got := runLine(t, map[string]string{"KVORUM_ADDR": "127.0.0.1:1"}, strings.NewReader(""), "get", "k", "--addr", m.addr)
	if got != (outcome{0, "hello\n", ""}) {
		t.Errorf("--addr: %+v", got)
	}
}

// oddKeys are keys that some part of the way to a node might spoil.
func oddKeys() []string {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return []string{
		"", " ", "a b", "/", "//", "a//b", "..", "../x", "./", "%", "%2F", "%00", "a?b=c", "a#b", "a+b", "ключ", "\xff\xfe", "a\nb",
		"a\x00b", "{tag}x", "http://host/", ";,:@&=$", string(all),
	}
}

// TestKeyPath: the path gives every byte of the key back, over a real HTTP server too.
func TestKeyPath(t *testing.T) {
	m := newMember(t)
	for _, key := range oddKeys() {
		path := keyPath(key)
		got, err := url.PathUnescape(strings.TrimPrefix(path, "/v1/kv/"))
		if err != nil || got != key {
			t.Errorf("%q: path %s gives %q, %v", key, path, got, err)
		}
		if out := m.run("get", "--", key); out.code != 0 {
			t.Errorf("%q: %+v", key, out)
			continue
		}
		if got := m.last.URL.EscapedPath(); got != path {
			t.Errorf("%q: the server saw the path %s, want %s", key, got, path)
		}
	}
}

// TestExecBytes: words that are no text arrive as they are.
func TestExecBytes(t *testing.T) {
	m := newMember(t)
	m.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("\"OK\"\n")) }
	if got := m.run("exec", "SET", "<k & ключ>", "\xff\x00v", "-1"); got != (outcome{0, "\"OK\"\n", ""}) {
		t.Errorf("%+v", got)
	}
	var words []any
	if err := json.Unmarshal([]byte(m.body), &words); err != nil || len(words) != 4 {
		t.Fatalf("%s: %v", m.body, err)
	}
	if words[1] != "<k & ключ>" || words[3] != "-1" {
		t.Errorf("text was changed: %v", words)
	}
	if b, ok := words[2].(map[string]any); !ok || b["base64"] != "/wB2" {
		t.Errorf("bytes were changed: %v", words[2])
	}
	m.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("\xff\x00v")) }
	if got := m.run("get", "k", "-o", "json"); !strings.Contains(got.out, `"base64": "/wB2"`) {
		t.Errorf("get -o json: %+v", got)
	}
	if got := m.run("get", "k"); got.out != "\xff\x00v\n" {
		t.Errorf("get: %+v", got)
	}
}

// TestSetSources: the value comes from the argument, a file or standard input, byte for byte, and the
// conditions travel.
func TestSetSources(t *testing.T) {
	m := newMember(t)
	value := "line\n\x00\xff"
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KVORUM_ADDR": m.addr}
	for _, args := range [][]string{{"set", "k", value}, {"set", "k", "--file", file}, {"set", "k"}, {"set", "k", "--file", "-"}} {
		m.settled()
		m.body = ""
		if got := runLine(t, env, strings.NewReader(value), args...); got != (outcome{0, "OK\n", ""}) || m.body != value {
			t.Errorf("%q: %+v, the server got %q", args, got, m.body)
		}
	}
	m.run("set", "k", "v", "--nx", "--ttl", "90s")
	if m.last.Header.Get("If-None-Match") != "*" || m.last.URL.Query().Get("ttl") != "1m30s" {
		t.Errorf("--nx --ttl: %v %v", m.last.Header, m.last.URL)
	}
	m.run("set", "k", "v", "--if-version", "17")
	if m.last.Header.Get("If-Match") != `"17"` {
		t.Errorf("--if-version: %v", m.last.Header)
	}
	m.settled()
	m.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"18446744073709551615"`)
		w.Header().Set("Kvorum-Ttl", "9s")
	}
	for _, line := range []string{"set k v -o json", "get k -o json"} { // fit for --if-version as it stands
		if got := m.run(strings.Fields(line)...); !strings.Contains(got.out, `"version": "18446744073709551615"`) || strings.HasPrefix(line, "get") && !strings.Contains(got.out, `"ttl": "9s"`) {
			t.Errorf("%s: %+v", line, got)
		}
	}
	m.last = nil
	got := runLine(t, env, iotest.ErrReader(errors.New("pipe broke")), "set", "k")
	if got.code != exitFailed || !strings.Contains(got.err, "pipe broke") || m.last != nil {
		t.Errorf("standard input that fails: %+v, sent %v", got, m.last)
	}
}

// TestUnprintable: output that cannot be written is a failure.
func TestUnprintable(t *testing.T) {
	m := newMember(t)
	m.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }
	for _, line := range []string{"get k", "get k -o json", "exec PING", "status -o json"} {
		var errs bytes.Buffer
		args := append(strings.Fields(line), "--addr", m.addr)
		if args[0] == "exec" {
			args = []string{"exec", "--addr", m.addr, "PING"}
		}
		code := run(t.Context(), args, stdio{in: strings.NewReader(""), out: brokenPipe{}, err: &errs, getenv: func(string) string { return "" }})
		if code != exitFailed || !strings.Contains(errs.String(), "pipe broke") {
			t.Errorf("%s: code %d, %q", line, code, errs.String())
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("pipe broke") }
