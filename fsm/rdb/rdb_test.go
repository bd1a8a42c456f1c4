// SPDX-License-Identifier: Apache-2.0

package rdb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

func number(text []byte) (float64, bool) {
	v, err := strconv.ParseFloat(string(text), 64)
	return v, err == nil && !math.IsNaN(v)
}

// roomy are limits that only a test of limits meets.
func roomy() Limits { return Limits{Value: 1 << 20, Bytes: 4 << 20, Elements: 1 << 16} }

// items reads a value and words it.
func items(t *testing.T, value []byte) (Size, string) {
	t.Helper()
	var b strings.Builder
	size, err := Read(value, roomy(), number, func(i *Item) { fmt.Fprintf(&b, "%q %q %v\n", i.A, i.B, i.Score) })
	if err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	return size, b.String()
}

// TestKnownPayloads reads what Redis 7.0.15 wrote, and what is none of it.
func TestKnownPayloads(t *testing.T) {
	codec := New()
	known, err := hex.DecodeString("000568656c6c6f0a00" + "6372df766534200a")
	if err != nil {
		t.Fatal(err)
	}
	if got := codec.Seal([]byte("\x00\x05hello")); !bytes.Equal(got, known) {
		t.Errorf("%x, want %x", got, known)
	}
	value, err := codec.Open(known)
	if err != nil || string(value) != "\x00\x05hello" {
		t.Errorf("%q, %v", value, err)
	}
	for i := range known {
		wrong := bytes.Clone(known)
		wrong[i] ^= 1
		if _, err := codec.Open(wrong); !errors.Is(err, ErrChecksum) {
			t.Errorf("byte %d is wrong: %v", i, err)
		}
		if _, err := codec.Open(known[:i]); !errors.Is(err, ErrChecksum) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

// TestRoundTrip: what is appended is read, for all lengths and numbers at which a form ends and another begins.
func TestRoundTrip(t *testing.T) {
	texts := []string{"", "a", "-", "00", "-0", "+1", "18446744073709551615"}
	for _, n := range []int{1, 63, 64, 127, 128, 4095, 4096, 16_383, 16_384, 70_000} {
		texts = append(texts, strings.Repeat("x", n))
	}
	for shift := range 64 {
		n := int64(1) << shift
		for _, v := range []int64{n - 1, n, n + 1, -n + 1, -n, -n - 1} {
			texts = append(texts, strconv.FormatInt(v, 10))
		}
	}
	for _, text := range texts {
		if size, got := items(t, AppendString(nil, []byte(text))); got != fmt.Sprintf("%q %q 0\n", text, "") || size != (Size{String, len(text), 1}) {
			t.Errorf("%.50q is read as %.50q, %+v", text, got, size)
		}
	}
	var nodes Nodes
	for _, text := range texts {
		nodes.Next([]byte(text))
	}
	list, want := BeginList(nil, nodes.N), ""
	for _, text := range texts {
		list.Add([]byte(text))
		want += fmt.Sprintf("%q %q 0\n", text, "")
	}
	if size, got := items(t, list.End()); got != want || size.Kind != List || size.N != len(texts) {
		t.Errorf("a list of %d is read as %+v", len(texts), size)
	}
	for _, kind := range []Kind{Set, Hash, ZSet} {
		value, want := Begin(nil, kind, len(texts)), ""
		for i, text := range texts {
			item := Item{A: []byte(text)}
			switch kind {
			case Hash:
				item.B = []byte(texts[len(texts)-1-i])
			case ZSet:
				item.Score = float64(i) / 7
			case None, String, List, Set:
			}
			value = AppendItem(value, kind, &item)
			want += fmt.Sprintf("%q %q %v\n", item.A, item.B, item.Score)
		}
		if size, got := items(t, value); got != want || size.Kind != kind || size.N != len(texts) {
			t.Errorf("kind %d is read as %+v", kind, size)
		}
		for n := range value[:min(len(value), 2000)] {
			if _, err := Read(value[:n], roomy(), number, nil); !errors.Is(err, ErrFormat) {
				t.Fatalf("kind %d, %d bytes of %d: %v", kind, n, len(value), err)
			}
		}
	}
}

// TestLimits: each limit holds at its value and not below.
func TestLimits(t *testing.T) {
	value := Begin(nil, Hash, 3)
	for _, f := range []string{"a", "bb", "ccc"} {
		value = AppendItem(value, Hash, &Item{A: []byte(f), B: []byte("0123456789")})
	}
	for _, c := range []struct {
		limits Limits
		want   error
	}{
		{Limits{Value: 10, Bytes: 36, Elements: 3}, nil},
		{Limits{Value: 9, Bytes: 36, Elements: 3}, ErrTooBig},
		{Limits{Value: 10, Bytes: 35, Elements: 3}, ErrTooMany},
		{Limits{Value: 10, Bytes: 36, Elements: 2}, ErrTooMany},
	} {
		if _, err := Read(value, c.limits, number, nil); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.limits, err, c.want)
		}
	}
	// Compressed text that claims to be long, and some that is.
	if _, err := Read([]byte("\x00\xc3\x03\x80\x00\x00\x01\x09\x00xy"), roomy(), number, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("265 bytes in 3: %v", err)
	}
	long := "\xc3\x05\x80\x00\x00\x01\x09\x00x\xe0\xff\x00"
	if size, err := Read([]byte("\x00"+long), roomy(), number, nil); err != nil || size.Bytes != 265 {
		t.Errorf("265 bytes in 5: %+v, %v", size, err)
	}
	if _, err := Read([]byte("\x01\x02"+long+long), Limits{Value: 265, Bytes: 529, Elements: 2}, number, nil); !errors.Is(err, ErrTooMany) {
		t.Errorf("530 bytes: %v", err)
	}
}

