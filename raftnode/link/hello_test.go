// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func goodHello() hello {
	return hello{
		MinVersion: 1, MaxVersion: 1, Class: ClassRaft, Epoch: 7,
		Cluster: "c1", Sender: "a", Receiver: "b", Auth: []byte("secret"),
	}
}

func TestGreetingsRoundTrip(t *testing.T) {
	h := goodHello()
	raw := appendHello(nil, &h)
	n, err := parseGreetingHeader(raw, helloMagic)
	if err != nil || n != len(raw)-greetingHeader {
		t.Fatalf("header = %d, %v", n, err)
	}
	// Later versions append fields: what follows is ignored.
	got, err := parseHello(append(raw[greetingHeader:], "later"...))
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Fatalf("hello = %+v, %v", got, err)
	}
	w := welcome{Code: refuseEpoch, Version: 1, Features: 9, Epoch: 2, Cluster: "c", Sender: "s"}
	raw = appendWelcome(nil, &w)
	if got, err := parseWelcome(raw[greetingHeader:]); err != nil || got != w {
		t.Fatalf("welcome = %+v, %v", got, err)
	}
	for cut := range raw[greetingHeader:] {
		if _, err := parseWelcome(raw[greetingHeader : greetingHeader+cut]); err == nil {
			t.Fatalf("welcome cut to %d bytes is accepted", cut)
		}
	}
}

func TestGreetingLimits(t *testing.T) {
	h := goodHello()
	h.Sender = strings.Repeat("n", maxName)
	h.Auth = bytes.Repeat([]byte{1}, maxAuth)
	raw := appendHello(nil, &h)
	if _, err := parseHello(raw[greetingHeader:]); err != nil {
		t.Errorf("hello at its limits: %v", err)
	}
	long := h
	long.Sender += "n"
	if _, err := parseHello(appendHello(nil, &long)[greetingHeader:]); err == nil {
		t.Error("a name over the limit is accepted")
	}
	long = h
	long.Auth = append(long.Auth, 1)
	if _, err := parseHello(appendHello(nil, &long)[greetingHeader:]); err == nil {
		t.Error("an authentication blob over the limit is accepted")
	}
	head := append([]byte(helloMagic), 0, 0, maxGreetingBody>>8, 0)
	if n, err := parseGreetingHeader(head, helloMagic); err != nil || n != maxGreetingBody {
		t.Errorf("body at the limit: %d, %v", n, err)
	}
	head[7]++
	if _, err := parseGreetingHeader(head, helloMagic); err == nil {
		t.Error("a body over the limit is accepted")
	}
	if _, err := parseGreetingHeader([]byte("GET / HT"), helloMagic); !errors.Is(err, ErrNotPeer) {
		t.Errorf("stranger: %v", err)
	}
}

func TestJudgeHello(t *testing.T) {
	mine := Identity{Cluster: "c1", Epoch: 7}
	for _, tc := range []struct {
		name   string
		change func(*hello)
		mine   Identity
		want   byte
	}{
		{"good", func(*hello) {}, mine, welcomeOK},
		{"newer dialer speaks ours too", func(h *hello) { h.MaxVersion = 9 }, mine, welcomeOK},
		{"newer dialer does not", func(h *hello) { h.MinVersion, h.MaxVersion = 2, 9 }, mine, refuseVersion},
		{"older dialer", func(h *hello) { h.MinVersion, h.MaxVersion = 0, 0 }, mine, refuseVersion},
		{"optional feature", func(h *hello) { h.Features = 1 << 5 }, mine, welcomeOK},
		{"mandatory feature", func(h *hello) { h.Features = 1 << 32 }, mine, refuseFeature},
		{"no class", func(h *hello) { h.Class = 0 }, mine, refuseClass},
		{"class from the future", func(h *hello) { h.Class = maxClass + 1 }, mine, refuseClass},
		{"other receiver", func(h *hello) { h.Receiver = "c" }, mine, refuseReceiver},
		{"any receiver for raft", func(h *hello) { h.Receiver = "" }, mine, refuseReceiver},
		{"any receiver to observe", func(h *hello) { h.Receiver, h.Class = "", ClassObserve }, mine, welcomeOK},
		{"nameless", func(h *hello) { h.Sender = "" }, mine, refuseNotAdmitted},
		{"nameless joiner", func(h *hello) { h.Sender, h.Class = "", ClassJoin }, mine, welcomeOK},
		{"other cluster", func(h *hello) { h.Cluster = "c2" }, mine, refuseCluster},
		{"other cluster joins", func(h *hello) { h.Cluster, h.Class = "c2", ClassJoin }, mine, refuseCluster},
		{"no cluster", func(h *hello) { h.Cluster = "" }, mine, refuseCluster},
		{"no cluster joins", func(h *hello) { h.Cluster, h.Epoch, h.Class = "", 0, ClassJoin }, mine, welcomeOK},
		{"older epoch", func(h *hello) { h.Epoch = 6 }, mine, refuseEpoch},
		{"older epoch joins", func(h *hello) { h.Epoch, h.Class = 6, ClassJoin }, mine, refuseEpoch},
		{"we have no cluster", func(*hello) {}, Identity{}, refuseCluster},
		{"we have no cluster, join", func(h *hello) { h.Class = ClassJoin }, Identity{}, welcomeOK},
		{"nobody has a cluster", func(h *hello) { h.Cluster, h.Epoch = "", 0 }, Identity{}, refuseCluster},
	} {
		h := goodHello()
		tc.change(&h)
		if got := judgeHello(&h, "b", tc.mine); got != tc.want {
			t.Errorf("%s: code %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestJudgeWelcome(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*welcome)
		want   error
	}{
		{"good", func(*welcome) {}, nil},
		{"refused", func(w *welcome) { w.Code = refuseNotAdmitted }, ErrNotAdmitted},
		{"unknown refusal", func(w *welcome) { w.Code = 99 }, ErrProtocol},
		{"version", func(w *welcome) { w.Version = 2 }, ErrVersion},
		{"feature", func(w *welcome) { w.Features = 1 << 63 }, ErrFeature},
		{"another node", func(w *welcome) { w.Sender = "x" }, ErrWrongNode},
		{"nobody", func(w *welcome) { w.Sender = "" }, ErrWrongNode},
		{"another cluster", func(w *welcome) { w.Cluster = "c2" }, ErrOtherCluster},
		{"another epoch", func(w *welcome) { w.Epoch = 8 }, ErrOtherEpoch},
	} {
		h := goodHello()
		w := welcome{Version: 1, Epoch: 7, Cluster: "c1", Sender: "b"}
		tc.change(&w)
		if err := judgeWelcome(&h, &w); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func FuzzGreeting(f *testing.F) {
	h := goodHello()
	f.Add(appendHello(nil, &h)[greetingHeader:])
	f.Add(appendWelcome(nil, &welcome{Version: 1, Cluster: "c1", Sender: "b"})[greetingHeader:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		if h, err := parseHello(body); err == nil {
			again, err := parseHello(appendHello(nil, &h)[greetingHeader:])
			if err != nil || !reflect.DeepEqual(again, h) {
				t.Fatalf("hello %+v became %+v, %v", h, again, err)
			}
			judgeHello(&h, "b", testCluster)
		}
		if w, err := parseWelcome(body); err == nil {
			again, err := parseWelcome(appendWelcome(nil, &w)[greetingHeader:])
			if err != nil || again != w {
				t.Fatalf("welcome %+v became %+v, %v", w, again, err)
			}
		}
	})
}
