// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Magic opens both HELLOs of version 2. Its first byte differs from VersionV1, so one port serves
// both versions.
const Magic = "KV2\n"

// Version2 is the only version that a HELLO can agree on today.
const Version2 = 2

// Features is a set of optional parts of the protocol. The client names what it wants, the server
// answers what it grants; both then use exactly that.
type Features uint64

// The features. Unknown bits are ignored: a server never grants what it does not know.
const (
	// FeatureConcurrent: requests run at the same time and replies come in any order, but for
	// requests that carry the ordered flag. Without it, requests run one behind the other in the
	// order they were sent, and replies come in that order.
	FeatureConcurrent Features = 1 << 0
	// FeaturePush: the server may send push frames.
	FeaturePush Features = 1 << 1
)

// Method is how a client proves who it is.
type Method uint8

// The methods.
const (
	MethodNone     Method = 0
	MethodPassword Method = 1 // User and Secret
	MethodToken    Method = 2 // Secret
)

// Extension is a tagged field at the end of a HELLO. A tag with its highest bit set is mandatory:
// a side that does not know it ends the connection. Others are skipped when unknown.
type Extension struct {
	Tag uint16
	// Data aliases the parsed bytes.
	Data []byte
}

// mandatoryTag is the bit of Extension.Tag that forbids skipping it.
const mandatoryTag = 1 << 15

// Hello is what a client of version 2 sends first.
type Hello struct {
	// MinVersion and MaxVersion are the versions the client speaks, both included.
	MinVersion, MaxVersion uint8
	Features               Features
	Method                 Method
	User, Secret           string
	// Name says what the client is, for the server's lists and logs.
	Name       string
	Extensions []Extension
}

// Welcome is the server's answer to Hello.
type Welcome struct {
	// Version is the one agreed on; 0 when the server refuses, for the reason in Kind and Text,
	// and closes.
	Version  uint8
	Features Features
	// MaxInFlight is how many requests of this connection may await replies; the server stops
	// reading beyond it.
	MaxInFlight uint32
	// MaxFrame is the longest request that the server takes, in bytes.
	MaxFrame uint32
	// NodeID and ClusterID are empty before the cluster is founded.
	NodeID, ClusterID string
	// Server is the server's version text.
	Server string
	// Kind and Text say why a refusal was made; zero otherwise.
	Kind       Kind
	Text       string
	Extensions []Extension
}

// AppendHello appends h, magic and length included.
func AppendHello(dst []byte, h *Hello) []byte {
	dst = append(dst, Magic...)
	at := len(dst)
	dst = append(appendU32(dst, 0), h.MinVersion, h.MaxVersion)
	dst = append(appendU64(dst, uint64(h.Features)), byte(h.Method))
	dst = appendText(appendText(dst, h.User), h.Secret)
	dst = appendExtensions(appendName(dst, h.Name), h.Extensions)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// ParseHello reads a Hello off the front of src.
func ParseHello(src []byte) (h Hello, n int, err error) {
	r, n, err := helloBody(src)
	if n == 0 || err != nil {
		return h, 0, err
	}
	h.MinVersion, h.MaxVersion = r.u8(), r.u8()
	h.Features, h.Method = Features(r.u64()), Method(r.u8())
	h.User, h.Secret, h.Name = r.text(), r.text(), r.name()
	h.Extensions, err = parseExtensions(&r)
	if err != nil {
		return h, 0, err
	}
	return h, n, nil
}

// AppendWelcome appends w, magic and length included.
func AppendWelcome(dst []byte, w *Welcome) []byte {
	dst = append(dst, Magic...)
	at := len(dst)
	dst = append(appendU32(dst, 0), w.Version)
	dst = appendU64(dst, uint64(w.Features))
	dst = appendU32(appendU32(dst, w.MaxInFlight), w.MaxFrame)
	dst = appendName(appendName(appendName(dst, w.NodeID), w.ClusterID), w.Server)
	dst = appendText(append(dst, byte(w.Kind)), w.Text)
	dst = appendExtensions(dst, w.Extensions)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// ParseWelcome reads a Welcome off the front of src.
func ParseWelcome(src []byte) (w Welcome, n int, err error) {
	r, n, err := helloBody(src)
	if n == 0 || err != nil {
		return w, 0, err
	}
	w.Version, w.Features = r.u8(), Features(r.u64())
	w.MaxInFlight, w.MaxFrame = r.u32(), r.u32()
	w.NodeID, w.ClusterID, w.Server = r.name(), r.name(), r.name()
	w.Kind, w.Text = Kind(r.u8()), r.text()
	w.Extensions, err = parseExtensions(&r)
	if err != nil {
		return w, 0, err
	}
	return w, n, nil
}

// helloBody checks magic and length; n is 0 while bytes are missing.
func helloBody(src []byte) (r reader, n int, err error) {
	if head := min(len(src), len(Magic)); string(src[:head]) != Magic[:head] {
		return r, 0, ErrVersion
	}
	if len(src) < len(Magic)+4 {
		return r, 0, nil
	}
	size := binary.BigEndian.Uint32(src[len(Magic):])
	if size > MaxHello {
		return r, 0, ErrTooLong
	}
	n = len(Magic) + 4 + int(size)
	if len(src) < n {
		return r, 0, nil
	}
	return reader{src: src[len(Magic)+4 : n]}, n, nil
}

func appendExtensions(dst []byte, list []Extension) []byte {
	for _, e := range list {
		dst = append(appendU16(appendU16(dst, e.Tag), uint16(len(e.Data))), e.Data...)
	}
	return dst
}

// parseExtensions takes all that is left. No mandatory tag is known to this version.
func parseExtensions(r *reader) (list []Extension, err error) {
	for len(r.src) > 0 && !r.bad {
		e := Extension{Tag: r.u16()}
		e.Data = r.take(int(r.u16()))
		if !r.bad && e.Tag&mandatoryTag != 0 {
			return nil, ErrMandatory
		}
		list = append(list, e)
	}
	if !r.done() {
		return nil, ErrMalformed
	}
	return list, nil
}
