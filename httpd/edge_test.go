// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

// Goal: a query that makes no sense is refused, not ignored; a stale read is one.
func TestConsistency(t *testing.T) {
	f := newFixture(t)
	f.want(404, "GET", "/v1/kv/k?consistency=stale", "")
	if c := f.group.LastCaller(); !c.Stale || c.Protocol != "http" || c.Conn == 0 {
		t.Errorf("caller %+v", c)
	}
	f.want(404, "GET", "/v1/kv/k?consistency=linearizable", "")
	if f.group.LastCaller().Stale {
		t.Error("stale")
	}
	f.want(400, "GET", "/v1/kv/k?consistency=eventual", "")
	f.want(400, "POST", "/v1/pipeline?consistency=x", "[]")
}

// Goal: the cache routes answer as the ancestor's do; a negative lifetime is refused.
func TestCacheRoutes(t *testing.T) {
	f := newFixture(t)
	f.want(404, "GET", "/v1/cache/k", "")
	if text, _ := f.want(201, "PUT", "/v1/cache/k", "v\x00", "Ttl", "10"); text != "" {
		t.Errorf("body %q", text)
	}
	if text, h := f.want(200, "GET", "/v1/cache/k", ""); text != "v\x00" || h.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%q %v", text, h)
	}
	if text, _ := f.want(200, "GET", "/v1/status", ""); text != `{"count":1,"keySize":1,"valueSize":2}`+"\n" {
		t.Errorf("status %q", text)
	}
	if text, _ := f.want(200, "GET", "/v1/nodes", ""); text != `["n0:7402","n1:7402"]`+"\n" {
		t.Errorf("nodes %q", text)
	}
	f.group.Advance(10_000)
	f.want(404, "GET", "/v1/cache/k", "")
	f.want(201, "PUT", "/v1/cache/k", "v", "Ttl", "0")
	f.want(200, "DELETE", "/v1/cache/k", "")
	f.want(200, "DELETE", "/v1/cache/k", "")
	for _, bad := range []string{"-1", "x", "1.5"} {
		f.want(400, "PUT", "/v1/cache/k", "v", "Ttl", bad)
	}
}

func TestReplicas(t *testing.T) {
	f := newFixture(t)
	f.group.Run(fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte("k"), []byte("old")}})
	old := f.group.Run(fsm.Command{Op: fsm.OpKVGet, Args: [][]byte{[]byte("k")}})
	f.group.Advance(1500)
	f.group.Run(fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte("k"), []byte("new\xff")}})
	fresh := f.group.Run(fsm.Command{Op: fsm.OpKVGet, Args: [][]byte{[]byte("k")}})
	f.copies = []Copy{
		{Node: "aa11", Name: "one", Group: 1, Applied: 7, Entry: old},
		{Node: "bb22", Name: "two", Group: 1, Err: errors.New("no answer")},
		{Node: "cc33", Name: "three", Group: 1, Leader: true, Applied: 9, Entry: fresh},
		{Node: "dd44", Name: "four", Group: 1, Applied: 5, Entry: fsm.Null()},
	}
	text, _ := f.want(200, "GET", "/v1/replicas/k", "")
	var got []copyJSON
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	order := ""
	for _, c := range got {
		order += c.Name + " "
	}
	if order != "three one four two " || !got[0].Leader || got[0].Applied != 9 || got[0].Written != "2023-11-14T22:13:21.5Z" ||
		fmt.Sprint(got[0].Value) != "map[base64:bmV3/w==]" || got[1].Value != "old" || got[1].Written != "2023-11-14T22:13:20Z" ||
		got[2].Found || got[2].Error != "" || got[3].Error != "no answer" || got[0].Version <= got[1].Version {
		t.Errorf("%s", text)
	}
	for _, node := range []string{"one", "aa11", "aa"} {
		if text, _ := f.want(200, "GET", "/v1/replicas/k?node="+node, ""); strings.Count(text, `"node"`) != 1 || !strings.Contains(text, "aa11") {
			t.Errorf("node %s: %s", node, text)
		}
	}
	f.want(404, "GET", "/v1/replicas/k?node=zz", "")
	f.fail = shard.ErrUninitialised
	f.want(503, "GET", "/v1/replicas/a//b", "")
	without := New(Config{Node: f.node, Router: f.group, Limits: fsm.DefaultLimits()})
	rec := record(without, "GET", "/v1/replicas/k", "")
	if rec.code != 404 {
		t.Errorf("a route that nobody serves: %d", rec.code)
	}
}

