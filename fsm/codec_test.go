// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawBytes(t *rapid.T, label string) []byte {
	return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, label)
}

func drawCommand(t *rapid.T) Command {
	c := Command{Op: Op(rapid.Uint16().Draw(t, "op"))}
	for range rapid.IntRange(0, 5).Draw(t, "argc") {
		c.Args = append(c.Args, drawBytes(t, "arg"))
	}
	if rapid.Bool().Draw(t, "tokened") {
		copy(c.Token.Client[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "client"))
		c.Token.Seq = rapid.Uint64().Draw(t, "seq")
	}
	return c
}

func sameCommand(a, b Command) bool {
	return a.Op == b.Op && a.Token == b.Token && slices.EqualFunc(a.Args, b.Args, bytes.Equal)
}

func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommand(t)
		data := AppendCommand([]byte("x"), &c)[1:]
		if len(data) != CommandSize(&c) {
			t.Fatalf("%d bytes, CommandSize says %d", len(data), CommandSize(&c))
		}
		got, n, err := ParseCommand(append(slices.Clone(data), 0xff))
		if err != nil || n != len(data) || !sameCommand(c, got) {
			t.Fatalf("got %+v n=%d err=%v, want %+v n=%d", got, n, err, c, len(data))
		}
		for i := range data {
			if _, _, err := ParseCommand(data[:i]); !errors.Is(err, ErrTruncated) {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
	})
}

func drawResult(t *rapid.T, depth int) Result {
	kinds := []Kind{KindNone, KindNull, KindInt, KindDouble, KindBool, KindBigNumber, KindBulk, KindVerbatim, KindStatus, KindError}
	if depth > 0 {
		kinds = append(kinds, KindArray, KindMap, KindSet, KindPush)
	}
	r := Result{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch r.Kind {
	case KindInt:
		r.Int = rapid.Int64().Draw(t, "int")
	case KindBool:
		r.Int = rapid.Int64Range(0, 1).Draw(t, "bool")
	case KindDouble:
		r.Dbl = rapid.Float64().Draw(t, "double")
	case KindError:
		r.Code = Code(rapid.IntRange(1, 17).Draw(t, "code"))
		r.Str = drawBytes(t, "text")
	case KindBigNumber, KindBulk, KindVerbatim, KindStatus:
		r.Str = drawBytes(t, "str")
	case KindArray, KindMap, KindSet, KindPush:
		r.Elems = []Result{}
		for range 2 * rapid.IntRange(0, 3).Draw(t, "elems") {
			r.Elems = append(r.Elems, drawResult(t, depth-1))
		}
	}
	return r
}

func TestResultRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawResult(t, 3)
		data := AppendResult(nil, &r)
		got, n, err := ParseResult(append(slices.Clone(data), 0xff))
		if err != nil || n != len(data) {
			t.Fatalf("n=%d err=%v, want n=%d", n, err, len(data))
		}
		if !reflect.DeepEqual(r, got) && !sameResult(r, got) {
			t.Fatalf("got %+v, want %+v", got, r)
		}
		if clone := got.Clone(); !sameResult(clone, r) {
			t.Fatalf("clone %+v, want %+v", clone, r)
		}
	})
}

