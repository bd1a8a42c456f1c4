// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// known fails the test for an error that is not one of the package's.
func known(t *testing.T, err error) {
	t.Helper()
	for _, k := range []error{ErrTooLong, ErrMalformed, ErrVersion, ErrMandatory} {
		if errors.Is(err, k) {
			return
		}
	}
	t.Fatalf("an error of its own: %v", err)
}

// FuzzV1Request: what parses is written back byte for byte; what is asked for makes progress.
func FuzzV1Request(f *testing.F) {
	f.Add(AppendV1Request(nil, V1Set, make([]byte, 8), []byte("k"), []byte("v")))
	f.Add(AppendV1Request(nil, V1Status))
	f.Add([]byte("\x01\x01\x00\x00\x00\x02\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, src []byte) {
		q, n, need, err := ParseV1Request(src, nil, 1<<16)
		switch {
		case err != nil:
			known(t, err)
		case n == 0:
			if need <= len(src) {
				t.Fatalf("need %d of %d", need, len(src))
			}
		default:
			if got := AppendV1Request(nil, q.Cmd, q.Args...); !bytes.Equal(got, src[:n]) {
				t.Fatalf("% x, want % x", got, src[:n])
			}
		}
	})
}

// FuzzClientFrames: whatever a client may send is refused or written back byte for byte.
func FuzzClientFrames(f *testing.F) {
	f.Add(AppendRequest(nil, 1, &Request{Op: OpSet, Args: [][]byte{[]byte("k"), []byte("v")}}))
	f.Add(AppendRequest(nil, 2, &Request{Op: OpIncr, Token: Token{Seq: 1}, Deadline: time.Second, Consistency: Stale, Ordered: true}))
	f.Add(AppendTopologyRequest(nil, 3, 4))
	f.Add(AppendBare(nil, FramePing, 5))
	f.Fuzz(func(t *testing.T, src []byte) {
		fr, n, need, err := ParseFrame(src, 1<<16)
		if err != nil {
			known(t, err)
			return
		}
		if n == 0 {
			if need <= len(src) {
				t.Fatalf("need %d of %d", need, len(src))
			}
			return
		}
		var got []byte
		switch fr.Type {
		case FrameRequest:
			q, _, err := ParseRequest(fr.Body, nil)
			if err != nil {
				known(t, err)
				return
			}
			got = AppendRequest(nil, fr.ID, &q)
		case FrameTopology:
			v, err := ParseTopologyRequest(fr.Body)
			if err != nil {
				known(t, err)
				return
			}
			got = AppendTopologyRequest(nil, fr.ID, v)
		default:
			return
		}
		if !bytes.Equal(got, src[:n]) {
			t.Fatalf("% x, want % x", got, src[:n])
		}
	})
}

// FuzzServerFrames: whatever a server may send is refused, or parsed, written and parsed to the
// same bytes again.
func FuzzServerFrames(f *testing.F) {
	for _, v := range sampleValues() {
		f.Add(EndResult(AppendValue(BeginResult(nil, 1, "leader"), &v), 0))
	}
	f.Add(AppendFailure(nil, 1, &Failure{Kind: FailNoQuorum, RetryAfter: time.Second, Leader: "n", Text: "t"}))
	f.Add(AppendPush(nil, Push{PushTopology, 3}))
	f.Add(AppendTopology(nil, 1, &Topology{Version: 1, Epoch: 2, Nodes: []TopologyNode{{"a", "b"}}, Groups: []TopologyGroup{{ID: 1, Replicas: []int16{0}}}}))
	f.Fuzz(func(t *testing.T, src []byte) {
		fr, n, _, err := ParseFrame(src, 1<<16)
		if err != nil {
			known(t, err)
			return
		}
		if n == 0 {
			return
		}
		first, err := rewrite(fr)
		if err != nil {
			known(t, err)
			return
		}
		fr2, n2, _, err := ParseFrame(first, MaxReply)
		if err != nil || n2 != len(first) {
			t.Fatalf("own frame refused: %v", err)
		}
		if second, err := rewrite(fr2); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("% x became % x, err %v", first, second, err)
		}
	})
}

func rewrite(fr Frame) ([]byte, error) {
	switch fr.Type {
	case FrameResult:
		v, leader, err := ParseResult(fr.Body)
		if err != nil {
			return nil, err
		}
		return EndResult(AppendValue(BeginResult(nil, fr.ID, leader), &v), 0), nil
	case FrameFailure:
		v, err := ParseFailure(fr.Body)
		return AppendFailure(nil, fr.ID, &v), err
	case FrameView:
		v, err := ParseTopology(fr.Body)
		if err != nil {
			return nil, err
		}
		return AppendTopology(nil, fr.ID, v), nil
	case FramePush:
		v, err := ParsePush(fr.Body)
		return AppendPush(nil, v), err
	default:
		return nil, ErrMalformed
	}
}

// FuzzHello: either HELLO is refused, asks for more, or is written back byte for byte.
func FuzzHello(f *testing.F) {
	h, w := sampleHello(), sampleWelcome()
	f.Add(AppendHello(nil, &h))
	f.Add(AppendWelcome(nil, &w))
	f.Fuzz(func(t *testing.T, src []byte) {
		if h, n, err := ParseHello(src); err != nil {
			known(t, err)
		} else if n > 0 && len(h.User)+len(h.Secret) <= MaxErrorText {
			if got := AppendHello(nil, &h); !bytes.Equal(got, src[:n]) {
				t.Fatalf("% x, want % x", got, src[:n])
			}
		}
		if w, n, err := ParseWelcome(src); err != nil {
			known(t, err)
		} else if n > 0 && len(w.Text) <= MaxErrorText {
			if got := AppendWelcome(nil, &w); !bytes.Equal(got, src[:n]) {
				t.Fatalf("% x, want % x", got, src[:n])
			}
		}
	})
}
