// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
)

// The documented limits.
const (
	maxKeyBytes   = 64 << 10
	maxValueBytes = 16 << 20
)

// watched is data that bad input must leave alone: strings, a list and a hash, read back through every
// node.
type watched struct {
	t    *testing.T
	c    *proc.Cluster
	keys map[string]string
}

func watch(t *testing.T, c *proc.Cluster) *watched {
	t.Helper()
	w := &watched{t, c, map[string]string{}}
	for i := range 40 {
		w.set(fmt.Sprintf("watched-%d", i), fmt.Sprintf("value %d", i))
	}
	w.exec(`["RPUSH","watched-list","a","b"]`, "2")
	w.exec(`["HSET","watched-hash","f","v"]`, "1")
	return w
}

func (w *watched) url(node int) string { return "http://" + w.c.Nodes()[node].HTTP() }

func (w *watched) set(key, value string) {
	w.t.Helper()
	if code, body := httpDo(w.t, "PUT", w.url(0)+"/v1/kv/"+key, value); code != http.StatusNoContent {
		w.t.Fatalf("PUT %s: %d %s", key, code, body)
	}
	w.keys[key] = value
}

func (w *watched) exec(command, want string) {
	w.t.Helper()
	if code, body := httpDo(w.t, "POST", w.url(1)+"/v1/exec", command); code != http.StatusOK || strings.TrimSpace(body) != want {
		w.t.Fatalf("%s: %d %s, want %s", command, code, body, want)
	}
}

// intact compares everything through every node and lets the program compare the replicas.
func (w *watched) intact() {
	w.t.Helper()
	for i := range w.c.Nodes() {
		for key, want := range w.keys {
			if code, body := httpDo(w.t, "GET", w.url(i)+"/v1/kv/"+key, ""); code != http.StatusOK || body != want {
				w.t.Fatalf("%s through node %d: %d, %d bytes %.60q; want %.60q", key, i, code, len(body), body, want)
			}
		}
	}
	w.exec(`["LRANGE","watched-list","0","-1"]`, `["a","b"]`)
	w.exec(`["HGETALL","watched-hash"]`, `{"f":"v"}`)
	wantCLI(w.t, 0, "equal", "check", "--addr", w.c.Nodes()[2].HTTP())
	for _, n := range w.c.Nodes() {
		if !n.Running() {
			w.t.Fatalf("%s ended: %v", n.Name(), n.Exit())
		}
	}
}

// TestBadInputData: what clients send wrongly is refused as not applied, on every edge, and changes
// nothing.
func TestBadInputData(t *testing.T) {
	c := startCluster(t, 3, "--groups", "2")
	w := watch(t, c)
	for name, f := range map[string]func(*testing.T, *watched){
		"http sizes": httpSizes, "native sizes": nativeSizes, "http requests": httpRequests, "http bodies": httpBodies,
		"native commands": nativeCommands, "native prefixes": nativePrefixes, "native flips": nativeFlips, "native announcements": nativeAnnouncements,
		"other protocols": otherProtocols,
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			f(t, w)
			w.intact()
		})
	}
}

