// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func sampleHello() Hello {
	return Hello{
		MinVersion: 2, MaxVersion: 3, Features: FeatureConcurrent | FeaturePush, Method: MethodPassword,
		User: "ann", Secret: "s3cret", Name: "test", Extensions: []Extension{{Tag: 5, Data: []byte("skip me")}},
	}
}

func sampleWelcome() Welcome {
	return Welcome{
		Version: 2, Features: FeaturePush, MaxInFlight: 1024, MaxFrame: MaxFrame, NodeID: strings.Repeat("ab", 20),
		ClusterID: "c", Server: "kvorum 1", Kind: FailDenied, Text: "why", Extensions: []Extension{{Tag: 1, Data: []byte{}}},
	}
}

func TestHelloRoundTrip(t *testing.T) {
	h := sampleHello()
	frame := AppendHello(nil, &h)
	if frame[0] == VersionV1 {
		t.Fatal("the first byte does not tell the versions apart")
	}
	for i := range frame {
		if _, n, err := ParseHello(frame[:i]); n != 0 || err != nil {
			t.Fatalf("prefix of %d: n %d, err %v", i, n, err)
		}
	}
	got, n, err := ParseHello(append(frame, "rest"...))
	if err != nil || n != len(frame) || !reflect.DeepEqual(got, h) {
		t.Fatalf("%+v, n %d, err %v", got, n, err)
	}
}

func TestWelcomeRoundTrip(t *testing.T) {
	w := sampleWelcome()
	frame := AppendWelcome(nil, &w)
	for i := range frame {
		if _, n, err := ParseWelcome(frame[:i]); n != 0 || err != nil {
			t.Fatalf("prefix of %d: n %d, err %v", i, n, err)
		}
	}
	got, n, err := ParseWelcome(frame)
	if err != nil || n != len(frame) || !reflect.DeepEqual(got, w) {
		t.Fatalf("%+v, n %d, err %v", got, n, err)
	}
}

func TestHelloRefused(t *testing.T) {
	sized := func(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte(Magic), n) }
	mandatory := sampleHello()
	mandatory.Extensions = []Extension{{Tag: 0x8001}}
	cut := sampleHello()
	frame := AppendHello(nil, &cut)
	short := frame[:len(frame)-1]
	binary.BigEndian.PutUint32(short[4:], uint32(len(short)-8))
	tests := []struct {
		name string
		src  []byte
		want error
	}{
		{"at the limit", sized(MaxHello), nil},
		{"over the limit", sized(MaxHello + 1), ErrTooLong},
		{"other magic", []byte("KV3\n"), ErrVersion},
		{"other first byte", []byte("G"), ErrVersion},
		{"mandatory extension", AppendHello(nil, &mandatory), ErrMandatory},
		{"half an extension", short, ErrMalformed},
		{"no body", sized(0), ErrMalformed},
	}
	for _, tt := range tests {
		if _, n, err := ParseHello(tt.src); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: n %d, err %v, want %v", tt.name, n, err, tt.want)
		}
	}
}
