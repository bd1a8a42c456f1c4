// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/link"
)

// defect skips a test that shows a defect of hashicorp/raft as it is shipped, unless asked for. It
// passes while the defect is there.
func defect(t *testing.T) {
	t.Helper()
	if os.Getenv("KVORUM_SHOW_DEFECTS") != "1" {
		t.Skip("shows a defect of plain hashicorp/raft; set KVORUM_SHOW_DEFECTS=1 to run")
	}
}

const (
	testGroup = 7
	testPort  = ":7400"
)

// The replicas of the test group: a is the real one, b and c are played by the test.
var (
	idA = ServerID("a", 1)
	idB = ServerID("b", 2)
	idC = ServerID("c", 3)
)

// probe sends messages to replica a in the name of another.
type probe interface {
	append(from raft.ServerID, a *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error)
	vote(from raft.ServerID, v *raft.RequestVoteRequest) (granted bool, err error)
	preVote(from raft.ServerID, v *raft.RequestPreVoteRequest) (granted bool, err error)
	timeoutNow(from raft.ServerID, term uint64) error
	install(from raft.ServerID, s *raft.InstallSnapshotRequest, body string) (*raft.InstallSnapshotResponse, error)
}

func rpcHeader(from raft.ServerID) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(from), Addr: []byte(from)}
}

// plainTransport is raft's in-memory transport with the fast path for heartbeats that raft's
// network transport has.
type plainTransport struct {
	*raft.InmemTransport
	consumer  chan raft.RPC
	heartbeat func(raft.RPC)
}

func (p *plainTransport) SetHeartbeatHandler(f func(raft.RPC)) { p.heartbeat = f }
func (p *plainTransport) Consumer() <-chan raft.RPC            { return p.consumer }
func (p *plainTransport) Close() error                         { return nil }

// plainProbe talks to a raft with plainTransport.
type plainProbe struct{ to *plainTransport }

// send makes one round trip, choosing the way that raft's network transport chooses.
func (p plainProbe) send(command any, body io.Reader) (any, error) {
	answer := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{Command: command, Reader: body, RespChan: answer}
	if a, ok := command.(*raft.AppendEntriesRequest); ok && a.Term != 0 && len(a.Addr) > 0 &&
		a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0 {
		p.to.heartbeat(rpc)
	} else {
		p.to.consumer <- rpc
	}
	r := <-answer
	return r.Response, r.Error
}

func (p plainProbe) append(from raft.ServerID, a *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
	a.RPCHeader = rpcHeader(from)
	r, err := p.send(a, nil)
	if err != nil {
		return nil, err
	}
	return r.(*raft.AppendEntriesResponse), nil
}

func (p plainProbe) vote(from raft.ServerID, v *raft.RequestVoteRequest) (bool, error) {
	v.RPCHeader = rpcHeader(from)
	r, err := p.send(v, nil)
	if err != nil {
		return false, err
	}
	return r.(*raft.RequestVoteResponse).Granted, nil
}

func (p plainProbe) preVote(from raft.ServerID, v *raft.RequestPreVoteRequest) (bool, error) {
	v.RPCHeader = rpcHeader(from)
	r, err := p.send(v, nil)
	if err != nil {
		return false, err
	}
	return r.(*raft.RequestPreVoteResponse).Granted, nil
}

func (p plainProbe) timeoutNow(from raft.ServerID, _ uint64) error {
	_, err := p.send(&raft.TimeoutNowRequest{RPCHeader: rpcHeader(from)}, nil)
	return err
}