// recorded is an answer without a network.
type recorded struct {
	code   int
	header http.Header
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header { return r.header }
func (r *recorded) Write(p []byte) (int, error) {
	if r.code == 0 {
		r.code = 200
	}
	return r.body.Write(p)
}
func (r *recorded) WriteHeader(code int) { r.code = code }

func record(h http.Handler, method, path, body string) *recorded {
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		return &recorded{code: 400}
	}
	rec := &recorded{header: http.Header{}}
	h.ServeHTTP(rec, req)
	return rec
}

// Goal: pages of other origins change nothing; programs and trusted pages do.
func TestCrossOrigin(t *testing.T) {
	f := newFixture(t)
	f.want(403, "POST", "/v1/exec", `["FLUSHALL"]`, "Origin", "https://evil.example")
	f.want(403, "PUT", "/v1/kv/k", "v", "Sec-Fetch-Site", "cross-site")
	f.want(200, "POST", "/v1/exec", `["DBSIZE"]`, "Origin", "https://admin.example")
	f.want(200, "POST", "/v1/exec", `["DBSIZE"]`)
	f.want(204, "PUT", "/v1/kv/k", "v", "Sec-Fetch-Site", "same-origin")
}

// Goal: the number of arguments and commands is bounded before they are in memory; objects that are
// no bytes are refused.
func TestJSONLimits(t *testing.T) {
	f := newFixture(t)
	many := func(n int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	f.want(200, "POST", "/v1/pipeline", many(maxPipeline, `["GET","k"]`))
	f.want(413, "POST", "/v1/pipeline", many(maxPipeline+1, `["GET","k"]`))
	e := newEdge(Config{Node: f.node, Router: f.group, Limits: fsm.Limits{MaxArgs: 5, MaxCommand: 1000}})
	for body, code := range map[string]int{
		`["MGET","a","b","c","d"]`: 200, `["MGET","a","b","c","d","e"]`: 413,
	} {
		if rec := record(e.handler(), "POST", "/v1/exec", body); rec.code != code {
			t.Errorf("%s: %d %s", body, rec.code, rec.body.String())
		}
	}
	for body, code := range map[string]int{
		`[["GET","a"],["GET","b"],["GET"]]`: 200, `[["GET","a"],["GET","b"],["GET","c"]]`: 413,
	} {
		if rec := record(e.handler(), "POST", "/v1/pipeline", body); rec.code != code {
			t.Errorf("%s: %d %s", body, rec.code, rec.body.String())
		}
	}
	for _, bad := range []string{
		`["GET",{}]`, `["GET",{"base64":"x","y":1}]`, `["GET",{"base64":"?"}]`, `["GET","a"] x`, `["GET","a"][]`, `["GET","a"`, `null`, `"GET"`,
		strings.Repeat("[", 20000),
	} {
		f.want(400, "POST", "/v1/exec", bad)
		f.want(400, "POST", "/v1/pipeline", "["+bad)
	}
}

// Goal: pipelines larger than one router call keep their order, and their replies are JSON.
func TestLongPipeline(t *testing.T) {
	f := newFixture(t)
	const n = 3*pipelineStep + 7
	body := strings.Repeat(`["INCR","n"],`, n-1) + `["NOPE"]`
	text, _ := f.want(200, "POST", "/v1/pipeline", "["+body+"]")
	var got []any
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != n {
		t.Fatalf("%d replies, err %v", len(got), err)
	}
	for i := range n - 1 {
		if got[i] != float64(i+1) {
			t.Fatalf("reply %d: %v", i, got[i])
		}
	}
	if text, _ := f.want(200, "POST", "/v1/pipeline", "[]"); text != "[]\n" {
		t.Errorf("nothing: %q", text)
	}
}

// Goal: bodies that are promised take no memory, bodies that came take it from one budget, and all of
// it is given back. The fixture has 1 MiB.
func TestBodyBudget(t *testing.T) {
	f := newFixture(t)
	e := newEdge(Config{Node: f.node, Router: f.group, Limits: fsm.DefaultLimits(), BodyBudget: 1 << 20})
	h := e.handler()
	put := func(size int) int {
		req, err := http.NewRequest("PUT", "/v1/kv/k", &filler{left: size})
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = -1
		rec := &recorded{header: http.Header{}}
		h.ServeHTTP(rec, req)
		return rec.code
	}
	for _, tt := range []struct{ size, code int }{{1, 204}, {freeBody, 204}, {700_000, 204}, {3 << 20, 503}, {fsm.DefaultMaxValue + 1, 503}} {
		if code := put(tt.size); code != tt.code {
			t.Errorf("%d bytes: %d", tt.size, code)
		}
		if n := e.held.Load(); n != 0 {
			t.Errorf("%d bytes: %d are still held", tt.size, n)
		}
	}
	req, _ := http.NewRequest("PUT", "/v1/kv/k", &filler{left: 10})
	req.ContentLength = fsm.DefaultMaxValue // promised, never sent
	rec := &recorded{header: http.Header{}}
	h.ServeHTTP(rec, req)
	if e.held.Load() != 0 {
		t.Error("a promise was paid for")
	}
}

// filler is a body of zeros.
type filler struct{ left int }

func (z *filler) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	z.left -= n
	return n, nil
}

