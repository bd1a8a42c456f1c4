// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/raftnode"
)

// busItems makes items of messages as they wait in a queue.
func busItems(messages ...Message) (items []busItem) {
	for i := range messages {
		items = append(items, busItem{body: appendBusMessage(nil, &messages[i])})
	}
	return items
}

func FuzzBusFrame(f *testing.F) {
	m := []Message{{Channel: []byte("c"), Data: []byte("hello")}, {Sharded: true}, {Channel: []byte("x"), Data: []byte(strings.Repeat("y", 300))}}
	whole := appendBusFrame(3, 7, busItems(m...))
	f.Add(whole)
	f.Add(appendBusFrame(1, 1, busItems(m[0])))
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := parseBusFrame(src)
		if err != nil {
			return
		}
		if again := appendBusFrame(p.incarnation, p.sequence, busItems(p.messages...)); !slices.Equal(again, src) {
			t.Fatalf("%x became %x", src, again)
		}
	})
}

// TestBusFrames: frames come back as they went out, and no cut or changed one is taken for a whole.
func TestBusFrames(t *testing.T) {
	m := []Message{{Channel: []byte("c"), Data: []byte("hello")}, {Sharded: true, Channel: []byte("d")}}
	whole := appendBusFrame(3, 7, busItems(m...))
	f, err := parseBusFrame(whole)
	if err != nil || f.incarnation != 3 || f.sequence != 7 || fmt.Sprint(f.messages) != fmt.Sprint(m) {
		t.Fatalf("%+v %v", f, err)
	}
	for n := range whole {
		if _, err := parseBusFrame(whole[:n]); !errors.Is(err, errFrame) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for at, b := range map[int]byte{0: 2, 1: 3, 21: 9, busHead: 3} {
		bad := slices.Clone(whole)
		bad[at] = b
		if _, err := parseBusFrame(bad); err == nil {
			t.Errorf("byte %d as %d is accepted", at, b)
		}
	}
	if _, err := parseBusFrame(append(slices.Clone(whole), 0)); err == nil {
		t.Error("a byte too many is accepted")
	}
	reply := appendBusReply(nil, answered, []uint32{1, 70000})
	if counts, err := parseBusReply(reply, 2); err != nil || counts[0] != 1 || counts[1] != 70000 {
		t.Errorf("%v %v", counts, err)
	}
	for n := range reply {
		if _, err := parseBusReply(reply[:n], 2); err == nil {
			t.Errorf("%d bytes of a reply are accepted", n)
		}
	}
	if _, err := parseBusReply(reply, 1); err == nil {
		t.Error("a reply for two is accepted for one")
	}
	old := appendForwardReply(nil, forwardPublish, refusedInvalid, raftnode.Hint{}, nil)
	if _, err := parseBusReply(old, 2); err == nil {
		t.Error("a refusal is taken for an answer")
	}
}

// TestBusSource: of the frames of a node each is delivered at most once, none behind a later one, and those
// of a new process count anew.
func TestBusSource(t *testing.T) {
	r := newRouter(routerConfig{Self: "n0", Incarnation: 1})
	defer r.close()
	var got []string
	r.Bus().Receive(func(m *Message) int {
		got = append(got, string(m.Data))
		return len(got)
	})
	for _, step := range []struct {
		from                  string
		incarnation, sequence uint64
		want                  verdict
	}{
		{"n1", 2, 5, answered},
		{"n1", 2, 5, refusedOrder},
		{"n1", 2, 4, refusedOrder},
		{"n1", 2, 9, answered},
		{"n2", 1, 1, answered},
		{"n1", 1, 100, refusedOrder},
		{"n1", 3, 1, answered},
		{"n1", 2, 10, refusedOrder},
	} {
		text := fmt.Sprint(step.from, " ", step.incarnation, " ", step.sequence)
		reply := r.bus.serve(t.Context(), step.from, appendBusFrame(step.incarnation, step.sequence, busItems(Message{Data: []byte(text)})))
		if verdict(reply[1]) != step.want {
			t.Errorf("%s: %v", text, verdict(reply[1]))
		}
	}
	if want := "n1 2 5,n1 2 9,n2 1 1,n1 3 1"; strings.Join(got, ",") != want {
		t.Errorf("delivered %v, want %s", got, want)
	}
	if s := r.Bus().Stats(); s.Late != 4 {
		t.Errorf("%d late frames", s.Late)
	}
	if v := verdict(r.bus.serve(t.Context(), "n1", []byte{forwardVersion, forwardPublish})[1]); v != refusedInvalid {
		t.Errorf("half a frame: %v", v)
	}
}
