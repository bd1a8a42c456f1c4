// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode answers administrative calls with err, unless a call of its own is set.
type fakeNode struct {
	err     error
	save    func(ctx context.Context, w io.Writer) error
	restore func(ctx context.Context, r io.Reader, o shard.RestoreOptions) error
	compare func(ctx context.Context) (shard.Comparison, error)
}

func (n *fakeNode) ID() string   { return "0123456789012345678901234567890123456789" }
func (n *fakeNode) Ready() error { return n.err }
func (n *fakeNode) Status(context.Context) (shard.Status, error) {
	return shard.Status{Nodes: []shard.NodeStatus{{ID: n.ID(), Addrs: map[string]string{"native": "127.0.0.1:7402"}}}}, n.err
}
func (n *fakeNode) Join(context.Context, []string) error { return n.err }
func (n *fakeNode) Leave(context.Context, string) error  { return n.err }
func (n *fakeNode) Snapshot(context.Context) error       { return n.err }
func (n *fakeNode) Digest(context.Context) ([]shard.ReplicaDigest, error) {
	return []shard.ReplicaDigest{}, n.err
}

func (n *fakeNode) Save(ctx context.Context, w io.Writer) error {
	if n.save == nil {
		return n.err
	}
	return n.save(ctx, w)
}

func (n *fakeNode) Restore(ctx context.Context, r io.Reader, o shard.RestoreOptions) error {
	if n.restore == nil {
		return n.err
	}
	return n.restore(ctx, r, o)
}

func (n *fakeNode) CancelRestore(context.Context) error { return n.err }

func (n *fakeNode) Compare(ctx context.Context) (shard.Comparison, error) {
	if n.compare == nil {
		return shard.Comparison{Verdict: shard.VerdictEqual, Groups: []shard.GroupComparison{}}, n.err
	}
	return n.compare(ctx)
}

func (n *fakeNode) TransferLeader(context.Context, uint32, string) error { return n.err }

type fixture struct {
	t     *testing.T
	url   string
	group *tcpdtest.Router
	node  *fakeNode
	// fail, when set, is what every command gets.
	fail error
	// copies is what the node says of replicas.
	copies []Copy
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, group: tcpdtest.New("n1", "n0"), node: &fakeNode{}}
	f.group.Before = func(context.Context, *shard.Caller, *fsm.Command) error { return f.fail }
	limits := fsm.DefaultLimits()
	limits.MaxValue = 1 << 16
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewServer(Config{
		Node: f.node, Router: f.group, Limits: limits, Version: "test", MaxConns: 20, BodyBudget: 1 << 20,
		Origins:  []string{"https://admin.example"},
		Replicas: func(context.Context, []byte) ([]Copy, error) { return f.copies, f.fail },
	})
	s.Start()
	t.Cleanup(func() {
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	f.url = s.URL
	return f
}

// do sends a request; the path is sent as it is written.
func (f *fixture) do(method, path, body string, header ...string) (int, string, http.Header) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(data), resp.Header
}

func (f *fixture) want(code int, method, path, body string, header ...string) (string, http.Header) {
	f.t.Helper()
	got, text, h := f.do(method, path, body, header...)
	if got != code {
		f.t.Fatalf("%s %s: %d %s, want %d", method, path, got, text, code)
	}
	return text, h
}

// TestKeysInPaths: a key is whatever stands behind the prefix, byte for byte.
func TestKeysInPaths(t *testing.T) {
	f := newFixture(t)
	for escaped, raw := range map[string]string{
		"plain": "plain", "a//b": "a//b", "../x": "../x", "a/replicas": "a/replicas", "%00": "\x00", "%ff%fe": "\xff\xfe",
		"a%2Fb": "a/b", "sp%20ace": "sp ace", "%0A": "\n", "trailing/": "trailing/", "": "", "%25": "%", ".": ".", "..": "..",
	} {
		f.want(204, "PUT", "/v1/kv/"+escaped, "value of "+raw)
		if got, _ := f.want(200, "GET", "/v1/kv/"+escaped, ""); got != "value of "+raw {
			t.Errorf("key %q: %q", escaped, got)
		}
		res := f.group.Run(fsm.Command{Op: fsm.OpGetDel, Args: [][]byte{[]byte(raw)}})
		if string(res.Str) != "value of "+raw {
			t.Errorf("key %q was not stored as %q: %+v", escaped, raw, res)
		}
	}
}

