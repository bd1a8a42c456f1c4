// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

// bases counts what freeBase has looked at: no two tests are given the same one.
var bases atomic.Uint32

// freeBase is a port of this machine that is free now with the next few behind it. It lies below the
// ports that systems give to outgoing connections.
func freeBase(t *testing.T, count int) int {
	t.Helper()
	for range 100 {
		base := 20000 + 100*int(bases.Add(1)%100)
		free := true
		for i := range count {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
			if err != nil {
				free = false
				break
			}
			ln.Close()
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// deadAddr is an address of this machine where nothing listens.
func deadAddr(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freeBase(t, 1))
}

// wantWaiting: a node without a cluster answers status, and refuses data as not applied.
func wantWaiting(t *testing.T, d *daemon) {
	t.Helper()
	if s := d.status(); s.Cluster.Initialised || s.Cluster.Health != shard.HealthUninitialised || len(s.Warnings) == 0 || s.Warnings[0].Mend == "" {
		t.Errorf("status of a waiting node: %+v", s)
	}
	for _, row := range []struct{ method, path, body string }{
		{"PUT", "/v1/kv/k", "v"},
		{"GET", "/v1/kv/k", ""},
		{"DELETE", "/v1/kv/k", ""},
		{"POST", "/v1/exec", `["INCR","n"]`},
		{"GET", "/v1/keys", ""},
		{"PUT", "/v1/cache/k", "v"},
		{"POST", "/v1/exec", `["MSET","a","1","b","2"]`},
		{"POST", "/v1/exec", `["FLUSHALL"]`},
	} {
		code, body := httpDo(t, row.method, "http://"+d.http+row.path, row.body)
		if r := parseRefusal(t, body); code != http.StatusServiceUnavailable || r.Applied != "no" {
			t.Errorf("%s %s on a waiting node: %d %s", row.method, row.path, code, body)
		}
	}
	if code, _ := httpDo(t, "GET", "http://"+d.http+"/readyz", ""); code != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d", code)
	}
	if code, _ := httpDo(t, "GET", "http://"+d.http+"/livez", ""); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	conn := dialV1(t, d.native)
	if ok, body := conn.do(0x02, make([]byte, 8), []byte("k"), []byte("v")); ok || !strings.Contains(body, "not applied") {
		t.Errorf("native SET: %t %q", ok, body)
	}
}

// TestBadInputJoin: a node waits for a cluster through every failed attempt, joins for real, and
// refuses to be founded or to join from then on.
func TestBadInputJoin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "waiting")
	waiting := serveNode(t, dir, "--name", "late", "--timeout", "500ms")
	other := serveNode(t, filepath.Join(t.TempDir(), "other"))
	wantWaiting(t, waiting)
	dead := deadAddr(t)
	for _, row := range []struct{ member, want string }{
		{dead, "no member answered"},
		{other.peer, "belongs to no cluster"},
		{waiting.peer, ""},
		{"nonsense", "nonsense"},
		{other.native, other.native},
	} {
		wantCLI(t, 1, row.want, "join", row.member, "--addr", waiting.http)
	}
	wantCLI(t, 1, "no node answers at "+dead, "join", other.peer, "--addr", dead)
	wantWaiting(t, waiting)

	first := serveNode(t, filepath.Join(t.TempDir(), "first"), "--init", "--groups", "2", "--name", "first")
	first.founded()
	first.put("before", "the join")
	wantCLI(t, 0, "has joined", "join", dead, first.http, "--addr", waiting.http)
	eventually(t, "the new member in status", func() bool { return proc2(waiting) && proc2(first) })
	waiting.wantValue("before", "the join")
	eventually(t, "a write through the new member", func() bool { // which has little time for each
		code, _ := httpDo(t, "PUT", "http://"+waiting.http+"/v1/kv/after", "the join")
		return code == http.StatusNoContent
	})

	clusterID := waiting.status().Cluster.ID
	for _, member := range []string{first.peer, first.http, dead, other.peer} {
		wantCLI(t, 1, "belongs to a cluster already", "join", member, "--addr", waiting.http)
	}
	if code := waiting.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: code %d", code)
	}
	ports := []string{"serve", "--data", dir, "--name", "late", "--peer-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--native-addr", "127.0.0.1:0", "--resp-addr", "127.0.0.1:0"}
	for _, extra := range [][]string{{"--init"}, {"--join", first.peer}, {"--join", dead}} {
		wantCLI(t, 1, "belongs to a cluster already", append(ports, extra...)...)
	}
	again := startDaemon(t, nil, append(ports, "--if-new", "--join", dead)...)
	again.waitUp()
	again.wantValue("before", "the join")
	again.wantValue("after", "the join")
	if id := again.status().Cluster.ID; id != clusterID {
		t.Errorf("the node changed from cluster %s to %s", clusterID, id)
	}
}