// httpSizes: keys and values at the limit are taken by any node, one byte more is not.
func httpSizes(t *testing.T, w *watched) {
	value := strings.Repeat("v", maxValueBytes)
	longKey := strings.Repeat("k", maxKeyBytes)
	if code, body := httpDo(t, "PUT", w.url(1)+"/v1/kv/large", value); code != http.StatusNoContent {
		t.Fatalf("a value at the limit: %d %s", code, body)
	}
	if code, body := httpDo(t, "GET", w.url(2)+"/v1/kv/large", ""); code != http.StatusOK || body != value {
		t.Errorf("a value at the limit comes back as %d, %d bytes", code, len(body))
	}
	for _, row := range []struct{ what, method, path, body string }{
		{"a value over the limit", "PUT", "/v1/kv/large", value + "v"},
		{"a cache value over the limit", "PUT", "/v1/cache/large", value + "v"},
		{"an append over the limit", "POST", "/v1/exec", `["APPEND","large","v"]`},
		{"a range over the limit", "POST", "/v1/exec", `["SETRANGE","large","` + strconv.Itoa(maxValueBytes) + `","v"]`},
		{"a range far over the limit", "POST", "/v1/exec", `["SETRANGE","watched-1","536870911","v"]`},
		{"a key over the limit", "PUT", "/v1/kv/" + longKey + "k", "v"},
		{"an escaped key over the limit", "PUT", "/v1/kv/" + strings.Repeat("%00", maxKeyBytes+1), "v"},
		{"an exec key over the limit", "POST", "/v1/exec", `["SET","` + longKey + `k","v"]`},
		{"an exec value over the limit", "POST", "/v1/exec", `["SET","large","` + value + `v"]`},
		{"two values over the limit together", "POST", "/v1/exec", `["MSET","large","` + value + `","large2","` + value + `"]`},
	} {
		code, body := httpDo(t, row.method, w.url(0)+row.path, row.body)
		if code < 400 || code >= 500 {
			t.Errorf("%s: %d %.100s", row.what, code, body)
			continue
		}
		if r := parseRefusal(t, body); r.Applied != "no" {
			t.Errorf("%s: %d %s", row.what, code, body)
		}
	}
	if code, body := httpDo(t, "GET", w.url(0)+"/v1/kv/large", ""); code != http.StatusOK || body != value {
		t.Errorf("after the refusals the value is %d, %d bytes", code, len(body))
	}
	for _, key := range []string{longKey, strings.Repeat("%00", maxKeyBytes)} {
		if code, body := httpDo(t, "PUT", w.url(2)+"/v1/kv/"+key, "v"); code != http.StatusNoContent {
			t.Errorf("a key at the limit: %d %s", code, body)
		}
		if code, body := httpDo(t, "GET", w.url(1)+"/v1/kv/"+key, ""); code != http.StatusOK || body != "v" {
			t.Errorf("a key at the limit: %d %q", code, body)
		}
		if code, _ := httpDo(t, "DELETE", w.url(0)+"/v1/kv/"+key, ""); code != http.StatusNoContent {
			t.Errorf("delete of a key at the limit: %d", code)
		}
	}
	httpDo(t, "DELETE", w.url(0)+"/v1/kv/large", "")
}

// nativeSizes: the same over native version 1; a refusal leaves the connection in use.
func nativeSizes(t *testing.T, w *watched) {
	conn := dialV1(t, w.c.Nodes()[1].Native())
	forever := make([]byte, 8)
	value, key := bytes.Repeat([]byte("v"), maxValueBytes), bytes.Repeat([]byte("k"), maxKeyBytes)
	conn.want(true, "", 0x02, forever, []byte("large"), value)
	conn.want(true, string(value), 0x01, []byte("large"))
	conn.want(true, "", 0x02, forever, key, []byte("v"))
	conn.want(true, "v", 0x01, key)
	for what, args := range map[string][][]byte{
		"value": {forever, []byte("large"), append(value, 'v')},
		"key":   {forever, append(key, 'k'), []byte("v")},
		"both":  {forever, append(key, 'k'), append(value, 'v')},
	} {
		if ok, body := conn.do(0x02, args...); ok || !strings.Contains(body, "maximum allowed size") {
			t.Errorf("%s one past the limit: ok %t, %.80q", what, ok, body)
		}
	}
	for _, cmd := range []byte{0x01, 0x03} {
		if ok, body := conn.do(cmd, append(key, 'k')); ok || !strings.Contains(body, "maximum allowed size") {
			t.Errorf("command %#x of a key one past the limit: ok %t, %.80q", cmd, ok, body)
		}
	}
	conn.want(true, string(value), 0x01, []byte("large"))
	conn.want(true, "", 0x03, []byte("large"))
	conn.want(true, "", 0x03, key)
	// A frame beyond any request is refused before its bytes are there, and ends the connection.
	frame := binary.BigEndian.AppendUint32(v1Request(0x02, forever, []byte("large")), 1<<31)
	binary.BigEndian.PutUint32(frame[2:], 3)
	conn.send(frame)
	if ok, body := conn.reply(); ok || body != "frame too long" {
		t.Errorf("a frame of 2 GiB: ok %t, %q", ok, body)
	}
	if _, err := conn.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on behind it: %v", err)
	}
}