func (p plainProbe) install(from raft.ServerID, s *raft.InstallSnapshotRequest, body string) (*raft.InstallSnapshotResponse, error) {
	s.RPCHeader = rpcHeader(from)
	s.SnapshotVersion = raft.SnapshotVersionMax
	s.Size = int64(len(body))
	r, err := p.send(s, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return r.(*raft.InstallSnapshotResponse), nil
}

// safeProbe writes messages straight onto links, past the sending side's rules.
type safeProbe struct {
	links map[string]*link.Link
	// group and to are the envelope's.
	group uint32
	to    uint64
}

func (p safeProbe) envelope(typ byte, from raft.ServerID) (*link.Link, []byte) {
	node, number, err := ParseServerID(from)
	if err != nil {
		panic(err)
	}
	return p.links[node], appendEnvelope(nil, envelope{
		Type: typ, Group: p.group, From: number, To: p.to, Protocol: byte(raft.ProtocolVersionMax),
	})
}

func (p safeProbe) call(l *link.Link, msg []byte) ([]byte, error) {
	reply, err := l.Call(context.Background(), "a", link.ClassRaft, msg)
	if err != nil {
		return nil, err
	}
	return opened(reply)
}

func (p safeProbe) append(from raft.ServerID, a *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
	l, head := p.envelope(typeAppend, from)
	var msg []byte
	for _, part := range appendAppend(head, a) {
		msg = append(msg, part...)
	}
	reply, err := p.call(l, msg)
	if err != nil {
		return nil, err
	}
	var r raft.AppendEntriesResponse
	return &r, parseAppendReply(reply, &r)
}

func (p safeProbe) vote(from raft.ServerID, v *raft.RequestVoteRequest) (bool, error) {
	l, head := p.envelope(typeVote, from)
	reply, err := p.call(l, appendVote(head, v))
	if err != nil {
		return false, err
	}
	_, granted, err := parseVerdict(reply)
	return granted, err
}

func (p safeProbe) preVote(from raft.ServerID, v *raft.RequestPreVoteRequest) (bool, error) {
	l, head := p.envelope(typePreVote, from)
	reply, err := p.call(l, appendPreVote(head, v))
	if err != nil {
		return false, err
	}
	_, granted, err := parseVerdict(reply)
	return granted, err
}

func (p safeProbe) timeoutNow(from raft.ServerID, term uint64) error {
	l, head := p.envelope(typeTimeoutNow, from)
	_, err := p.call(l, appendTimeoutNow(head, term))
	return err
}

func (p safeProbe) install(from raft.ServerID, s *raft.InstallSnapshotRequest, body string) (*raft.InstallSnapshotResponse, error) {
	l, head := p.envelope(typeInstall, from)
	s.SnapshotVersion = raft.SnapshotVersionMax
	s.Size = int64(len(body))
	return p.stream(l, appendInstall(head, s), body)
}

func (p safeProbe) stream(l *link.Link, head []byte, body string) (*raft.InstallSnapshotResponse, error) {
	s, err := l.OpenStream(context.Background(), "a", link.ClassBulk, head)
	if err != nil {
		return nil, err
	}
	defer s.Cancel()
	_, _ = s.Write([]byte(body))
	reply, err := s.Finish()
	if err == nil {
		reply, err = opened(reply)
	}
	if err != nil {
		return nil, err
	}
	term, success, err := parseVerdict(reply)
	return &raft.InstallSnapshotResponse{Term: term, Success: success}, err
}

var quiet = slog.New(slog.DiscardHandler)

func newLink(t *testing.T, h *host.Host, node string) *link.Link {
	t.Helper()
	l, err := link.New(link.Config{Host: h, Node: node, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	l.SetCluster(link.Identity{Cluster: "test"})
	l.SetDirectory(func(n string) (string, bool) { return n + testPort, true })
	if err := l.Listen(testPort); err != nil {
		t.Fatal(err)
	}
	return l
}

func newMux(t *testing.T, l *link.Link, overdue func() bool) *Mux {
	t.Helper()
	m, err := NewMux(Config{Link: l, Logger: quiet, DiskOverdue: overdue})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// onPlain runs f in a bubble with replica a on raft's own transport.
func onPlain(t *testing.T, f func(t *testing.T, r *replica, p probe)) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplica(idA)
		_, trans := raft.NewInmemTransport(raft.ServerAddress(idA))
		pt := &plainTransport{InmemTransport: trans, consumer: make(chan raft.RPC)}
		r.start(t, pt)
		defer r.stop(t)
		f(t, r, plainProbe{pt})
	})
}

// onSafe runs f in a bubble with replica a on this package's transport.
func onSafe(t *testing.T, f func(t *testing.T, r *replica, p safeProbe, tr *Transport)) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		p := safeProbe{links: map[string]*link.Link{}, group: testGroup, to: 1}
		for _, node := range []string{"b", "c", "x"} {
			p.links[node] = newLink(t, w.Host(node), node)
		}
		l := newLink(t, w.Host("a"), "a")
		tr, err := newMux(t, l, nil).Open(testGroup, 1)
		if err != nil {
			t.Fatal(err)
		}
		r := newReplica(idA)
		r.start(t, tr)
		defer func() {
			r.stop(t)
			_ = l.Close()
			for _, l := range p.links {
				_ = l.Close()
			}
		}()
		f(t, r, p, tr)
	})
}

// entries makes commands with indexes lo to hi of one term.
func entries(term, lo, hi uint64) []*raft.Log {
	var out []*raft.Log
	for i := lo; i <= hi; i++ {
		out = append(out, &raft.Log{
			Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "t%d", term),
			AppendedAt: time.Unix(int64(i), 0),
		})
	}
	return out
}

// seed gives the follower a configuration of a, b and c as entry 1, of term 1 and leader b, and
// commands up to last, of which commit are committed.
func seed(t *testing.T, p probe, last, commit uint64) {
	t.Helper()
	conf := &raft.Log{
		Index: 1, Term: 1, Type: raft.LogConfiguration,
		Data: raft.EncodeConfiguration(servers(idA, idB, idC)),
	}
	r, err := p.append(idB, &raft.AppendEntriesRequest{
		Term: 1, Entries: append([]*raft.Log{conf}, entries(1, 2, last)...), LeaderCommitIndex: commit,
	})
	if err != nil || !r.Success {
		t.Fatalf("seed: %+v, %v", r, err)
	}
	synctest.Wait()
}
