// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestGoldenBytesV2(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{
			"plain get", AppendRequest(nil, 7, &Request{Op: OpGet, Args: [][]byte{[]byte("k")}}),
			"\x00\x00\x00\x15" + "\x01" + "\x00\x00\x00\x00\x00\x00\x00\x07" + "\x01\x00" + "\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x01k",
		},
		{"all flags", AppendRequest(nil, 1, &Request{
			Op: OpIncr, Token: Token{Client: [16]byte{0: 0xaa, 15: 0xbb}, Seq: 3},
			Deadline: 1500 * time.Microsecond, Consistency: Stale, Ordered: true,
		}), "\x00\x00\x00\x2d" + "\x01" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x01\x06" + "\x0f" +
			"\xaa" + strings.Repeat("\x00", 14) + "\xbb" + "\x00\x00\x00\x00\x00\x00\x00\x03" + "\x00\x00\x00\x02" + "\x01" + "\x00\x00\x00\x00"},
		{"ping", AppendBare(nil, FramePing, 9), "\x00\x00\x00\x09" + "\x03" + "\x00\x00\x00\x00\x00\x00\x00\x09"},
		{
			"failure", AppendFailure(nil, 2, &Failure{Kind: FailUnknown, Applied: AppliedUnknown, RetryAfter: time.Second, Leader: "n", Text: "no"}),
			"\x00\x00\x00\x15" + "\x82" + "\x00\x00\x00\x00\x00\x00\x00\x02" + "\x08\x01" + "\x00\x00\x03\xe8" + "\x01n" + "\x00\x02no",
		},
		{
			"push", AppendPush(nil, Push{Kind: PushTopology, Version: 5}),
			"\x00\x00\x00\x12" + "\x84" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x01" + "\x00\x00\x00\x00\x00\x00\x00\x05",
		},
		{
			"result", EndResult(AppendInt(BeginResult(nil, 4, "L"), -1), 0),
			"\x00\x00\x00\x15" + "\x81" + "\x00\x00\x00\x00\x00\x00\x00\x04" + "\x01\x01L" + "\x02\xff\xff\xff\xff\xff\xff\xff\xff",
		},
	}
	for _, tt := range tests {
		if string(tt.got) != tt.want {
			t.Errorf("%s:\n% x, want\n% x", tt.name, tt.got, tt.want)
		}
	}
}

func TestFrameEveryPrefix(t *testing.T) {
	frame := AppendRequest(nil, 1, &Request{Op: OpSet, Args: [][]byte{[]byte("k"), []byte("value")}})
	for i := range frame {
		_, n, need, err := ParseFrame(frame[:i], MaxFrame)
		if n != 0 || err != nil || need <= i || need > len(frame) {
			t.Fatalf("prefix of %d: n %d, need %d, err %v", i, n, need, err)
		}
	}
	f, n, _, err := ParseFrame(append(frame, 1, 2, 3), MaxFrame)
	if err != nil || n != len(frame) || f.Type != FrameRequest || f.ID != 1 {
		t.Fatalf("whole frame: %+v, n %d, err %v", f, n, err)
	}
}

func TestFrameLimits(t *testing.T) {
	tests := []struct {
		name string
		size uint32
		want error
	}{
		{"at the limit", 100, nil},
		{"over the limit", 101, ErrTooLong},
		{"largest", 1<<32 - 1, ErrTooLong},
		{"no id", 8, ErrMalformed},
		{"zero", 0, ErrMalformed},
	}
	for _, tt := range tests {
		_, n, _, err := ParseFrame(binary.BigEndian.AppendUint32(nil, tt.size), 100)
		if n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: n %d, err %v, want %v", tt.name, n, err, tt.want)
		}
	}
}

func body(t *testing.T, frame []byte) []byte {
	t.Helper()
	f, n, _, err := ParseFrame(frame, MaxReply)
	if err != nil || n != len(frame) {
		t.Fatalf("frame of %d bytes: n %d, err %v", len(frame), n, err)
	}
	return f.Body
}

