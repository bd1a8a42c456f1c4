// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

func TestEncode(t *testing.T) {
	one, two := fsm.Int(1), bulk("b")
	list := []fsm.Result{one, two}
	for name, c := range map[string]struct {
		in           fsm.Result
		want2, want3 string
	}{
		"none":            {fsm.Result{}, "-UNKNOWN outcome: the command may have been applied\r\n", "-UNKNOWN outcome: the command may have been applied\r\n"},
		"null":            {fsm.Null(), "$-1\r\n", "_\r\n"},
		"int":             {fsm.Int(-5), ":-5\r\n", ":-5\r\n"},
		"double":          {fsm.Result{Kind: fsm.KindDouble, Dbl: 0.1}, "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n"},
		"whole double":    {fsm.Result{Kind: fsm.KindDouble, Dbl: 3}, "$1\r\n3\r\n", ",3\r\n"},
		"large double":    {fsm.Result{Kind: fsm.KindDouble, Dbl: 1e20}, "$5\r\n1e+20\r\n", ",1e+20\r\n"},
		"17 digits":       {fsm.Result{Kind: fsm.KindDouble, Dbl: 12345678901234567}, "$17\r\n12345678901234568\r\n", ",12345678901234568\r\n"},
		"small double":    {fsm.Result{Kind: fsm.KindDouble, Dbl: 1e-5}, "$22\r\n1.0000000000000001e-05\r\n", ",1.0000000000000001e-05\r\n"},
		"infinity":        {fsm.Result{Kind: fsm.KindDouble, Dbl: math.Inf(1)}, "$3\r\ninf\r\n", ",inf\r\n"},
		"minus infinity":  {fsm.Result{Kind: fsm.KindDouble, Dbl: math.Inf(-1)}, "$4\r\n-inf\r\n", ",-inf\r\n"},
		"not a number":    {fsm.Result{Kind: fsm.KindDouble, Dbl: math.NaN()}, "$3\r\nnan\r\n", ",nan\r\n"},
		"true":            {fsm.Result{Kind: fsm.KindBool, Int: 1}, ":1\r\n", "#t\r\n"},
		"false":           {fsm.Result{Kind: fsm.KindBool}, ":0\r\n", "#f\r\n"},
		"big number":      {fsm.Result{Kind: fsm.KindBigNumber, Str: []byte("123")}, "$3\r\n123\r\n", "(123\r\n"},
		"bulk":            {bulk("a\r\n"), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"},
		"empty bulk":      {bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"},
		"verbatim":        {verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"},
		"status":          {fsm.OK(), "+OK\r\n", "+OK\r\n"},
		"status in lines": {fsm.Status("a\r\nb"), "+a  b\r\n", "+a  b\r\n"},
		"error":           {fsm.Error(fsm.CodeError, "ERR a\nb"), "-ERR a b\r\n", "-ERR a b\r\n"},
		"array":           {fsm.Array(list), "*2\r\n:1\r\n$1\r\nb\r\n", "*2\r\n:1\r\n$1\r\nb\r\n"},
		"empty array":     {fsm.Array(nil), "*0\r\n", "*0\r\n"},
		"map":             {fsm.Map(list), "*2\r\n:1\r\n$1\r\nb\r\n", "%1\r\n:1\r\n$1\r\nb\r\n"},
		"set":             {fsm.Result{Kind: fsm.KindSet, Elems: list}, "*2\r\n:1\r\n$1\r\nb\r\n", "~2\r\n:1\r\n$1\r\nb\r\n"},
		"push":            {fsm.Result{Kind: fsm.KindPush, Elems: list}, "*2\r\n:1\r\n$1\r\nb\r\n", ">2\r\n:1\r\n$1\r\nb\r\n"},
		"nested":          {fsm.Array([]fsm.Result{fsm.Map(list), fsm.Null()}), "*2\r\n*2\r\n:1\r\n$1\r\nb\r\n$-1\r\n", "*2\r\n%1\r\n:1\r\n$1\r\nb\r\n_\r\n"},
	} {
		for proto, want := range map[int]string{2: c.want2, 3: c.want3} {
			e := encoder{proto: proto}
			if e.reply(&c.in, shapePlain); string(e.buf) != want {
				t.Errorf("%s in RESP%d: %q, want %q", name, proto, e.buf, want)
			}
		}
	}
}

func double(d float64) fsm.Result { return fsm.Result{Kind: fsm.KindDouble, Dbl: d} }

// TestEncodeShapes: what the protocols word differently, by command.
func TestEncodeShapes(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	for _, c := range []struct {
		line         string
		in           fsm.Result
		want2, want3 string
	}{
		{"LPOP k", fsm.Null(), "$-1\r\n", "_\r\n"},
		{"LPOP k 2", fsm.Null(), "*-1\r\n", "_\r\n"},
		{"ZMPOP 1 k MIN", fsm.Null(), "*-1\r\n", "_\r\n"},
		{"GET k", fsm.Null(), "$-1\r\n", "_\r\n"},
		{"ZRANGE k 0 -1 WITHSCORES", fsm.Array([]fsm.Result{bulk("a"), double(1), bulk("b"), double(2)}), "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n", "*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2\r\n"},
		{"ZRANGE k 0 -1", fsm.Array([]fsm.Result{bulk("a"), bulk("b")}), "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
	} {
		args := bytes.Fields([]byte(c.line))
		for proto, want := range map[int]string{2: c.want2, 3: c.want3} {
			e := encoder{proto: proto}
			if e.reply(&c.in, b.h.lookup(args[0]).shapeOf(args[1:], &c.in)); string(e.buf) != want {
				t.Errorf("%s in RESP%d: %q, want %q", c.line, proto, e.buf, want)
			}
		}
	}
}

// TestEncodePieces: a large string is written from where it is, and many small ones are not gathered.
func TestEncodePieces(t *testing.T) {
	large := bytes.Repeat([]byte("x"), largeReply+1)
	var got bytes.Buffer
	alias := false
	e := encoder{proto: 3, out: func(b []byte) error {
		alias = alias || &b[0] == &large[0]
		if len(b) > 2*flushAt {
			t.Errorf("a piece of %d bytes", len(b))
		}
		got.Write(b)
		return nil
	}}
	res := fsm.Array([]fsm.Result{fsm.Bulk(large), fsm.Int(1)})
	for range 100_000 {
		res.Elems = append(res.Elems, bulk("element"))
	}
	e.reply(&res, shapePlain)
	got.Write(e.buf)
	want := "*100002\r\n$65537\r\n" + string(large) + "\r\n:1\r\n" + strings.Repeat("$7\r\nelement\r\n", 100_000)
	if !alias || got.String() != want {
		t.Fatalf("alias %t, %d bytes, want %d", alias, got.Len(), len(want))
	}
	broken := errors.New("broken")
	calls := 0
	e = encoder{proto: 2, out: func([]byte) error { calls++; return broken }}
	if e.reply(&res, shapePlain); !errors.Is(e.err, broken) || calls != 1 {
		t.Fatalf("%v after %d calls", e.err, calls)
	}
}

// TestFailureTexts has every kind of delivery error.
func TestFailureTexts(t *testing.T) {
	want := map[shard.Kind]string{
		shard.KindNotLeader:     "CLUSTERDOWN not applied: write: no leader found",
		shard.KindNoQuorum:      "CLUSTERDOWN not applied: write: no quorum",
		shard.KindOverloaded:    "TRYAGAIN not applied: write: overloaded",
		shard.KindNoSpace:       "TRYAGAIN not applied: write: no disk space",
		shard.KindClosing:       "TRYAGAIN not applied: write: closing",
		shard.KindUninitialised: "CLUSTERDOWN not applied: write: cluster is not initialised",
		shard.KindTimeout:       "TRYAGAIN not applied: write: timed out, not applied",
		shard.KindUnknown:       "UNKNOWN outcome: write: outcome unknown",
		shard.KindDenied:        "NOPERM not applied: write: not permitted",
		shard.KindInvalid:       "ERR not applied: write: invalid command",
	}
	for kind := shard.Kind(0); kind < 64; kind++ {
		e := &shard.Error{Kind: kind, Op: "write"}
		text := failureText(e)
		if w, ok := want[kind]; ok && text != w {
			t.Errorf("kind %d: %q, want %q", kind, text, w)
		} else if !ok && kind.String() != "unknown kind" {
			t.Errorf("kind %d (%v) has no row here", kind, kind)
		}
		if strings.Contains(text, " not applied: ") != (e.NotApplied() && want[kind] != "") {
			t.Errorf("kind %d: %q, and NotApplied is %t", kind, text, e.NotApplied())
		}
	}
	for _, err := range []error{nil, errors.New("other")} {
		if text := failureText(err); !strings.HasPrefix(text, textUnknown) {
			t.Errorf("%v: %q", err, text)
		}
	}
	moved := outcome(&shard.Reply{Result: fsm.Error(fsm.CodeSlotMoved, fsm.TextSlotMoved)})
	if !strings.HasPrefix(string(moved.Str), "TRYAGAIN ") {
		t.Errorf("a moved slot: %q", moved.Str)
	}
	if line := failureText(&shard.Error{Kind: shard.KindDenied, Err: errors.New("a\r\nb")}); strings.ContainsAny(line, "\r\n") {
		t.Errorf("%q has more than one line", line)
	}
}