// proc2: both nodes are up and every group is complete as far as two nodes go.
func proc2(d *daemon) bool {
	s := d.status()
	return proc.Healthy(2)(&s)
}

// TestBadInputJoinDead: serve --join waits for a member that is not there, can be stopped meanwhile,
// and gets in when it is.
func TestBadInputJoinDead(t *testing.T) {
	t.Parallel()
	addr := deadAddr(t)
	dir := filepath.Join(t.TempDir(), "joining")
	early := serveNode(t, dir, "--join", addr)
	eventually(t, "the node to say what it waits for", func() bool { return strings.Contains(early.said(), "no member can take this node yet") })
	if early.status().Cluster.Initialised {
		t.Error("a node without members counts itself in")
	}
	if code := early.stop(syscall.SIGINT); code != 0 {
		t.Errorf("SIGINT while joining: code %d: %s", code, early.said())
	}
	early = serveNode(t, dir, "--join", addr)
	first := serveNode(t, filepath.Join(t.TempDir(), "first"), "--init", "--groups", "1", "--peer-addr", addr)
	first.founded()
	first.put("k", "v")
	eventually(t, "the early node to get in", func() bool {
		return early.status().Cluster.Initialised && early.status().Cluster.ID == first.status().Cluster.ID
	})
	early.wantValue("k", "v")
}

// TestBadInputOtherCluster: a node of cluster A with its folder in the place of a member of cluster B
// stays in A: B shows its own node as down, and neither side's data changes.
func TestBadInputOtherCluster(t *testing.T) {
	b := startCluster(t, 3, "--groups", "2")
	conn := dialV1(t, b.Nodes()[0].Native())
	for i := range 30 {
		conn.set(fmt.Sprintf("b-%d", i), fmt.Sprint(i), 0)
	}
	dir := filepath.Join(t.TempDir(), "a")
	a := serveNode(t, dir, "--init", "--groups", "2", "--name", "stranger")
	a.founded()
	a.put("only-in-a", "1")
	idA := a.status().Cluster.ID
	a.stop(syscall.SIGTERM)

	victim := b.Nodes()[2]
	if err := b.Signal(victim, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	place := []string{"serve", "--data", dir, "--name", "node2", "--peer-addr", victim.Peer(), "--http-addr", victim.HTTP(), "--native-addr", victim.Native(), "--resp-addr", victim.RESP(), "--log-level", "debug"}
	wantCLI(t, 1, "belongs to a cluster already", append(place, "--join", b.Nodes()[0].Peer())...)
	stranger := startDaemon(t, nil, append(place, "--if-new", "--join", b.Nodes()[0].Peer())...)
	eventually(t, "a link of B to be refused", func() bool { return strings.Contains(stranger.said(), "peer connection refused") })
	stranger.http = victim.HTTP()
	wantCLI(t, 1, "belongs to a cluster already", "join", b.Nodes()[0].Peer(), "--addr", stranger.http)
	waitStatus(t, b, "node2 of B to be down", func(s *shard.Status) bool {
		down := false
		for i := range s.Nodes {
			down = down || s.Nodes[i].Name == "node2" && !s.Nodes[i].Alive
		}
		return s.Cluster.ID != idA && down && s.Cluster.Health == shard.HealthDegraded
	})
	conn.set("b-during", "the visit", 0)
	eventually(t, "the stranger to know its cluster", func() bool { return len(stranger.status().Nodes) > 0 })
	if s := stranger.status(); s.Cluster.ID != idA || len(s.Nodes) != 1 {
		t.Errorf("the stranger sees %+v", s)
	}
	stranger.wantValue("only-in-a", "1")
	if code, _ := httpDo(t, "GET", "http://"+stranger.http+"/v1/kv/b-1", ""); code != http.StatusNotFound {
		t.Errorf("a key of B through a node of A: %d", code)
	}
	conn.want(false, "not found", 0x01, []byte("only-in-a"))
	stranger.stop(syscall.SIGTERM)

	if err := b.Start(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, b, "health", proc.Healthy(3))
	conn = dialV1(t, victim.Native())
	conn.want(true, "the visit", 0x01, []byte("b-during"))
	for i := range 30 {
		conn.want(true, fmt.Sprint(i), 0x01, fmt.Appendf(nil, "b-%d", i))
	}
}
