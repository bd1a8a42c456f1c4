// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func frame(k kind, id uint64, payload []byte) []byte {
	b := make([]byte, frameHeader, frameHeader+len(payload))
	putFrameHeader(b, k, id, len(payload))
	return append(b, payload...)
}

func TestFrameLimits(t *testing.T) {
	const most = MinMaxFrame
	for _, tc := range []struct {
		name string
		k    kind
		size int
		ok   bool
	}{
		{"request at the limit", kindRequest, timeLeft + most, true},
		{"request over it", kindRequest, timeLeft + most + 1, false},
		{"request without time", kindRequest, timeLeft - 1, false},
		{"open at the limit", kindOpen, timeLeft + most, true},
		{"response at the limit", kindResponse, most, true},
		{"response over it", kindResponse, most + 1, false},
		{"empty response", kindResponse, 0, true},
		{"error without code", kindError, 0, false},
		{"error at the limit", kindError, 1 + maxErrorText, true},
		{"error over it", kindError, 2 + maxErrorText, false},
		{"data at the limit", kindData, streamChunk, true},
		{"data over it", kindData, streamChunk + 1, false},
		{"credit", kindCredit, 4, true},
		{"short credit", kindCredit, 3, false},
		{"ping with payload", kindPing, 1, false},
		{"cancel", kindCancel, 0, true},
		{"kind 0", 0, 0, false},
		{"unknown kind", maxKind + 1, 0, false},
	} {
		raw := frame(tc.k, 5, make([]byte, tc.size))
		k, id, payload, err := readFrame(bytes.NewReader(raw), make([]byte, frameHeader), most)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if tc.ok && (k != tc.k || id != 5 || len(payload) != tc.size) {
			t.Errorf("%s: read kind %d, id %d, %d bytes", tc.name, k, id, len(payload))
		}
	}
	short := []byte{0, 0, 0, lengthBase - 1, byte(kindPing), 0, 0, 0, 0, 0, 0, 0, 0}
	if _, _, _, err := parseFrameHeader(short, most); err == nil {
		t.Error("a length below the header is accepted")
	}
}

// A length field alone must not make the reader allocate much.
func TestPayloadAllocatesAsItArrives(t *testing.T) {
	head := make([]byte, frameHeader)
	putFrameHeader(head, kindResponse, 1, DefaultMaxFrame)
	arrived := append(head, make([]byte, 100)...)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _, err := readFrame(bytes.NewReader(arrived), make([]byte, frameHeader), DefaultMaxFrame)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 2*eagerAlloc {
		t.Errorf("%d bytes allocated for 100 that arrived", allocated)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 5*eagerAlloc/16)
	got, err := readPayload(bytes.NewReader(big), len(big))
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("a payload of several steps is damaged: %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frame(kindRequest, 1, []byte{0, 0, 0, 1, 'x'}))
	f.Add(append(frame(kindOpen, 2, []byte{0, 0, 0, 1}), frame(kindData, 2, []byte("body"))...))
	f.Add(append(frame(kindError, 3, []byte{1, 'e'}), frame(kindCredit, 3, []byte{0, 0, 1, 0})...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bytes.NewReader(raw)
		head := make([]byte, frameHeader)
		for {
			at := len(raw) - r.Len()
			k, id, payload, err := readFrame(r, head, MinMaxFrame)
			if err != nil {
				return
			}
			if want := raw[at : len(raw)-r.Len()]; !bytes.Equal(frame(k, id, payload), want) {
				t.Fatalf("frame % x is written as % x", want, frame(k, id, payload))
			}
			if k == kindError && remoteFailure(payload) == nil {
				t.Fatal("an error frame became no error")
			}
		}
	})
}