// TestConditions: versions as entity tags, and every conditional write.
func TestConditions(t *testing.T) {
	f := newFixture(t)
	_, h := f.want(204, "PUT", "/v1/kv/k", "one")
	first := h.Get("ETag")
	if _, h := f.want(200, "GET", "/v1/kv/k", ""); h.Get("ETag") != first || first == "" {
		t.Fatalf("ETag of the write %s, of the read %s", first, h.Get("ETag"))
	}
	f.want(304, "GET", "/v1/kv/k", "", "If-None-Match", first)
	f.want(412, "PUT", "/v1/kv/k", "x", "If-None-Match", "*")
	f.want(412, "PUT", "/v1/kv/absent", "x", "If-Match", "*")
	f.want(412, "PUT", "/v1/kv/k", "x", "If-Match", `"12345"`)
	f.want(400, "PUT", "/v1/kv/k", "x", "If-Match", `"no number"`)
	f.want(400, "PUT", "/v1/kv/k", "x", "If-Match", first, "If-None-Match", "*")
	_, h = f.want(204, "PUT", "/v1/kv/k", "two", "If-Match", first)
	if h.Get("ETag") == first {
		t.Fatal("the version did not change")
	}
	f.want(412, "DELETE", "/v1/kv/k", "", "If-Match", first)
	f.want(204, "DELETE", "/v1/kv/k", "", "If-Match", h.Get("ETag"))
	f.want(404, "DELETE", "/v1/kv/k", "")
	f.want(404, "GET", "/v1/kv/k", "")
	f.want(204, "PUT", "/v1/kv/k", "three", "If-None-Match", "*")
}

// TestOptions: lifetime and flags in, lifetime and flags out; nonsense refused.
func TestOptions(t *testing.T) {
	f := newFixture(t)
	f.want(204, "PUT", "/v1/kv/k?ttl=90&flags=7", "v")
	_, h := f.want(200, "GET", "/v1/kv/k", "")
	if h.Get("Kvorum-Ttl") != "1m30s" || h.Get("Kvorum-Flags") != "7" {
		t.Errorf("headers %v", h)
	}
	f.want(204, "PUT", "/v1/kv/k?keepttl=1", "w")
	if _, h := f.want(200, "HEAD", "/v1/kv/k", ""); h.Get("Kvorum-Ttl") == "" {
		t.Error("keepttl lost the lifetime")
	}
	for _, bad := range []string{"ttl=-1", "ttl=x", "ttl=0", "flags=x", "flags=99999999999"} {
		f.want(400, "PUT", "/v1/kv/k?"+bad, "v")
	}
}

// TestLimits: at the limit and one past it, declared and streamed.
func TestLimits(t *testing.T) {
	f := newFixture(t)
	f.want(204, "PUT", "/v1/kv/k", strings.Repeat("v", 1<<16))
	f.want(413, "PUT", "/v1/kv/k", strings.Repeat("v", 1<<16+1))
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", f.url+"/v1/kv/k", io.MultiReader(strings.NewReader(strings.Repeat("v", 1<<16+1))))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("streamed body over the limit: %s", resp.Status)
	}
	f.want(204, "PUT", "/v1/kv/"+strings.Repeat("k", 64<<10), "v")
	f.want(413, "PUT", "/v1/kv/"+strings.Repeat("k", 64<<10+1), "v")
}

// TestExec: commands as JSON, errors with their texts, every result as JSON.
func TestExec(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		body string
		code int
		want string
	}{
		{`["SET","k","v"]`, 200, `"OK"`},
		{`["get","k"]`, 200, `"v"`},
		{`["GET","absent"]`, 200, `null`},
		{`["SET","n",41]`, 200, `"OK"`},
		{`["INCR","n"]`, 200, `42`},
		{`["RPUSH","l","a","b"]`, 200, `2`},
		{`["LRANGE","l",0,-1]`, 200, `["a","b"]`},
		{`["HSET","h","f","v"]`, 200, `1`},
		{`["HGETALL","h"]`, 200, `{"f":"v"}`},
		{`["SET",{"base64":"/w=="},"x"]`, 200, `"OK"`},
		{`["GET",{"base64":"/w=="}]`, 200, `"x"`},
		{`["GET","l"]`, 409, `{"error":"WRONGTYPE Operation against a key holding the wrong kind of value","kind":"wrong-type","applied":"no"}`},
		{`["GET"]`, 400, `{"error":"ERR wrong number of arguments for 'get' command","kind":"arity","applied":"no"}`},
		{`["NOPE","x"]`, 400, `{"error":"ERR unknown command 'NOPE', with args beginning with: 'x' ","kind":"unknown-command","applied":"no"}`},
		{`[]`, 400, `{"error":"ERR empty command","kind":"arity","applied":"no"}`},
	} {
		if code, got, _ := f.do("POST", "/v1/exec", tt.body); code != tt.code || strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: %d %s, want %d %s", tt.body, code, got, tt.code, tt.want)
		}
	}
	for _, bad := range []string{"", "x", `{"a":1}`, `[null]`, `[true]`, `[["GET"]]`} {
		f.want(400, "POST", "/v1/exec", bad)
	}
	got, _ := f.want(200, "POST", "/v1/pipeline", `[["SET","p","1"],["NOPE"],["INCR","p"],["INCR","l"]]`)
	var replies []any
	if err := json.Unmarshal([]byte(got), &replies); err != nil || len(replies) != 4 || replies[0] != "OK" || replies[2] != 2.0 {
		t.Errorf("pipeline: %s", got)
	}
}

