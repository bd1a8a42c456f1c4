// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// Goal: the client's table of commands is the server's: same numbers, names, keys and directions, and
// nothing is missing.
func TestCommandTablesAgree(t *testing.T) {
	known := map[wire.Op]bool{}
	for _, c := range wire.All() {
		known[c.Op] = true
		s := fsm.Data().Spec(fsm.Op(c.Op))
		if s == nil || s.Internal {
			t.Errorf("%s: the server has no command %d", c.Name, c.Op)
			continue
		}
		if s.Name != c.Name || s.Write != c.Write || s.FirstKey != int(c.FirstKey) || s.LastKey != int(c.LastKey) || s.KeyStep != int(c.KeyStep) || s.KeysFrom != c.KeysFrom() {
			t.Errorf("client has %+v, server has %s write %v keys %d %d %d", c, s.Name, s.Write, s.FirstKey, s.LastKey, s.KeyStep)
		}
	}
	for s := range fsm.Data().All() {
		if !s.Internal && !known[wire.Op(s.Op)] {
			t.Errorf("the client does not know %s, %d, keys %d %d %d, write %v", s.Name, s.Op, s.FirstKey, s.LastKey, s.KeyStep, s.Write)
		}
	}
}

// Goal: kinds, codes, slots, tokens and limits are the same on both sides of the wire.
func TestNumbersAgree(t *testing.T) {
	kinds := map[fsm.Kind]wire.ValueKind{
		fsm.KindNone: wire.KindNone, fsm.KindNull: wire.KindNull, fsm.KindInt: wire.KindInt, fsm.KindDouble: wire.KindDouble,
		fsm.KindBool: wire.KindBool, fsm.KindBigNumber: wire.KindBigNumber, fsm.KindBulk: wire.KindBulk,
		fsm.KindVerbatim: wire.KindVerbatim, fsm.KindStatus: wire.KindStatus, fsm.KindError: wire.KindError,
		fsm.KindArray: wire.KindArray, fsm.KindMap: wire.KindMap, fsm.KindSet: wire.KindSet, fsm.KindPush: wire.KindPush,
	}
	for a, b := range kinds {
		if uint8(a) != uint8(b) {
			t.Errorf("kind %d is %d on the wire", a, b)
		}
	}
	codes := map[fsm.Code]wire.Code{
		fsm.CodeOK: wire.CodeOK, fsm.CodeError: wire.CodeError, fsm.CodeWrongType: wire.CodeWrongType, fsm.CodeSyntax: wire.CodeSyntax,
		fsm.CodeNotInteger: wire.CodeNotInteger, fsm.CodeOverflow: wire.CodeOverflow, fsm.CodeNoSuchKey: wire.CodeNoSuchKey,
		fsm.CodeOutOfRange: wire.CodeOutOfRange, fsm.CodeTooBig: wire.CodeTooBig, fsm.CodeVersion: wire.CodeVersion,
		fsm.CodeOOM: wire.CodeOOM, fsm.CodeSlotMoved: wire.CodeSlotMoved, fsm.CodeSlotFrozen: wire.CodeSlotFrozen,
		fsm.CodeArity: wire.CodeArity, fsm.CodeUnknown: wire.CodeUnknown, fsm.CodeCrossSlot: wire.CodeCrossSlot,
		fsm.CodeTokenExpired: wire.CodeTokenExpired, fsm.CodeReplyDropped: wire.CodeReplyDropped,
	}
	for a, b := range codes {
		if uint8(a) != uint8(b) {
			t.Errorf("code %d is %d on the wire", a, b)
		}
	}
	for _, key := range []string{"", "a", "foo{bar}baz", "{}x", "{{a}}"} {
		if fsm.SlotOf([]byte(key)) != wire.SlotOf([]byte(key)) {
			t.Errorf("slots of %q differ", key)
		}
	}
	l := fsm.DefaultLimits()
	if l.MaxKey != wire.MaxKey || l.MaxValue != wire.MaxValue || l.MaxArgs != wire.MaxArgs || l.MaxCommand > wire.MaxFrame {
		t.Errorf("limits: %+v", l)
	}
	if wire.Slots != fsm.Slots || wire.MaxGroups != shard.MaxGroups || wire.MaxNodes < shard.MaxNodes || wire.MaxName < shard.MaxNameLen {
		t.Error("counts differ")
	}
}