// Goal: connections over the limit are told so and closed; those within go on. The fixture has 20.
func TestMaxConns(t *testing.T) {
	f := newFixture(t)
	addr := strings.TrimPrefix(f.url, "http://")
	ask := func(nc net.Conn) int {
		if _, err := io.WriteString(nc, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return 0
		}
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	var held []net.Conn
	for range 20 {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if code := ask(nc); code != 200 {
			t.Fatalf("within the limit: %d", code)
		}
		held = append(held, nc)
	}
	over, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	if resp, err := http.ReadResponse(bufio.NewReader(over), nil); err != nil || resp.StatusCode != 503 {
		t.Errorf("over the limit: %v, err %v", resp, err)
	}
	if code := ask(held[3]); code != 200 {
		t.Errorf("a connection within: %d", code)
	}
	_ = held[0].Close()
	for { // until the server noticed
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		code := ask(nc)
		_ = nc.Close()
		if code == 200 {
			break
		}
	}
}

// FuzzRequest: no path, query or body makes the edge panic, or answer a failure without a word.
func FuzzRequest(f *testing.F) {
	h := New(Config{Node: &fakeNode{}, Router: tcpdtest.New("n"), Limits: fsm.DefaultLimits(), Version: "fuzz"})
	f.Add("POST", "/v1/exec", `["SET","k",{"base64":"AA=="}]`)
	f.Add("POST", "/v1/pipeline", `[["GET","k"],["HGETALL","h"]]`)
	f.Add("PUT", "/v1/kv/a//b%00?ttl=1s&flags=3", "v")
	f.Add("GET", "/v1/keys?match=*&count=5&cursor=17", "")
	f.Add("DELETE", "/v1/cluster/nodes/self", "")
	f.Add("POST", "/v1/cluster/leader", `{"group":1,"node":"x"}`)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if !strings.HasPrefix(path, "/v1/") {
			path = "/v1/" + path
		}
		rec := record(h, method, path, body)
		if rec.code < 200 || rec.code >= 600 {
			t.Fatalf("%s %q: %d", method, path, rec.code)
		}
		if rec.code >= 400 && rec.header != nil && method != http.MethodHead && rec.header.Get("Content-Type") == "application/json" && !json.Valid(rec.body.Bytes()) {
			t.Fatalf("%s %q: %d %q", method, path, rec.code, rec.body.String())
		}
	})
}
