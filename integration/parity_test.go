// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

// v1 is a connection that speaks the native protocol's version 1, byte for byte.
type v1 struct {
	t    *testing.T
	conn net.Conn
}

// v1Patience bounds each step of a v1.
const v1Patience = 30 * time.Second

func dialV1(t *testing.T, addr string) *v1 {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &v1{t, conn}
}

// await bounds what is read and written next.
func (c *v1) await(d time.Duration) {
	c.t.Helper()
	if err := c.conn.SetDeadline(time.Now().Add(d)); err != nil {
		c.t.Fatal(err)
	}
}

// v1Request builds ver | cmd | argc | argc × (len | bytes).
func v1Request(cmd byte, args ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{1, cmd}, uint32(len(args)))
	for _, a := range args {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(a))), a...)
	}
	return b
}

func (c *v1) send(frames ...[]byte) {
	c.t.Helper()
	c.await(v1Patience)
	if _, err := c.conn.Write(bytes.Join(frames, nil)); err != nil {
		c.t.Fatal(err)
	}
}

// reply reads ver | ok or error | len | body.
func (c *v1) reply() (ok bool, body string) {
	c.t.Helper()
	c.await(v1Patience)
	head := make([]byte, 6)
	if _, err := io.ReadFull(c.conn, head); err != nil {
		c.t.Fatal(err)
	}
	if head[0] != 1 || head[1] > 1 {
		c.t.Fatalf("reply header % x", head)
	}
	buf := make([]byte, binary.BigEndian.Uint32(head[2:]))
	if _, err := io.ReadFull(c.conn, buf); err != nil {
		c.t.Fatal(err)
	}
	return head[1] == 0, string(buf)
}

func (c *v1) do(cmd byte, args ...[]byte) (bool, string) {
	c.t.Helper()
	c.send(v1Request(cmd, args...))
	return c.reply()
}

func (c *v1) set(key, value string, ttl int64) {
	c.t.Helper()
	if ok, body := c.do(0x02, binary.BigEndian.AppendUint64(nil, uint64(ttl)), []byte(key), []byte(value)); !ok || body != "" {
		c.t.Fatalf("SET %s: ok %t, body %q", key, ok, body)
	}
}

func (c *v1) want(wantOK bool, wantBody string, cmd byte, args ...[]byte) {
	c.t.Helper()
	if ok, body := c.do(cmd, args...); ok != wantOK || body != wantBody {
		c.t.Fatalf("command %#x %q: got ok %t %q, want ok %t %q", cmd, args, ok, body, wantOK, wantBody)
	}
}

// TestParity_RC1: the version 1 frame, byte for byte, pipelined, replies in order.
func TestParity_RC1(t *testing.T) {
	c := startCluster(t, 3)
	conn := dialV1(t, c.Nodes()[1].Native())
	var frames [][]byte
	for i := range 100 {
		frames = append(frames, v1Request(0x02, make([]byte, 8), fmt.Appendf(nil, "rc1-%d", i), fmt.Appendf(nil, "value %d", i)))
		frames = append(frames, v1Request(0x01, fmt.Appendf(nil, "rc1-%d", i)))
	}
	conn.send(frames...)
	for i := range 100 {
		if ok, body := conn.reply(); !ok || body != "" {
			t.Fatalf("SET %d: %t %q", i, ok, body)
		}
		if ok, body := conn.reply(); !ok || body != fmt.Sprintf("value %d", i) {
			t.Fatalf("GET %d: %t %q", i, ok, body)
		}
	}
	// A request that arrives byte by byte is the same request.
	for _, b := range v1Request(0x01, []byte("rc1-7")) {
		conn.send([]byte{b})
	}
	if ok, body := conn.reply(); !ok || body != "value 7" {
		t.Fatalf("byte by byte: %t %q", ok, body)
	}
	// The exact bytes of one exchange.
	conn.send([]byte("\x01\x01\x00\x00\x00\x01\x00\x00\x00\x05rc1-9"))
	raw := make([]byte, 6+7)
	if _, err := io.ReadFull(conn.conn, raw); err != nil || string(raw) != "\x01\x00\x00\x00\x00\x07value 9" {
		t.Fatalf("raw reply %q, %v", raw, err)
	}
}

