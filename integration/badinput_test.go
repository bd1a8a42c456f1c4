// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kvorum/kvorum/shard"
)

// lineTime bounds one command line that is expected to end.
const lineTime = 30 * time.Second

// runCLI runs one command line of the real program to its end.
func runCLI(t *testing.T, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lineTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("kvorum %v: %v", args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("kvorum %v did not end: %s", args, stderr.String())
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// wantCLI runs a command line and compares its code and what it says.
func wantCLI(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	got, out, errs := runCLI(t, nil, args...)
	if got != code || !strings.Contains(out+errs, text) {
		t.Errorf("kvorum %s: code %d, %q %q; want code %d and %q", strings.Join(args, " "), got, out, errs, code, text)
	}
}

// daemon is a long-running command of the program. Its ports are picked by the system.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	// peer, http and native are the addresses that the node says it listens on.
	peer, http, native string
}

// startDaemon starts a command without waiting for anything. It ends with the test.
func startDaemon(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.CreateTemp(t.TempDir(), "*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &daemon{t: t, log: log.Name(), done: make(chan struct{}), cmd: exec.Command(bin, args...)}
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.done)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.done
		if t.Failed() {
			text := d.said()
			t.Logf("%v:\n%s", args, text[max(0, len(text)-4<<10):])
		}
	})
	return d
}

// serveNode starts a node on a folder and waits until it listens.
func serveNode(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	ports := []string{"serve", "--data", dir, "--peer-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--native-addr", "127.0.0.1:0", "--resp-addr", "127.0.0.1:0"}
	d := startDaemon(t, nil, append(ports, args...)...)
	d.waitUp()
	return d
}

func (d *daemon) said() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

var upLine = regexp.MustCompile(`msg="node is up".* peer=(\S+) http=(\S+) native=(\S+)`)

func (d *daemon) waitUp() {
	d.t.Helper()
	var m []string
	eventually(d.t, "the node to listen", func() bool {
		if d.ended() {
			d.t.Fatalf("the node ended: %s", d.said())
		}
		m = upLine.FindStringSubmatch(d.said())
		return m != nil
	})
	d.peer, d.http, d.native = m[1], m[2], m[3]
}

func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// stop sends a signal and gives the exit code.
func (d *daemon) stop(sig syscall.Signal) int {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
	return d.wait()
}

func (d *daemon) wait() int {
	d.t.Helper()
	select {
	case <-d.done:
		return d.cmd.ProcessState.ExitCode()
	case <-time.After(lineTime):
		d.t.Fatalf("%v did not end:\n%s", d.cmd.Args, d.said())
		return -1
	}
}

// status asks the node for its view of the cluster.
func (d *daemon) status() (s shard.Status) {
	d.t.Helper()
	code, body := httpDo(d.t, "GET", "http://"+d.http+"/v1/cluster", "")
	if err := json.Unmarshal([]byte(body), &s); code != http.StatusOK || err != nil {
		d.t.Fatalf("status: %d %s: %v", code, body, err)
	}
	return s
}

// founded waits until the node can take writes.
func (d *daemon) founded() {
	d.t.Helper()
	eventually(d.t, "the cluster to be founded", func() bool { return d.status().Cluster.Health != shard.HealthUninitialised })
	eventually(d.t, "a write", func() bool {
		code, _ := httpDo(d.t, "PUT", "http://"+d.http+"/v1/kv/founded", "yes")
		return code == 204
	})
}

// wantValue reads a key through the node.
func (d *daemon) wantValue(key, want string) {
	d.t.Helper()
	eventually(d.t, key+" to be readable", func() bool {
		code, body := httpDo(d.t, "GET", "http://"+d.http+"/v1/kv/"+key, "")
		if code == http.StatusOK && body != want {
			d.t.Fatalf("%s is %q, want %q", key, body, want)
		}
		return code == http.StatusOK
	})
}

func (d *daemon) put(key, value string) {
	d.t.Helper()
	if code, body := httpDo(d.t, "PUT", "http://"+d.http+"/v1/kv/"+key, value); code != http.StatusNoContent {
		d.t.Fatalf("PUT %s: %d %s", key, code, body)
	}
}

// refusal is the body of a failed request.
type refusal struct{ Error, Kind, Applied, Leader string }