// httpRequests: requests that are well formed and wrong.
func httpRequests(t *testing.T, w *watched) {
	exec := func(command string) [3]string { return [3]string{"POST", "/v1/exec", command} }
	for _, row := range []struct {
		request [3]string
		code    int
		text    string
		header  []string
	}{
		{exec(`["SET","watched-1"]`), 400, "wrong number of arguments", nil},
		{exec(`["GET","watched-1","x"]`), 400, "wrong number of arguments", nil},
		{exec(`["NONSENSE","watched-1"]`), 400, "unknown command", nil},
		{exec(`[""]`), 400, "unknown command", nil},
		{exec(`[]`), 400, "empty command", nil},
		{exec(`["OWN","1"]`), 400, "unknown command", nil},
		{exec(`["INCR","watched-1"]`), 400, "not an integer", nil},
		{exec(`["INCRBY","watched-n","9223372036854775808"]`), 400, "not an integer", nil},
		{exec(`["LPUSH","watched-1","x"]`), 409, "WRONGTYPE", nil},
		{exec(`["APPEND","watched-list","x"]`), 409, "WRONGTYPE", nil},
		{exec(`["HSET","watched-list","f","x"]`), 409, "WRONGTYPE", nil},
		{exec(`["SET","watched-1","x","EX","0"]`), 400, "invalid expire", nil},
		{exec(`["SET","watched-1","x","EX","9223372036854775807"]`), 400, "invalid expire", nil},
		{exec(`["SET","watched-1","x","NX","XX"]`), 400, "syntax", nil},
		{exec(`["EXPIRE","watched-1","9223372036854775807"]`), 400, "invalid expire", nil},
		{exec(`["SETRANGE","watched-1","-1","x"]`), 400, "out of range", nil},
		{exec(`["LSET","watched-list","99","x"]`), 400, "out of range", nil},
		{exec(`["LSET","watched-none","0","x"]`), 404, "no such key", nil},
		{exec(`["HSET","watched-hash","f"]`), 400, "wrong number of arguments", nil},
		{exec(`["HINCRBY","watched-hash","f","1"]`), 400, "not an integer", nil},
		{exec(`["SCAN","nonsense"]`), 400, "cursor", nil},
		{exec(`{"SET":"watched-1"}`), 400, "JSON", nil},
		{exec(`["SET","watched-1",{"base64":"!"}]`), 400, "base64", nil},
		{exec(`["SET","watched-1",null]`), 400, "argument", nil},
		{exec(`["SET","watched-1",["x"]]`), 400, "argument", nil},
		{exec(`["SET","watched-1","x"] trailing`), 400, "JSON", nil},
		{exec(`["SET","watched-1","x"`), 400, "JSON", nil},
		{exec(``), 400, "JSON", nil},
		{exec(strings.Repeat("[", 100_000)), 400, "JSON", nil},
		{[3]string{"GET", "/v1/kv/watched-list", ""}, 409, "list", nil},
		{[3]string{"PUT", "/v1/kv/watched-1?ttl=-1", "x"}, 400, "ttl", nil},
		{[3]string{"PUT", "/v1/kv/watched-1?ttl=soon", "x"}, 400, "ttl", nil},
		{[3]string{"PUT", "/v1/kv/watched-1?flags=huge", "x"}, 400, "", nil},
		{[3]string{"PUT", "/v1/kv/watched-1", "x"}, 412, "", []string{"If-Match", `"1"`}},
		{[3]string{"PUT", "/v1/kv/watched-1", "x"}, 412, "", []string{"If-None-Match", `*`}},
		{[3]string{"PUT", "/v1/kv/watched-1", "x"}, 400, "If-Match", []string{"If-Match", `nonsense`}},
		{[3]string{"PUT", "/v1/kv/watched-1", "x"}, 400, "both", []string{"If-Match", `"1"`, "If-None-Match", `*`}},
		{[3]string{"PUT", "/v1/kv/watched-1", "x"}, 400, "Kvorum-Token", []string{"Kvorum-Token", "nonsense"}},
		{[3]string{"PUT", "/v1/kv/watched-1", "x"}, 400, "Kvorum-Token", []string{"Kvorum-Token", strings.Repeat("a", 32) + "-0"}},
		{[3]string{"DELETE", "/v1/kv/watched-1", ""}, 412, "", []string{"If-Match", `"1"`}},
		{[3]string{"PUT", "/v1/cache/watched-1", "x"}, 400, "Ttl", []string{"Ttl", "-5"}},
		{[3]string{"POST", "/v1/kv/watched-1", "x"}, 405, "", nil},
		{[3]string{"DELETE", "/v1/keys", ""}, 405, "", nil},
		{[3]string{"GET", "/v2/kv/watched-1", ""}, 404, "route", nil},
		{[3]string{"GET", "/v1/keys?count=0", ""}, 400, "count", nil},
		{[3]string{"GET", "/v1/keys?cursor=x", ""}, 400, "cursor", nil},
		{[3]string{"POST", "/v1/cluster/join", `{}`}, 400, "members", nil},
		{[3]string{"POST", "/v1/cluster/join", `nonsense`}, 400, "JSON", nil},
		{[3]string{"POST", "/v1/cluster/leader", `{"group":99,"node":"node0"}`}, 404, "group", nil},
		{[3]string{"DELETE", "/v1/cluster/nodes/nobody", ""}, 404, "nobody", nil},
	} {
		code, body := httpDo(t, row.request[0], w.url(2)+row.request[1], row.request[2], row.header...)
		if code != row.code || !strings.Contains(body, row.text) {
			t.Errorf("%.100q %v: %d %.200s; want %d and %q", row.request, row.header, code, body, row.code, row.text)
		} else if r := parseRefusal(t, body); r.Applied != "no" {
			t.Errorf("%.100q: %s", row.request, body)
		}
	}
	// In a pipeline each fault is its own.
	code, body := httpDo(t, "POST", w.url(0)+"/v1/pipeline", `[["SET","p","1"],["NONSENSE"],["INCR","watched-1"],[],["INCR","p"],["GET","watched-list"],["DEL","p"]]`)
	for _, want := range []string{`["OK",{`, `unknown command`, `not an integer`, `empty command`, `},2,{`, `WRONGTYPE`, `},1]`} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("pipeline: %d %s lacks %s", code, body, want)
		}
	}
	w.exec(`["EXISTS","p","watched-n","watched-none"]`, "0")
}

