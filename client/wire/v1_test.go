// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// Goal: the bytes of version 1 are those of the byte table, whatever the codec thinks of itself.
func TestV1GoldenBytes(t *testing.T) {
	tests := []struct {
		name      string
		got, want []byte
	}{
		{"get", AppendV1Request(nil, V1Get, []byte("k")), []byte("\x01\x01\x00\x00\x00\x01\x00\x00\x00\x01k")},
		{
			"set", AppendV1Request(nil, V1Set, make([]byte, 8), []byte("k"), []byte("vv")),
			[]byte("\x01\x02\x00\x00\x00\x03\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x00\x00\x00\x02vv"),
		},
		{"status", AppendV1Request(nil, V1Status), []byte("\x01\x04\x00\x00\x00\x00")},
		{"ok", AppendV1OK(nil, []byte("abc")), []byte("\x01\x00\x00\x00\x00\x03abc")},
		{"empty ok", AppendV1OK(nil, nil), []byte("\x01\x00\x00\x00\x00\x00")},
		{"error", AppendV1Error(nil, V1NotFound), []byte("\x01\x01\x00\x00\x00\x09not found")},
	}
	for _, tt := range tests {
		if !bytes.Equal(tt.got, tt.want) {
			t.Errorf("%s: % x, want % x", tt.name, tt.got, tt.want)
		}
	}
}

// Goal: a frame cut at any offset asks for more, for no more than the frame has, and for enough to
// get on.
func TestV1RequestEveryPrefix(t *testing.T) {
	frame := AppendV1Request(nil, V1Set, make([]byte, 8), []byte("key"), []byte("value"), []byte("extra"))
	for i := range frame {
		_, n, need, err := ParseV1Request(frame[:i], nil, MaxFrame)
		if n != 0 || err != nil {
			t.Fatalf("prefix of %d: n %d, err %v", i, n, err)
		}
		if need <= i || need > len(frame) {
			t.Fatalf("prefix of %d: need %d, frame has %d", i, need, len(frame))
		}
	}
	q, n, _, err := ParseV1Request(append(frame, "next"...), nil, MaxFrame)
	if err != nil || n != len(frame) || q.Cmd != V1Set || len(q.Args) != 4 || string(q.Args[2]) != "value" {
		t.Fatalf("whole frame: %+v, n %d, err %v", q, n, err)
	}
}

func TestV1RequestLimits(t *testing.T) {
	head := func(argc uint32, sizes ...uint32) []byte {
		b := binary.BigEndian.AppendUint32([]byte{VersionV1, V1Get}, argc)
		for _, s := range sizes {
			b = binary.BigEndian.AppendUint32(b, s)
		}
		return b
	}
	tests := []struct {
		name string
		src  []byte
		max  int
		want error
	}{
		{"count at the limit", head(MaxArgsV1), MaxFrame, nil},
		{"count over the limit", head(MaxArgsV1 + 1), MaxFrame, ErrTooLong},
		{"largest count", head(1<<32 - 1), MaxFrame, ErrTooLong},
		{"frame at the limit", head(1, 90), 100, nil},
		{"frame over the limit", head(1, 91), 100, ErrTooLong},
		{"largest length", head(1, 1<<32-1), MaxFrame, ErrTooLong},
		{"frame over the limit by the arguments to come", head(3, 90-7), 100, ErrTooLong},
		{"count does not fit the frame", head(30), 100, ErrTooLong},
		{"other version", []byte("GET k"), MaxFrame, ErrVersion},
		{"second version", []byte{2}, MaxFrame, ErrVersion},
	}
	for _, tt := range tests {
		_, n, _, err := ParseV1Request(tt.src, nil, tt.max)
		if n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: n %d, err %v, want %v", tt.name, n, err, tt.want)
		}
	}
}

func TestV1ReplyRoundTrip(t *testing.T) {
	for _, frame := range [][]byte{AppendV1OK(nil, []byte("body")), AppendV1Error(nil, "text"), AppendV1OK(nil, nil)} {
		for i := range frame {
			if _, n, err := ParseV1Reply(frame[:i]); n != 0 || err != nil {
				t.Fatalf("prefix of %d: n %d, err %v", i, n, err)
			}
		}
		r, n, err := ParseV1Reply(frame)
		if err != nil || n != len(frame) || r.OK != (frame[1] == 0) {
			t.Fatalf("%q: %+v, n %d, err %v", frame, r, n, err)
		}
	}
	if _, _, err := ParseV1Reply([]byte{VersionV1, 2}); !errors.Is(err, ErrMalformed) {
		t.Errorf("bad status: %v", err)
	}
	if _, _, err := ParseV1Reply(binary.BigEndian.AppendUint32([]byte{VersionV1, 0}, MaxReply+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("long reply: %v", err)
	}
}
