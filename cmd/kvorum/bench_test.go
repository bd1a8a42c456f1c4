// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/shard"
)

// TestBenchGone: a node that stops answering does not keep bench beyond its time.
func TestBenchGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m := newMember(t)
	m.answer = func(w http.ResponseWriter, _ *http.Request) {
		s := trio()
		s.Nodes = s.Nodes[:1]
		s.Nodes[0].Addrs = map[string]string{"native": ln.Addr().String()}
		_ = printJSON(w, &shard.Status{Cluster: s.Cluster, Nodes: s.Nodes})
	}
	began := time.Now()
	got := m.run("bench", "--duration", "100ms", "--timeout", "200ms", "--clients", "2")
	if took := time.Since(began); got.code != exitFailed || took > 20*time.Second || !strings.Contains(got.err, "kvorum: ") {
		t.Errorf("%v: %+v", took, got)
	}
}