// FuzzRead: whatever the value, reading ends within the limits, twice with the same items, and what was read is read
// again when it is appended. The seeds are what Redis 7.0.15 wrote.
func FuzzRead(f *testing.F) {
	limits := roomy()
	f.Fuzz(func(t *testing.T, value []byte) {
		var got []Item
		bytes := 0
		size, err := Read(value, limits, number, func(i *Item) {
			got = append(got, Item{A: append([]byte{}, i.A...), B: append([]byte{}, i.B...), Score: i.Score})
			bytes += len(i.A) + len(i.B)
		})
		if bytes > limits.Bytes || len(got) > limits.Elements {
			t.Fatalf("%d items of %d bytes", len(got), bytes)
		}
		again, err2 := Read(value, limits, number, nil)
		if again != size || !errors.Is(err2, err) {
			t.Fatalf("%+v %v, and then %+v %v", size, err, again, err2)
		}
		if err != nil {
			return
		}
		if size.N != len(got) || size.Bytes != bytes || size.N == 0 || size.Kind == None {
			t.Fatalf("%+v with %d items of %d bytes", size, len(got), bytes)
		}
		i := 0
		same := func(item *Item) {
			if i >= len(got) || string(item.A) != string(got[i].A) || string(item.B) != string(got[i].B) || item.Score != got[i].Score {
				t.Fatalf("item %d: %q", i, item.A)
			}
			i++
		}
		if _, err := Read(written(size.Kind, got), limits, number, same); err != nil || i != len(got) {
			t.Fatalf("written again: %d items of %d, %v", i, len(got), err)
		}
	})
}

// written is a value with these items.
func written(k Kind, all []Item) []byte {
	switch k {
	case String:
		return AppendString(nil, all[0].A)
	case List:
		var nodes Nodes
		for i := range all {
			nodes.Next(all[i].A)
		}
		l := BeginList(nil, nodes.N)
		for i := range all {
			l.Add(all[i].A)
		}
		return l.End()
	case None, Set, Hash, ZSet:
	}
	value := Begin(nil, k, len(all))
	for i := range all {
		value = AppendItem(value, k, &all[i])
	}
	return value
}
