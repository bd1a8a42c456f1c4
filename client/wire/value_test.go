// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

func sampleValues() []Value {
	bulk := Value{Kind: KindBulk, Str: []byte("bulk\x00\xff")}
	return []Value{
		{Kind: KindNull},
		{Kind: KindInt, Int: math.MinInt64},
		{Kind: KindDouble, Dbl: -0.5},
		{Kind: KindDouble, Dbl: math.Inf(1)},
		{Kind: KindBool, Int: 1},
		{Kind: KindBigNumber, Str: []byte("123456789012345678901234567890")},
		bulk,
		{Kind: KindBulk, Str: []byte{}},
		{Kind: KindVerbatim, Str: []byte("txt:hi")},
		{Kind: KindStatus, Str: []byte("OK")},
		{Kind: KindError, Code: CodeWrongType, Str: []byte("WRONGTYPE …")},
		{Kind: KindArray, Elems: []Value{}},
		{Kind: KindArray, Elems: []Value{bulk, {Kind: KindNull}, {Kind: KindSet, Elems: []Value{{Kind: KindInt, Int: 1}}}}},
		{Kind: KindMap, Elems: []Value{bulk, {Kind: KindInt, Int: 2}}},
		{Kind: KindPush, Elems: []Value{{Kind: KindStatus, Str: []byte("message")}}},
	}
}

// Goal: every kind survives, no prefix does, and what stands behind a value stays.
func TestValueRoundTrip(t *testing.T) {
	for _, v := range sampleValues() {
		b := AppendValue(nil, &v)
		got, n, err := ParseValue(append(b, "rest"...))
		if err != nil || n != len(b) || !reflect.DeepEqual(got, v) {
			t.Errorf("%+v: got %+v, n %d of %d, err %v", v, got, n, len(b), err)
		}
		for i := range b {
			if _, _, err := ParseValue(b[:i]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%+v cut at %d: %v", v, i, err)
			}
		}
	}
	none := Value{}
	if got, _, err := ParseValue(AppendValue(nil, &none)); err != nil || got.Kind != KindNull || !none.IsNull() {
		t.Errorf("no result: %+v, err %v", got, err)
	}
}

func TestValueLimits(t *testing.T) {
	nested := func(depth int) []byte {
		var b []byte
		for range depth {
			b = AppendListHead(b, KindArray, 1)
		}
		return AppendNull(b)
	}
	tests := []struct {
		name string
		src  []byte
		want error
	}{
		{"as deep as allowed", nested(MaxDepth), nil},
		{"deeper", nested(MaxDepth + 1), ErrMalformed},
		{"count over the bytes", AppendListHead(nil, KindArray, 1<<31), ErrMalformed},
		{"half a pair", AppendNull(AppendListHead(nil, KindMap, 1)), ErrMalformed},
		{"no such kind", []byte{14}, ErrMalformed},
		{"kind none", []byte{0}, ErrMalformed},
		{"neither true nor false", []byte{byte(KindBool), 2}, ErrMalformed},
		{"an error that says OK", AppendErrorValue(nil, CodeOK, nil), ErrMalformed},
	}
	for _, tt := range tests {
		if _, _, err := ParseValue(tt.src); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestResultFrames(t *testing.T) {
	for _, leader := range []string{"", "0123456789abcdef0123456789abcdef01234567"} {
		v := Value{Kind: KindBulk, Str: []byte("x")}
		frame := EndResult(AppendValue(BeginResult([]byte("before"), 5, leader), &v), len("before"))
		got, hint, err := ParseResult(body(t, frame[len("before"):]))
		if err != nil || hint != leader || !reflect.DeepEqual(got, v) {
			t.Errorf("%+v, leader %q, err %v", got, hint, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "unknown flag": {2, byte(KindNull)}, "two values": {0, byte(KindNull), byte(KindNull)}, "cut leader": {1, 9, 'x'},
	} {
		if _, _, err := ParseResult(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
