// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestBadInputSignals: SIGINT and SIGTERM end a node with code 0 and its data on disk.
func TestBadInputSignals(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	d := serveNode(t, dir, "--init", "--groups", "2")
	d.founded()
	for i, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGINT} {
		key := "k" + strconv.Itoa(i)
		d.put(key, sig.String())
		if code := d.stop(sig); code != 0 || !strings.Contains(d.said(), "msg=stopping") {
			t.Errorf("%v: code %d: %s", sig, code, d.said())
		}
		d = serveNode(t, dir)
		d.wantValue(key, sig.String())
	}
	waiting := serveNode(t, filepath.Join(t.TempDir(), "waiting"))
	if code := waiting.stop(syscall.SIGINT); code != 0 {
		t.Errorf("SIGINT of a waiting node: code %d: %s", code, waiting.said())
	}
}

// TestBadInputDev: dev stops its nodes with itself, finds the data again, and ends with the reason when
// a node cannot start.
func TestBadInputDev(t *testing.T) {
	t.Parallel()
	base := freeBase(t, 30)
	dir := filepath.Join(t.TempDir(), "dev")
	args := []string{"dev", "--data", dir, "--port", strconv.Itoa(base), "--groups", "2"}
	up := func() *daemon {
		d := startDaemon(t, nil, args...)
		d.http = fmt.Sprintf("127.0.0.1:%d", base+1)
		eventually(t, "the cluster", func() bool {
			if d.ended() {
				t.Fatalf("dev ended: %s", d.said())
			}
			return strings.Contains(d.said(), "3 nodes are up")
		})
		return d
	}
	gone := func(want bool) {
		t.Helper()
		for i := range 3 {
			for j := range 3 {
				addr := fmt.Sprintf("127.0.0.1:%d", base+10*i+j)
				if conn, err := net.Dial("tcp", addr); err == nil {
					conn.Close()
					if want {
						t.Errorf("something still listens on %s", addr)
					}
				} else if !want {
					t.Errorf("nothing listens on %s: %v", addr, err)
				}
			}
		}
	}
	for i, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		d := up()
		gone(false)
		if i > 0 {
			d.wantValue("k", strconv.Itoa(i-1))
		}
		d.put("k", strconv.Itoa(i))
		if code := d.stop(sig); code != 0 || !strings.Contains(d.said(), "all nodes stopped") {
			t.Errorf("%v: code %d: %s", sig, code, d.said())
		}
		gone(true)
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+11))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := startDaemon(t, nil, args...)
	if code := d.wait(); code != 1 || !strings.Contains(d.said(), "node 1: ") || !strings.Contains(d.said(), "address already in use") {
		t.Errorf("a port in use: code %d: %s", code, d.said())
	}
	ln.Close()
	gone(true)
	d = up()
	d.wantValue("k", "1")
}

// TestBadInputDevLeave: a node that leaves a cluster of dev does not end it.
func TestBadInputDevLeave(t *testing.T) {
	t.Parallel()
	base := freeBase(t, 30)
	d := startDaemon(t, nil, "dev", "--data", filepath.Join(t.TempDir(), "dev"), "--port", strconv.Itoa(base), "--groups", "1")
	d.http = fmt.Sprintf("127.0.0.1:%d", base+1)
	eventually(t, "the cluster", func() bool { return d.ended() || strings.Contains(d.said(), "3 nodes are up") })
	d.put("k", "v")
	wantCLI(t, 0, "has left", "leave", "node2", "--addr", d.http)
	eventually(t, "dev to notice", func() bool { return d.ended() || strings.Contains(d.said(), "node2 has left the cluster") })
	d.wantValue("k", "v")
	wantCLI(t, 1, "no such node", "leave", "node2", "--addr", d.http)
	if code := d.stop(syscall.SIGINT); code != 0 {
		t.Errorf("code %d", code)
	}
}

// TestBadInputCLI: the codes of the data commands against a real node, and keys of any bytes.
func TestBadInputCLI(t *testing.T) {
	t.Parallel()
	d := serveNode(t, filepath.Join(t.TempDir(), "data"), "--init", "--groups", "2")
	d.founded()
	env := []string{"KVORUM_ADDR=" + d.http}
	want := func(code int, wantOut, wantErr string, args ...string) {
		t.Helper()
		got, out, errs := runCLI(t, env, args...)
		if got != code || out != wantOut || !strings.Contains(errs, wantErr) || wantErr == "" && errs != "" {
			t.Errorf("kvorum %q: code %d, %q %q; want code %d, %q and %q", args, got, out, errs, code, wantOut, wantErr)
		}
	}
	want(4, "", `"absent" does not exist`, "get", "absent")
	want(0, "OK\n", "", "set", "k", "v")
	want(0, "v\n", "", "get", "k")
	want(1, "", "condition", "set", "k", "w", "--nx")
	want(1, "", "VERSION", "set", "k", "w", "--if-version", "999999")
	want(0, "v\n", "", "get", "k")
	want(0, "3\n", "", "exec", "RPUSH", "list", "a", "b", "c")
	want(1, "", "WRONGTYPE", "get", "list")
	want(1, "", "WRONGTYPE", "exec", "GET", "list")
	want(1, "", "not an integer", "exec", "INCR", "k")
	want(1, "", "wrong number of arguments", "exec", "SET", "k")
	want(1, "", "unknown command", "exec", "NONSENSE", "k")
	want(1, "", "syntax error", "exec", "SET", "k", "w", "EX", "5", "PX", "5")
	want(0, "v\n", "", "get", "k")
	want(0, "1\n", "", "del", "k", "absent")
	want(0, "null\n", "", "exec", "GET", "k")
	want(1, "", "no node answers", "get", "k", "--addr", deadAddr(t))
	oddKeys(t, d, want)
}

// oddKeys sends keys of any bytes through the command line, paths and JSON: all name the same entry.
func oddKeys(t *testing.T, d *daemon, want func(code int, wantOut, wantErr string, args ...string)) {
	t.Helper()
	for i, key := range []string{"", " ", "a b", "/", "//", "a//b", "..", "../x", "%", "%2F", "%00", "a?b=c#d", "a+b", "-dash", "ключ", "\xff\xfe", "a\nb", "{tag}x"} {
		value := fmt.Sprintf("value %d", i)
		want(0, "OK\n", "", "set", "--", key, value)
		want(0, value+"\n", "", "get", "--", key)
		want(0, mustJSON(t, value)+"\n", "", "exec", "GET", key)
		want(0, "1\n", "", "exec", "EXISTS", key)
	}
	// A NUL byte cannot be an argument of a process: it goes over HTTP in both forms.
	url := "http://" + d.http
	if code, body := httpDo(t, "POST", url+"/v1/exec", `["SET",{"base64":"AGEA/w=="},"nul"]`); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, body := httpDo(t, "GET", url+"/v1/kv/%00a%00%FF", ""); code != 200 || body != "nul" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := httpDo(t, "POST", url+"/v1/exec", `["EXISTS","\u0000a\u0000"]`); code != 200 || strings.TrimSpace(body) != "0" {
		t.Errorf("%d %q", code, body)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