// httpBodies: requests whose bytes break off or are no HTTP. Nothing of them is applied.
func httpBodies(t *testing.T, w *watched) {
	whole := "PUT /v1/kv/watched-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"
	addr := w.c.Nodes()[0].HTTP()
	for n := range len(whole) {
		for _, reset := range []bool{false, true} {
			cutOff(t, addr, []byte(whole[:n]), reset)
		}
	}
	for _, raw := range []string{
		"PUT /v1/kv/%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
		"PUT /v1/kv/watched-1 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nx",
		"PUT /v1/kv/watched-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
		"PUT /v1/kv/watched-1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
		"PUT /v1/kv/watched-1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx",
		"\x00\x01\x02\x03\r\n\r\n",
		"PUT /v1/kv/" + strings.Repeat("k", 1<<20) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
	} {
		if answer := cutOff(t, addr, []byte(raw), false); len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
			t.Errorf("%.60q: %.80q", raw, answer)
		}
	}
	w.set("watched-1", "0123456789")
}

// cutOff sends bytes and ends the connection, in order or with a reset, and returns what came back.
func cutOff(t *testing.T, addr string, data []byte, reset bool) []byte {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP")
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(data); err != nil && !broken(err) {
		t.Fatal(err)
	}
	if reset {
		if err := tcp.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	if err := tcp.CloseWrite(); err != nil && !broken(err) {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.60q: the connection stays open", data)
	} else if err != nil && !broken(err) {
		t.Fatal(err)
	}
	return answer
}

// broken tells whether the other side hung up on us.
func broken(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOTCONN)
}