func parseRefusal(t *testing.T, body string) (r refusal) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Error == "" || r.Kind == "" {
		t.Fatalf("a failure without its words: %q: %v", body, err)
	}
	return r
}

// TestBadInputFlags: the program refuses what makes no sense, all of it at once, before it touches
// anything.
func TestBadInputFlags(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	wantCLI(t, 2, "--bogus", "serve", "--data", dir, "--bogus")
	wantCLI(t, 2, "--port", "serve", "--data", dir, "--port", "seven")
	wantCLI(t, 2, "--insecure", "serve", "--data", dir, "--bind", "0.0.0.0")
	wantCLI(t, 2, "--http-addr", "serve", "--data", dir, "--http-addr", ":7401")
	code, _, errs := runCLI(t, []string{"KVORUM_HEARTBEAT=soon"}, "serve", "--data", dir, "--groups", "0", "--replicas", "2", "--log-level", "loud", "--maxmemory-policy", "whim")
	for _, want := range []string{"--groups", "--replicas", "--log-level", "--maxmemory-policy", "KVORUM_HEARTBEAT"} {
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("code %d, and %s is not named: %s", code, want, errs)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data folder was touched: %v", err)
	}
	file := filepath.Join(t.TempDir(), "kvorum.conf")
	if err := os.WriteFile(file, []byte("name: by-file\nzone: by-file\ngroups: 1\nreplicas: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, []string{"KVORUM_CONFIG=" + file, "KVORUM_ZONE=by-environment", "KVORUM_GROUPS=2", "KVORUM_DATA=" + dir, "KVORUM_INIT=true"},
		"serve", "--peer-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--native-addr", "off", "--resp-addr", "off", "--groups", "3")
	d.waitUp()
	d.founded()
	s := d.status()
	if n := s.Nodes[0]; n.Name != "by-file" || n.Zone != "by-environment" || len(s.Groups) != 1+3 {
		t.Errorf("flag, environment, file: %d groups, %+v", len(s.Groups), n)
	}
	if s.Nodes[0].Addrs["native"] != "" || d.native != "off" {
		t.Errorf("a listener that is off: %v, %s", s.Nodes[0].Addrs, d.native)
	}
}

// TestBadInputPortInUse: a port that is taken is named, and the data folder is not made.
func TestBadInputPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	dir := filepath.Join(t.TempDir(), "data")
	for _, flag := range []string{"--peer-addr", "--http-addr", "--native-addr", "--resp-addr"} {
		args := []string{"serve", "--init", "--data", dir, "--peer-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--native-addr", "127.0.0.1:0", "--resp-addr", "127.0.0.1:0", flag, taken}
		code, _, errs := runCLI(t, nil, args...)
		if code != 1 || !strings.Contains(errs, taken) || !strings.Contains(errs, "address already in use") {
			t.Errorf("%s: code %d, %s", flag, code, errs)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data folder was touched: %v", err)
	}
}

// TestBadInputSameFolder: one folder, one process, one kind of log; the process that is there goes on.
func TestBadInputSameFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first := serveNode(t, dir, "--init", "--groups", "2")
	first.founded()
	first.put("k", "v")
	ports := []string{"--peer-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--native-addr", "127.0.0.1:0", "--resp-addr", "127.0.0.1:0"}
	for _, extra := range [][]string{nil, {"--init"}, {"--if-new", "--init"}, {"--join", first.peer}} {
		wantCLI(t, 1, "in use by another process", append(append([]string{"serve", "--data", dir}, ports...), extra...)...)
	}
	first.wantValue("k", "v")
	first.put("k", "w")
	if code := first.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("code %d", code)
	}
	wantCLI(t, 1, "log store", append([]string{"serve", "--data", dir, "--log-store", "bolt"}, ports...)...)
	serveNode(t, dir).wantValue("k", "w")
}

// TestBadInputFolder: folders that cannot be one are refused with their names.
func TestBadInputFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/kvorum"} {
		code, _, errs := runCLI(t, nil, "serve", "--init", "--data", dir, "--peer-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--native-addr", "127.0.0.1:0", "--resp-addr", "127.0.0.1:0")
		if code != 1 || !strings.Contains(errs, "data folder") {
			t.Errorf("%s: code %d, %s", dir, code, errs)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file became %q, %v", text, err)
	}
}
