// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// vouchingGroup is a replica whose leader is n1. It tells whether its word was asked for before a batch was closed.
type vouchingGroup struct {
	instantGroup
	rd    *reader
	early bool
}

func (g *vouchingGroup) Leader() raftnode.Hint { return raftnode.Hint{Node: "n1", Term: 1} }
func (g *vouchingGroup) IsLeader() bool        { return false }
func (g *vouchingGroup) Vouch() raftnode.Voucher {
	g.rd.mu.Lock()
	defer g.rd.mu.Unlock()
	g.early = g.early || len(g.rd.queue) != 0 || len(g.rd.flying) != 1
	return raftnode.Voucher{Replica: 7, Term: 3}
}

// answeringLink answers reads, and keeps the voucher of the last.
type answeringLink struct{ got raftnode.Voucher }

func (l *answeringLink) Call(_ context.Context, _ string, _ raftnode.Class, req []byte) ([]byte, error) {
	q, err := parseForwardRequest(req)
	if err != nil || q.Kind != forwardRead {
		return nil, errors.Join(err, errFrame)
	}
	l.got = q.Voucher
	sub := &fsm.Sub{Results: make([]fsm.Result, q.Count)}
	for i := range sub.Results {
		sub.Results[i] = fsm.Int(1)
	}
	return appendForwardReply(nil, forwardRead, answered, raftnode.Hint{}, sub), nil
}

// TestReadersVouchLate: forwarded reads carry the word of this node's replica, from after their batch was closed. Given
// earlier, it would say nothing about reads that came behind it.
func TestReadersVouchLate(t *testing.T) {
	link := &answeringLink{}
	r := newRouter(routerConfig{Self: "n0", Incarnation: 1, Table: fsm.Data(), Logger: slog.New(slog.DiscardHandler), Link: link})
	m := &Map{Epoch: 1, Version: 1, Groups: map[uint32]GroupPlace{1: {Replicas: []string{"n0", "n1"}}}}
	for s := range m.Slots {
		m.Slots[s] = 1
	}
	r.setMap(m)
	g := &vouchingGroup{rd: &r.route(1).reads}
	r.attach(1, g)
	defer r.close()
	out := make([]Reply, 1)
	r.Do(context.Background(), &Caller{}, []fsm.Command{cmd(fsm.OpGet, "k")}, out)
	if out[0].Err != nil || out[0].Result.Int != 1 {
		t.Fatalf("%+v", out[0])
	}
	if g.early || link.got != (raftnode.Voucher{Replica: 7, Term: 3}) {
		t.Errorf("early %v, sent %+v", g.early, link.got)
	}
}