// nativeCommands: whole frames that make no sense keep their connection in order.
func nativeCommands(t *testing.T, w *watched) {
	conn := dialV1(t, w.c.Nodes()[2].Native())
	forever := make([]byte, 8)
	for range 3 {
		conn.want(false, "command needs more arguments", 0x01)
		conn.want(false, "command needs more arguments", 0x02)
		conn.want(false, "command needs more arguments", 0x02, forever, []byte("watched-1"))
		conn.want(false, "command needs more arguments", 0x03)
		conn.want(false, "ttl must be 8 bytes", 0x02, []byte("short"), []byte("watched-1"), []byte("x"))
		conn.want(false, "failed to find a handler of command", 0x00)
		conn.want(false, "failed to find a handler of command", 0xff, []byte("watched-1"))
		conn.want(true, w.keys["watched-2"], 0x01, []byte("watched-2"))
		conn.want(true, w.keys["watched-2"], 0x01, append([][]byte{[]byte("watched-2")}, make([][]byte, 1000)...)...)
	}
	if ok, body := conn.do(0x01, []byte("watched-list")); ok || !strings.Contains(body, "WRONGTYPE") {
		t.Errorf("GET of a list: %t %q", ok, body)
	}
	// A lifetime that is over on arrival, and one that no clock can hold.
	conn.want(true, "", 0x02, binary.BigEndian.AppendUint64(nil, 1<<63), []byte("dead"), []byte("x"))
	conn.want(false, "not found", 0x01, []byte("dead"))
	if ok, body := conn.do(0x02, binary.BigEndian.AppendUint64(nil, 1<<63-1), []byte("watched-1"), []byte("x")); ok || !strings.Contains(body, "invalid expire") {
		t.Errorf("a lifetime without end: %t %q", ok, body)
	}
}

// exchange is a valid pair of requests whose parts are easy to tell apart.
func exchange(key, value string) []byte {
	return bytes.Join([][]byte{v1Request(0x02, make([]byte, 8), []byte(key), []byte(value)), v1Request(0x01, []byte(key))}, nil)
}

// bystander is a second connection that must not notice anything.
type bystander struct {
	*v1
	n int
}

func (b *bystander) works() {
	b.t.Helper()
	b.n++
	b.set("bystander", strconv.Itoa(b.n), 0)
	b.want(true, strconv.Itoa(b.n), 0x01, []byte("bystander"))
}

// nativePrefixes: a valid exchange broken off behind every byte: what was whole is answered, what was
// not is not applied.
func nativePrefixes(t *testing.T, w *watched) {
	addr := w.c.Nodes()[1].Native()
	other := &bystander{v1: dialV1(t, addr)}
	for n := range len(exchange("prefix-000", "whole")) {
		key := fmt.Sprintf("prefix-%03d", n)
		data := exchange(key, "whole")[:n]
		setLen := len(v1Request(0x02, make([]byte, 8), []byte(key), []byte("whole")))
		answer := cutOff(t, addr, data, false)
		want := ""
		if n >= setLen {
			want = "\x01\x00\x00\x00\x00\x00"
		}
		if string(answer) != want {
			t.Errorf("%d bytes: answer %q, want %q", n, answer, want)
		}
		cutOff(t, addr, data[:min(n, setLen-1)], true)
		other.works()
		if n >= setLen {
			other.want(true, "whole", 0x01, []byte(key))
		} else {
			other.want(false, "not found", 0x01, []byte(key))
		}
		other.want(true, "", 0x03, []byte(key))
	}
}

// nativeFlips: every bit of every header, every version and every command: the answers stay well
// formed, the connection ends with its input, and nobody else notices.
func nativeFlips(t *testing.T, w *watched) {
	addr := w.c.Nodes()[0].Native()
	other := &bystander{v1: dialV1(t, addr)}
	valid := exchange("flipped", "value")
	headers := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 18, 19, 20, 21, 29, 30, 31, 32}
	var frames [][]byte
	for _, at := range headers {
		for bit := range 8 {
			f := bytes.Clone(valid)
			f[at] ^= 1 << bit
			frames = append(frames, f)
		}
	}
	for b := range 256 {
		for _, at := range []int{0, 1} {
			f := bytes.Clone(valid)
			f[at] = byte(b)
			frames = append(frames, f)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		f := make([]byte, rng.IntN(100))
		for i := range f {
			f[i] = byte(rng.Uint32())
		}
		frames = append(frames, f, append([]byte{1}, f...), append([]byte{1, 2, 0, 0, 0}, f...))
	}
	for i, f := range frames {
		answer := cutOff(t, addr, f, false)
		if len(f) > 0 && f[0] == 1 {
			wellFormedV1(t, f, answer)
		}
		if i%16 == 0 {
			other.works()
		}
	}
	other.works()
}