// TestParity_RC2: the five commands with their exact error texts.
func TestParity_RC2(t *testing.T) {
	c := startCluster(t, 3)
	conn := dialV1(t, c.Nodes()[0].Native())
	conn.want(false, "not found", 0x01, []byte("absent"))
	conn.set("k", "hello", 0)
	conn.want(true, "hello", 0x01, []byte("k"))
	conn.want(true, "hello", 0x01, []byte("k"), []byte("an extra argument is ignored"))
	conn.want(true, "", 0x03, []byte("k"))
	conn.want(true, "", 0x03, []byte("k"))
	conn.want(false, "not found", 0x01, []byte("k"))
	conn.want(false, "command needs more arguments", 0x01)
	conn.want(false, "command needs more arguments", 0x02, make([]byte, 8), []byte("k"))
	conn.want(false, "failed to find a handler of command", 0x7f)
	conn.set("counted", "12345", 0)
	conn.set("brief", "gone soon", 5)
	conn.want(true, "gone soon", 0x01, []byte("brief"))
	eventually(t, "the TTL of five seconds", func() bool {
		ok, body := conn.do(0x01, []byte("brief"))
		return !ok && body == "not found"
	})
	eventually(t, "STATUS to count the whole cluster", func() bool {
		ok, body := conn.do(0x04)
		return ok && body == `{"count":1,"keySize":7,"valueSize":5}`
	})
	var nodes []string
	_, body := conn.do(0x05)
	if err := json.Unmarshal([]byte(body), &nodes); err != nil || len(nodes) != 3 {
		t.Fatalf("NODES %q: %v", body, err)
	}
	for _, n := range c.Nodes() {
		if !strings.Contains(body, `"`+n.Native()+`"`) {
			t.Errorf("NODES %s lacks %s", body, n.Native())
		}
	}
}

// eventually polls a condition that the outside world makes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, ok)
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(proc.PollEvery)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