// TestFailures: every kind of delivery failure has a status and says whether it was applied.
func TestFailures(t *testing.T) {
	f := newFixture(t)
	for kind := shard.KindNotLeader; kind <= shard.KindInvalid; kind++ {
		f.fail = &shard.Error{Kind: kind, Op: "write", Leader: "n1"}
		code, text, h := f.do("PUT", "/v1/kv/k", "v")
		var got failure
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%v: %q", kind, text)
		}
		want := appliedNo
		if kind == shard.KindUnknown {
			want = appliedUnknown
		}
		if code < 400 || got.Applied != want || got.Leader != "n1" || code == 503 && h.Get("Retry-After") == "" {
			t.Errorf("%v: %d %+v", kind, code, got)
		}
	}
	f.fail = errors.New("a surprise")
	if text, _ := f.want(504, "PUT", "/v1/kv/k", "v"); !strings.Contains(text, `"applied":"unknown"`) {
		t.Errorf("an error of no kind: %s", text)
	}
}

// TestTokens: the same token applies once.
func TestTokens(t *testing.T) {
	f := newFixture(t)
	const token = "00112233445566778899aabbccddeeff-1"
	for range 3 {
		if got, _ := f.want(200, "POST", "/v1/exec", `["INCR","n"]`, "Kvorum-Token", token); strings.TrimSpace(got) != "1" {
			t.Fatalf("INCR under one token: %s", got)
		}
	}
	if got, _ := f.want(200, "POST", "/v1/exec", `["INCR","n"]`, "Kvorum-Token", token+"-again"); strings.TrimSpace(got) != "1" {
		t.Fatalf("INCR again under one token: %s", got)
	}
	for _, bad := range []string{"x", "00-1", "00112233445566778899aabbccddeeff-9223372036854775808", "00112233445566778899aabbccddeeff-again", token + "-twice", "00112233445566778899aabbccddeeff-0", "00112233445566778899aabbccddeeff"} {
		f.want(400, "POST", "/v1/exec", `["INCR","n"]`, "Kvorum-Token", bad)
	}
}

// TestAdmin: administrative errors keep their meaning; health follows the node.
func TestAdmin(t *testing.T) {
	f := newFixture(t)
	f.want(200, "GET", "/livez", "")
	f.want(200, "GET", "/readyz", "")
	f.want(200, "POST", "/v1/cluster/join", `{"members":["127.0.0.1:7400"]}`)
	f.want(400, "POST", "/v1/cluster/join", `{"members":[]}`)
	f.want(200, "DELETE", "/v1/cluster/nodes/self", "")
	f.want(200, "GET", "/v1/openapi.json", "")
	f.want(404, "GET", "/v1/nothing", "")
	f.want(405, "POST", "/v1/kv/k", "")
	if text, _ := f.want(200, "GET", "/metrics", ""); !strings.Contains(text, "kvorum_ready 1\n") {
		t.Errorf("metrics: %s", text)
	}
	f.node.err = shard.ErrInitialised
	f.want(409, "POST", "/v1/cluster/join", `{"members":["127.0.0.1:7400"]}`)
	f.node.err = shard.ErrUnreachable
	f.want(502, "POST", "/v1/cluster/join", `{"members":["127.0.0.1:7400"]}`)
	f.node.err = shard.ErrUninitialised
	if text, _ := f.want(503, "GET", "/readyz?verbose", ""); !strings.Contains(text, "no cluster") {
		t.Errorf("readyz: %s", text)
	}
	f.want(200, "GET", "/livez", "")
}