func TestRequestRoundTrip(t *testing.T) {
	args := [][]byte{[]byte("key"), {}, bytes.Repeat([]byte("x"), 1000)}
	for flags := range 16 {
		q := Request{Op: OpSet, Args: args}
		if flags&1 != 0 {
			q.Token = Token{Client: [16]byte{1, 2}, Seq: 99}
		}
		if flags&2 != 0 {
			q.Deadline = 250 * time.Millisecond
		}
		if flags&4 != 0 {
			q.Consistency = Stale
		}
		q.Ordered = flags&8 != 0
		frame := AppendRequest(nil, 1, &q)
		if got := RequestSize(&q); got < len(frame) {
			t.Errorf("flags %d: RequestSize %d, frame has %d", flags, got, len(frame))
		}
		got, _, err := ParseRequest(body(t, frame), nil)
		if err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("flags %d: %+v, err %v", flags, got, err)
		}
	}
}

// Goal: arguments of several requests share one slice without touching each other.
func TestParseRequestSharedArgs(t *testing.T) {
	a := body(t, AppendRequest(nil, 1, &Request{Op: OpGet, Args: [][]byte{[]byte("a")}}))
	b := body(t, AppendRequest(nil, 2, &Request{Op: OpSet, Args: [][]byte{[]byte("b"), []byte("c")}}))
	qa, room, errA := ParseRequest(a, nil)
	qb, _, errB := ParseRequest(b, room)
	if errA != nil || errB != nil || len(qa.Args) != 1 || len(qb.Args) != 2 || string(qa.Args[0]) != "a" || string(qb.Args[0]) != "b" {
		t.Fatalf("%q %q %v %v", qa.Args, qb.Args, errA, errB)
	}
}

func TestRequestMalformed(t *testing.T) {
	good := body(t, AppendRequest(nil, 1, &Request{Op: OpGet, Args: [][]byte{[]byte("k")}, Deadline: time.Second}))
	mutate := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	tests := []struct {
		name string
		body []byte
		want error
	}{
		{"empty", nil, ErrMalformed},
		{"unknown flag", mutate(func(b []byte) []byte { b[2] |= 0x10; return b }), ErrMalformed},
		{"no deadline in it", mutate(func(b []byte) []byte { copy(b[3:], "\x00\x00\x00\x00"); return b }), ErrMalformed},
		{"something behind it", append(bytes.Clone(good), 0), ErrMalformed},
		{"cut", good[:len(good)-1], ErrMalformed},
		{"count over the bytes", mutate(func(b []byte) []byte { b[10] = 2; return b }), ErrMalformed},
		{"count over the limit", mutate(func(b []byte) []byte { copy(b[7:], "\x00\x10\x00\x01"); return b }), ErrTooLong},
		{"length over the bytes", mutate(func(b []byte) []byte { b[11] = 0xff; return b }), ErrMalformed},
		{"unknown consistency", []byte("\x01\x00\x04\x02\x00\x00\x00\x00"), ErrMalformed},
		{"zero token", append([]byte("\x01\x00\x01"), make([]byte, 28)...), ErrMalformed},
	}
	for _, tt := range tests {
		if _, _, err := ParseRequest(tt.body, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestFailureAndPushRoundTrip(t *testing.T) {
	f := Failure{Kind: FailNotLeader, RetryAfter: 20 * time.Millisecond, Leader: strings.Repeat("a", 40), Text: "no leader found"}
	got, err := ParseFailure(body(t, AppendFailure(nil, 1, &f)))
	if err != nil || got != f {
		t.Errorf("%+v, err %v", got, err)
	}
	long := Failure{Kind: FailProtocol, Text: strings.Repeat("x", MaxErrorText+1)}
	if got, err = ParseFailure(body(t, AppendFailure(nil, 0, &long))); err != nil || len(got.Text) != MaxErrorText {
		t.Errorf("long text: %d bytes, err %v", len(got.Text), err)
	}
	if _, err = ParseFailure([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00")); !errors.Is(err, ErrMalformed) {
		t.Errorf("kind 0: %v", err)
	}
	p, err := ParsePush(append(body(t, AppendPush(nil, Push{PushClosing, 8})), "later field"...))
	if err != nil || p != (Push{PushClosing, 8}) {
		t.Errorf("push: %+v, err %v", p, err)
	}
	known, err := ParseTopologyRequest(body(t, AppendTopologyRequest(nil, 1, 77)))
	if err != nil || known != 77 {
		t.Errorf("topology request: %d, err %v", known, err)
	}
}