// TestResultDepth takes nesting at the limit and one past it.
func TestResultDepth(t *testing.T) {
	nest := func(depth int) []byte { return append(bytes.Repeat([]byte{byte(KindArray), 1}, depth), byte(KindNull)) }
	if _, n, err := ParseResult(nest(maxResultDepth)); err != nil || n != 2*maxResultDepth+1 {
		t.Errorf("at the limit: %v", err)
	}
	if _, _, err := ParseResult(nest(maxResultDepth + 1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("past the limit: %v", err)
	}
	r := Null()
	for range maxResultDepth + 3 {
		r = Array([]Result{r})
	}
	if _, _, err := ParseResult(AppendResult(nil, &r)); err != nil {
		t.Errorf("what AppendResult cut is not parsed: %v", err)
	}
}

func drawEntry(t *rapid.T) (Header, []*Sub) {
	h := Header{
		ClusterVersion: rapid.Uint32().Draw(t, "version"), Proposer: rapid.Uint64().Draw(t, "proposer"),
		Batch: rapid.Uint64().Draw(t, "batch"), Clock: rapid.Int64Range(0, MaxClock).Draw(t, "clock"), Seed: rapid.Uint64().Draw(t, "seed"),
		Close: rapid.SliceOfN(rapid.Uint64(), 0, 4).Draw(t, "close"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "victims") {
		v := Victim{Slot: rapid.Uint16Range(0, Slots-1).Draw(t, "slot"), Version: rapid.Uint64().Draw(t, "v"), Key: drawBytes(t, "key")}
		h.Evict = append(h.Evict, v)
	}
	var subs []*Sub
	for range rapid.IntRange(0, 3).Draw(t, "subs") {
		s := &Sub{Session: rapid.Uint64().Draw(t, "session"), Seq: rapid.Uint64().Draw(t, "seq"), Low: rapid.Uint64().Draw(t, "low")}
		for range rapid.IntRange(0, 3).Draw(t, "writes") {
			c := drawCommand(t)
			s.Body = AppendCommand(s.Body, &c)
			s.Writes++
		}
		subs = append(subs, s)
	}
	return h, subs
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, subs := drawEntry(t)
		data := entryOf(h, subs...)
		e, err := ParseEntry(data)
		if err != nil {
			t.Fatal(err)
		}
		if again := appendEntry(&e); !bytes.Equal(again, data) {
			t.Fatalf("parse and append gives\n%x, want\n%x", again, data)
		}
		if len(e.Header.Evict) != len(h.Evict) || !slices.Equal(e.Header.Close, h.Close) || e.Header.Clock != h.Clock || len(e.Subs) != len(subs) {
			t.Fatalf("got %+v, want %+v", e.Header, h)
		}
		if p, b, ok := PeekOrigin(data); !ok || p != h.Proposer || b != h.Batch {
			t.Fatalf("PeekOrigin: %d %d %v", p, b, ok)
		}
		for i := range data[:len(AppendEntryHeader(nil, &h))] {
			if _, err := ParseEntry(data[:i]); !errors.Is(err, ErrTruncated) {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
	})
}

// appendEntry is the reverse of ParseEntry.
func appendEntry(e *Entry) []byte {
	data := AppendEntryHeader(nil, &e.Header)
	for i := range e.Subs {
		s := &e.Subs[i]
		data = AppendSub(data, &Sub{Session: s.Session, Seq: s.Seq, Low: s.Low, Writes: s.Writes, Body: s.Body})
	}
	return data
}

// TestExtensions checks the rule of tags: unknown even ones are skipped, unknown odd ones refused.
func TestExtensions(t *testing.T) {
	command := func(ext ...byte) []byte {
		data := []byte{5, 1, 1, 'a'}
		data = binary.AppendUvarint(data, uint64(len(ext)))
		return append(data, ext...)
	}
	entry := func(ext ...byte) []byte {
		data := AppendEntryHeader(nil, &Header{})
		data = binary.AppendUvarint(data[:len(data)-1], uint64(len(ext)))
		return append(data, ext...)
	}
	sub := func(ext ...byte) []byte {
		data := AppendSub(AppendEntryHeader(nil, &Header{}), &Sub{})
		data = binary.AppendUvarint(data[:len(data)-1], uint64(len(ext)))
		return append(data, ext...)
	}
	for _, c := range []struct {
		name string
		ext  []byte
		want error
	}{
		{"optional", []byte{2, 1, 'x'}, nil},
		{"two optional", []byte{2, 1, 'x', 4, 0}, nil},
		{"mandatory", []byte{7, 1, 'x'}, ErrUnknown},
		{"optional then mandatory", []byte{2, 1, 'x', 5, 0}, ErrUnknown},
		{"descending", []byte{4, 0, 2, 0}, ErrMalformed},
		{"twice", []byte{2, 0, 2, 0}, ErrMalformed},
		{"tag 0", []byte{0, 0}, ErrMalformed},
		{"cut", []byte{2, 9, 'x'}, ErrTruncated},
		{"cut tag", []byte{2}, ErrTruncated},
	} {
		_, _, err := ParseCommand(command(c.ext...))
		_, err2 := ParseEntry(entry(c.ext...))
		_, err3 := ParseEntry(sub(c.ext...))
		for where, err := range map[string]error{"command": err, "entry": err2, "sub": err3} {
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%s in %s: %v, want %v", c.name, where, err, c.want)
			}
		}
	}
	token := append([]byte{1, 17}, make([]byte, 17)...)
	if _, _, err := ParseCommand(command(token...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("zero token: %v", err)
	}
}

func TestUvarintIsCanonical(t *testing.T) {
	r := reader{src: []byte{0x80, 0x00}}
	if r.uvarint("x"); !errors.Is(r.err, ErrMalformed) {
		t.Errorf("overlong: %v", r.err)
	}
	r = reader{src: bytes.Repeat([]byte{0xff}, 11)}
	if r.uvarint("x"); !errors.Is(r.err, ErrMalformed) {
		t.Errorf("overflow: %v", r.err)
	}
	r = reader{src: binary.AppendUvarint(nil, math.MaxUint64)}
	if v := r.uvarint("x"); v != math.MaxUint64 || r.err != nil {
		t.Errorf("largest: %d %v", v, r.err)
	}
}

func TestValidateBody(t *testing.T) {
	table := Data()
	set := Command{Op: OpSet, Args: bytesOf("a", "1")}
	get := Command{Op: OpGet, Args: bytesOf("a")}
	none := Command{Op: 9999}
	one := AppendCommand(nil, &set)
	for _, c := range []struct {
		name string
		body []byte
		n    int
		want error
	}{
		{"good", AppendCommand(slices.Clone(one), &set), 2, nil},
		{"empty", nil, 0, nil},
		{"too few", one, 2, ErrTruncated},
		{"too many", AppendCommand(slices.Clone(one), &set), 1, ErrMalformed},
		{"a read", AppendCommand(nil, &get), 1, ErrMalformed},
		{"unknown", AppendCommand(nil, &none), 1, ErrUnknown},
	} {
		if _, err := ValidateBody(table, c.body, c.n); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestParseInt(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if v, ok := parseInt([]byte(s)); !ok || v != want {
			t.Errorf("%q: %d %v", s, v, ok)
		}
	}
	for _, s := range []string{"", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808", "-9223372036854775809", "99999999999999999999"} {
		if v, ok := parseInt([]byte(s)); ok {
			t.Errorf("%q: %d", s, v)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64().Draw(t, "v")
		if got, ok := parseInt(formatInt(v)); !ok || got != v {
			t.Fatalf("%d: %d %v", v, got, ok)
		}
		u := rapid.Uint64().Draw(t, "u")
		if got, ok := parseUint(formatUint(u), math.MaxUint64); !ok || got != u {
			t.Fatalf("%d: %d %v", u, got, ok)
		}
		if _, ok := parseUint(formatUint(u), u-1); ok && u > 0 {
			t.Fatalf("%d is within %d", u, u-1)
		}
	})
}

func TestSlotsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.SliceOfNDistinct(rapid.Uint16Range(0, Slots-1), 1, 50, rapid.ID).Draw(t, "slots")
		slices.Sort(slots)
		got, ok := parseSlots(appendSlots(nil, slots))
		if !ok || !slices.Equal(got, slots) {
			t.Fatalf("got %v %v, want %v", got, ok, slots)
		}
	})
	for _, bad := range [][]byte{nil, {0}, {0, 0}, {0, 1, 0, 1}, binary.AppendUvarint([]byte{1}, Slots), {0x80, 0}} {
		if s, ok := parseSlots(bad); ok {
			t.Errorf("%x: %v", bad, s)
		}
	}
}