func httpDo(t *testing.T, method, url string, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestParity_RC3: the cache routes over HTTP.
func TestParity_RC3(t *testing.T) {
	c := startCluster(t, 3)
	url := "http://" + c.Nodes()[2].HTTP() + "/v1/"
	want := func(wantCode int, wantBody, method, path, body string, header ...string) {
		t.Helper()
		if code, got := httpDo(t, method, url+path, body, header...); code != wantCode || got != wantBody {
			t.Fatalf("%s %s: %d %q, want %d %q", method, path, code, got, wantCode, wantBody)
		}
	}
	want(201, "", "PUT", "cache/greeting", "hello\x00raw")
	want(200, "hello\x00raw", "GET", "cache/greeting", "")
	if code, _ := httpDo(t, "GET", url+"cache/absent", ""); code != 404 {
		t.Fatalf("GET of an absent key: %d", code)
	}
	want(201, "", "PUT", "cache/brief", "x", "Ttl", "1")
	eventually(t, "the Ttl header", func() bool { code, _ := httpDo(t, "GET", url+"cache/brief", ""); return code == 404 })
	eventually(t, "status", func() bool {
		_, body := httpDo(t, "GET", url+"status", "")
		return strings.TrimSpace(body) == `{"count":1,"keySize":8,"valueSize":9}`
	})
	_, body := httpDo(t, "GET", url+"nodes", "")
	var nodes []string
	if err := json.Unmarshal([]byte(body), &nodes); err != nil || len(nodes) != 3 {
		t.Fatalf("nodes %q: %v", body, err)
	}
	if code, _ := httpDo(t, "DELETE", url+"cache/greeting", ""); code != 200 {
		t.Fatalf("DELETE: %d", code)
	}
	if code, _ := httpDo(t, "GET", url+"cache/greeting", ""); code != 404 {
		t.Fatalf("GET of a deleted key: %d", code)
	}
}

// TestParity_RC4: every node answers every key, and each node owns a part.
func TestParity_RC4(t *testing.T) {
	c := startCluster(t, 3)
	conns := []*v1{}
	for _, n := range c.Nodes() {
		conns = append(conns, dialV1(t, n.Native()))
	}
	for i := range 60 {
		conns[i%3].set(fmt.Sprintf("rc4-%d", i), fmt.Sprint(i), 0)
		for j, conn := range conns {
			if ok, body := conn.do(0x01, fmt.Appendf(nil, "rc4-%d", i)); !ok || body != fmt.Sprint(i) {
				t.Fatalf("key %d through node %d: %t %q", i, j, ok, body)
			}
		}
	}
	s := waitStatus(t, c, "leaders on every node", func(s *shard.Status) bool {
		for i := range s.Nodes {
			if s.Nodes[i].Leaders == 0 {
				return false
			}
		}
		return true
	})
	slots := 0
	for i := range s.Groups {
		slots += s.Groups[i].Slots
		if s.Groups[i].ID != 0 && (s.Groups[i].Slots == 0 || len(s.Groups[i].Voters) != 3) {
			t.Errorf("group %+v", s.Groups[i])
		}
	}
	if slots != shard.SlotCount {
		t.Errorf("the groups own %d slots together", slots)
	}
}

// TestParity_RC5: entries, key bytes and value bytes by node, by group and over the cluster.
func TestParity_RC5(t *testing.T) {
	c := startCluster(t, 3)
	conn := dialV1(t, c.Nodes()[0].Native())
	var keyBytes, valueBytes uint64
	for i := range 200 {
		key, value := fmt.Sprintf("rc5-%d", i), strings.Repeat("v", i)
		conn.set(key, value, 0)
		keyBytes, valueBytes = keyBytes+uint64(len(key)), valueBytes+uint64(len(value))
	}
	waitStatus(t, c, "the sums by node and by group", func(s *shard.Status) bool {
		var nodes, groups [3]uint64
		for i := range s.Nodes {
			nodes = [3]uint64{nodes[0] + s.Nodes[i].Keys, nodes[1] + s.Nodes[i].KeyBytes, nodes[2] + s.Nodes[i].ValueBytes}
		}
		for i := range s.Groups {
			groups = [3]uint64{groups[0] + s.Groups[i].Keys, groups[1] + s.Groups[i].KeyBytes, groups[2] + s.Groups[i].ValueBytes}
		}
		return nodes == groups && nodes == [3]uint64{200, keyBytes, valueBytes}
	})
	if _, body := conn.do(0x04); body != fmt.Sprintf(`{"count":200,"keySize":%d,"valueSize":%d}`, keyBytes, valueBytes) {
		t.Errorf("STATUS %s", body)
	}
}

// TestParity_RC6: a real byte budget that refuses nothing while it can evict.
func TestParity_RC6(t *testing.T) {
	const limit = 8 << 20
	c := startCluster(t, 3, "--maxmemory", "8MiB", "--maxmemory-policy", "allkeys-lru")
	conn := dialV1(t, c.Nodes()[0].Native())
	conn.set("hot", "kept by use", 0)
	value := strings.Repeat("x", 8<<10)
	for i := range 3000 {
		conn.set(fmt.Sprintf("rc6-%d", i), value, 0)
		if i%10 == 0 {
			if ok, body := conn.do(0x01, []byte("hot")); !ok {
				t.Fatalf("the key in use was evicted after %d writes: %s", i, body)
			}
		}
	}
	s := waitStatus(t, c, "status", proc.Healthy(3))
	var bytes uint64
	for i := range s.Groups {
		bytes += s.Groups[i].Bytes
	}
	if bytes > limit || bytes < limit/2 {
		t.Errorf("%d logical bytes under a limit of %d", bytes, limit)
	}
	if ok, body := conn.do(0x01, []byte("rc6-2999")); !ok {
		t.Errorf("the newest key is gone: %s", body)
	}
}

// TestParity_RC7: expired data goes away by itself.
func TestParity_RC7(t *testing.T) {
	c := startCluster(t, 3)
	conn := dialV1(t, c.Nodes()[0].Native())
	conn.set("stays", "v", 0)
	for i := range 500 { // on a busy machine the first are gone before the last are there
		conn.set(fmt.Sprintf("rc7-%d", i), "v", 5)
	}
	waitStatus(t, c, "keys to be counted", func(s *shard.Status) bool { return totalKeys(s) > 1 })
	waitStatus(t, c, "the expired keys to go", func(s *shard.Status) bool { return totalKeys(s) == 1 })
}

func totalKeys(s *shard.Status) (n uint64) {
	for i := range s.Groups {
		n += s.Groups[i].Keys
	}
	return n
}

// TestParity_RC8: everything acknowledged is there after all nodes were killed, from snapshot and log.
func TestParity_RC8(t *testing.T) {
	c := startCluster(t, 3)
	conn := dialV1(t, c.Nodes()[0].Native())
	for i := range 300 {
		conn.set(fmt.Sprintf("rc8-%d", i), fmt.Sprint(i), 0)
		if i == 150 {
			if code, body := httpDo(t, "POST", "http://"+c.Nodes()[0].HTTP()+"/v1/cluster/snapshot", ""); code >= 300 {
				t.Fatalf("snapshot: %d %s", code, body)
			}
		}
	}
	for _, n := range c.Nodes() {
		if err := c.Signal(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes() {
		if err := c.Start(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	waitStatus(t, c, "health", proc.Healthy(3))
	conn = dialV1(t, c.Nodes()[2].Native())
	for i := range 300 {
		if ok, body := conn.do(0x01, fmt.Appendf(nil, "rc8-%d", i)); !ok || body != fmt.Sprint(i) {
			t.Fatalf("key %d after the restart: %t %q", i, ok, body)
		}
	}
}

// TestParity_RC9: a node joins by naming one live node, and no key is lost.
func TestParity_RC9(t *testing.T) {
	c := startCluster(t, 3)
	conn := dialV1(t, c.Nodes()[0].Native())
	for i := range 300 {
		conn.set(fmt.Sprintf("rc9-%d", i), fmt.Sprint(i), 0)
	}
	n, err := c.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "replicas on the new node", func(s *shard.Status) bool {
		for i := range s.Nodes {
			if s.Nodes[i].Name == n.Name() {
				return s.Nodes[i].Replicas > 1 && proc.Healthy(4)(s)
			}
		}
		return false
	})
	conn = dialV1(t, n.Native())
	for i := range 300 {
		if ok, body := conn.do(0x01, fmt.Appendf(nil, "rc9-%d", i)); !ok || body != fmt.Sprint(i) {
			t.Fatalf("key %d through the new node: %t %q", i, ok, body)
		}
	}
}