// wellFormedV1 takes an answer apart into whole version 1 replies.
func wellFormedV1(t *testing.T, request, answer []byte) {
	t.Helper()
	for rest := answer; len(rest) > 0; {
		if len(rest) < 6 || rest[0] != 1 || rest[1] > 1 || int64(binary.BigEndian.Uint32(rest[2:])) > int64(len(rest)-6) {
			t.Errorf("request % x: answer %q is no sequence of replies", request, answer)
			return
		}
		rest = rest[6+binary.BigEndian.Uint32(rest[2:]):]
	}
}

// announcements is how many connections announce a large frame at one time.
const announcements = 64

// nativeAnnouncements: frames that promise much and send little cost little: memory grows with what
// came, and ordinary clients are served meanwhile.
func nativeAnnouncements(t *testing.T, w *watched) {
	node := w.c.Nodes()[1]
	other := &bystander{v1: dialV1(t, node.Native())}
	heap := func() int { return metric(t, node, "go_memstats_heap_inuse_bytes") }
	before := heap()
	for range announcements {
		conn := dialV1(t, node.Native())
		frame := v1Request(0x02, make([]byte, 8), []byte("announced"))
		frame[5] = 3 // one more argument, of which only a little comes
		conn.send(frame, binary.BigEndian.AppendUint32(nil, maxValueBytes), []byte("little"))
		other.works()
	}
	if grown := heap() - before; grown > announcements*maxValueBytes/8 {
		t.Errorf("%d announcements of %d bytes took %d bytes of memory", announcements, maxValueBytes, grown)
	}
	for _, count := range []uint32{1025, 1 << 16, 1 << 31, 1<<32 - 1} {
		conn := dialV1(t, node.Native())
		conn.send(binary.BigEndian.AppendUint32([]byte{1, 2}, count))
		if ok, body := conn.reply(); ok || body != "frame too long" {
			t.Errorf("%d arguments: ok %t, %q", count, ok, body)
		}
	}
	other.works()
}

// metric reads one number of a node's metrics.
func metric(t *testing.T, n *proc.Node, name string) int {
	t.Helper()
	_, body := httpDo(t, "GET", "http://"+n.HTTP()+"/metrics", "")
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// otherProtocols: what belongs to another port, and plain noise, on every port of a node.
func otherProtocols(t *testing.T, w *watched) {
	n := w.c.Nodes()[2]
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	inputs := [][]byte{
		nil, []byte("\n"), noise, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), exchange("noise", "noise"), []byte("*1\r\n$4\r\nPING\r\n"),
		[]byte("\x16\x03\x01\x02\x00\x01"), []byte("KVPL"), []byte("KVPL\xff\xff\xff\xff"), []byte("KVPL\x00\x00\x00\x00"), append([]byte("KVPL\x00\x00\x20\x00"), noise...),
		append([]byte("KVPL\x00\x00\x00\x40"), noise[:64]...), bytes.Repeat([]byte{1}, 100), bytes.Repeat([]byte{2}, 100), bytes.Repeat([]byte{0xff}, 100),
	}
	other := &bystander{v1: dialV1(t, n.Native())}
	for _, addr := range []string{n.HTTP(), n.Native(), n.Peer()} {
		for _, in := range inputs {
			cutOff(t, addr, in, false)
			cutOff(t, addr, in, true)
			other.works()
		}
	}
	other.want(true, "noise", 0x01, []byte("noise")) // one of the inputs was right, on one of the ports
	other.want(true, "", 0x03, []byte("noise"))
}