// Goal: every delivery error keeps its number, and only "unknown" may have been applied.
func TestFailureOf(t *testing.T) {
	kinds := map[shard.Kind]wire.Kind{
		shard.KindNotLeader: wire.FailNotLeader, shard.KindNoQuorum: wire.FailNoQuorum, shard.KindOverloaded: wire.FailOverloaded,
		shard.KindNoSpace: wire.FailNoSpace, shard.KindClosing: wire.FailClosing, shard.KindUninitialised: wire.FailUninitialised,
		shard.KindTimeout: wire.FailTimeout, shard.KindUnknown: wire.FailUnknown, shard.KindDenied: wire.FailDenied,
		shard.KindInvalid: wire.FailInvalid,
	}
	for k, want := range kinds {
		f := failureOf(&shard.Error{Kind: k, Leader: "l"})
		if f.Kind != want || uint8(want) != uint8(k) || f.Leader != "l" || f.Text != k.String() {
			t.Errorf("%v: %+v", k, f)
		}
		if unknown := f.Applied == wire.AppliedUnknown; unknown != (k == shard.KindUnknown) {
			t.Errorf("%v: applied %v", k, f.Applied)
		}
	}
	for _, err := range []error{nil, errors.New("plain")} {
		if f := failureOf(err); f.Kind != wire.FailUnknown || f.Applied != wire.AppliedUnknown {
			t.Errorf("%v: %+v", err, f)
		}
	}
}

// Goal: results are written as wire.Value would be.
func TestAppendResult(t *testing.T) {
	bulk := fsm.Bulk([]byte("x\x00"))
	for _, r := range []fsm.Result{
		fsm.Null(),
		{},
		fsm.Int(-3),
		{Kind: fsm.KindDouble, Dbl: math.Pi},
		{Kind: fsm.KindBool, Int: 1},
		{Kind: fsm.KindBigNumber, Str: []byte("1")},
		bulk,
		{Kind: fsm.KindVerbatim, Str: []byte("txt:a")},
		fsm.OK(),
		fsm.Error(fsm.CodeOOM, fsm.TextOOM), fsm.Array([]fsm.Result{bulk, fsm.Null()}), fsm.Map([]fsm.Result{bulk, fsm.Int(1)}),
		{Kind: fsm.KindSet, Elems: []fsm.Result{fsm.Array(nil)}},
		{Kind: fsm.KindPush, Elems: []fsm.Result{fsm.OK()}},
	} {
		got := appendResult(nil, &r)
		v, n, err := wire.ParseValue(got)
		if err != nil || n != len(got) || !bytes.Equal(wire.AppendValue(nil, &v), got) {
			t.Errorf("%+v: % x, err %v", r, got, err)
		}
	}
}

// Goal: a reply over the limit is replaced by an error that says whether the command was applied.
func TestReplyTooLong(t *testing.T) {
	h := Handler{maxReply: 1000}
	fits, over := fsm.Bulk(make([]byte, 1000-9-1-5)), fsm.Bulk(make([]byte, 1000-9-1-4))
	for write, want := range map[bool]wire.Code{false: wire.CodeTooBig, true: wire.CodeReplyDropped} {
		for _, r := range []*fsm.Result{&fits, &over} {
			frame := h.appendReply([]byte("x"), 1, &shard.Reply{Result: *r}, write)
			f, n, _, err := wire.ParseFrame(frame[1:], 1000)
			if err != nil || n != len(frame)-1 {
				t.Fatal(err)
			}
			v, _, err := wire.ParseResult(f.Body)
			if r == &over && v.Code != want || r == &fits && v.Kind != wire.KindBulk || err != nil {
				t.Errorf("write %v: %+v, err %v", write, v, err)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	if retryAfter(shard.KindNoQuorum) < time.Millisecond || retryAfter(shard.KindDenied) != 0 {
		t.Error("waits are wrong")
	}
}
