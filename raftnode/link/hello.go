// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	helloMagic   = "KVPL"
	welcomeMagic = "KVPW"

	// version is the only protocol version so far.
	version = 1

	// greetingHeader is magic, body length.
	greetingHeader = 8
	// maxGreetingBody bounds the body of both greetings, authentication included.
	maxGreetingBody = 8 << 10
	// maxName bounds node and cluster ids.
	maxName = 128
	// maxAuth bounds the reserved authentication blob.
	maxAuth = 4 << 10

	// Features in the upper half are mandatory: who does not know one refuses the greeting.
	mandatoryFeatures uint64 = 0xffffffff00000000
	knownFeatures     uint64 = 0
)

// Codes of a welcome. The numbers are on the wire and never change.
const (
	welcomeOK          = 0
	refuseVersion      = 1
	refuseFeature      = 2
	refuseCluster      = 3
	refuseEpoch        = 4
	refuseReceiver     = 5
	refuseClass        = 6
	refuseNotAdmitted  = 7
	refuseTooManyConns = 8
)

// refusals maps a welcome's code to the error of the refused side.
func refusal(code byte) error {
	switch code {
	case welcomeOK:
		return nil
	case refuseVersion:
		return ErrVersion
	case refuseFeature:
		return ErrFeature
	case refuseCluster:
		return ErrOtherCluster
	case refuseEpoch:
		return ErrOtherEpoch
	case refuseReceiver:
		return ErrWrongNode
	case refuseClass:
		return ErrNoHandler
	case refuseNotAdmitted:
		return ErrNotAdmitted
	case refuseTooManyConns:
		return ErrBusy
	}
	return fmt.Errorf("%w: refused with unknown code %d", ErrProtocol, code)
}

// hello opens a connection; the dialer sends it.
type hello struct {
	// MinVersion and MaxVersion are the versions the dialer speaks.
	MinVersion, MaxVersion uint16
	Features               uint64
	Class                  Class
	Epoch                  uint64
	// Cluster is "" when the dialer belongs to none; Receiver is "" when it means any node.
	Cluster, Sender, Receiver string
	Auth                      []byte
}

// welcome answers a hello; the acceptor sends it, then closes unless Code is welcomeOK.
type welcome struct {
	Code            byte
	Version         uint16
	Features        uint64
	Epoch           uint64
	Cluster, Sender string
}

var errGreeting = errors.New("malformed greeting")

func appendName(dst []byte, s string) []byte {
	dst = append(dst, byte(len(s)))
	return append(dst, s...)
}

// appendHello appends magic, length and body.
func appendHello(dst []byte, h *hello) []byte {
	dst = append(dst, helloMagic...)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, h.MinVersion)
	dst = binary.BigEndian.AppendUint16(dst, h.MaxVersion)
	dst = binary.BigEndian.AppendUint64(dst, h.Features)
	dst = append(dst, byte(h.Class))
	dst = binary.BigEndian.AppendUint64(dst, h.Epoch)
	dst = appendName(dst, h.Cluster)
	dst = appendName(dst, h.Sender)
	dst = appendName(dst, h.Receiver)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.Auth)))
	dst = append(dst, h.Auth...)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendWelcome appends magic, length and body.
func appendWelcome(dst []byte, w *welcome) []byte {
	dst = append(dst, welcomeMagic...)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, w.Code)
	dst = binary.BigEndian.AppendUint16(dst, w.Version)
	dst = binary.BigEndian.AppendUint64(dst, w.Features)
	dst = binary.BigEndian.AppendUint64(dst, w.Epoch)
	dst = appendName(dst, w.Cluster)
	dst = appendName(dst, w.Sender)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// parseGreetingHeader checks the magic and returns the length of the body.
func parseGreetingHeader(src []byte, magic string) (int, error) {
	if len(src) < greetingHeader || string(src[:4]) != magic {
		return 0, ErrNotPeer
	}
	n := binary.BigEndian.Uint32(src[4:])
	if n > maxGreetingBody {
		return 0, fmt.Errorf("%w: %d bytes", errGreeting, n)
	}
	return int(n), nil
}

// greetingReader takes fields off a body; bad sticks.
type greetingReader struct {
	b   []byte
	bad bool
}

func (r *greetingReader) take(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.b, r.bad = nil, true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *greetingReader) u8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *greetingReader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *greetingReader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *greetingReader) name() string {
	n := int(r.u8())
	if n > maxName {
		r.bad = true
		return ""
	}
	return string(r.take(n))
}

// parseHello reads a body. Bytes after the last field are ignored: later versions append.
func parseHello(body []byte) (hello, error) {
	r := greetingReader{b: body}
	var h hello
	h.MinVersion, h.MaxVersion = r.u16(), r.u16()
	h.Features = r.u64()
	h.Class = Class(r.u8())
	h.Epoch = r.u64()
	h.Cluster, h.Sender, h.Receiver = r.name(), r.name(), r.name()
	n := int(r.u16())
	if n > maxAuth {
		r.bad = true
	} else if b := r.take(n); n > 0 && b != nil {
		h.Auth = append([]byte(nil), b...)
	}
	if r.bad {
		return hello{}, fmt.Errorf("%w: hello", errGreeting)
	}
	return h, nil
}

// parseWelcome reads a body, as parseHello does.
func parseWelcome(body []byte) (welcome, error) {
	r := greetingReader{b: body}
	var w welcome
	w.Code = r.u8()
	w.Version = r.u16()
	w.Features = r.u64()
	w.Epoch = r.u64()
	w.Cluster, w.Sender = r.name(), r.name()
	if r.bad {
		return welcome{}, fmt.Errorf("%w: welcome", errGreeting)
	}
	return w, nil
}

// judgeHello decides what the acceptor, being self of mine, answers.
func judgeHello(h *hello, self string, mine Identity) byte {
	switch {
	case h.MinVersion > version || h.MaxVersion < version:
		return refuseVersion
	case h.Features&mandatoryFeatures&^knownFeatures != 0:
		return refuseFeature
	case !h.Class.valid():
		return refuseClass
	case h.Receiver != "" && h.Receiver != self, h.Receiver == "" && !h.Class.mayOmitReceiver():
		return refuseReceiver
	case h.Sender == "" && h.Class != ClassJoin:
		return refuseNotAdmitted
	}
	return judgeIdentity(h.Class, Identity{h.Cluster, h.Epoch}, mine)
}

// judgeIdentity compares the two sides' clusters. Over ClassJoin either side may have none; any
// other class needs the same cluster and epoch on both.
func judgeIdentity(class Class, theirs, mine Identity) byte {
	if class == ClassJoin && (theirs.Cluster == "" || mine.Cluster == "") {
		return welcomeOK
	}
	if theirs.Cluster != mine.Cluster || mine.Cluster == "" {
		return refuseCluster
	}
	if theirs.Epoch != mine.Epoch {
		return refuseEpoch
	}
	return welcomeOK
}

// judgeWelcome decides whether the dialer, who sent h, accepts the answer.
func judgeWelcome(h *hello, w *welcome) error {
	if err := refusal(w.Code); err != nil {
		return err
	}
	switch {
	case w.Version != version:
		return ErrVersion
	case w.Features&mandatoryFeatures&^knownFeatures != 0:
		return ErrFeature
	case w.Sender == "" || h.Receiver != "" && w.Sender != h.Receiver:
		return ErrWrongNode
	}
	return refusal(judgeIdentity(h.Class, Identity{w.Cluster, w.Epoch}, Identity{h.Cluster, h.Epoch}))
}
