// SPDX-License-Identifier: Apache-2.0

package native

import (
	"testing"

	"github.com/kvorum/kvorum/client/wire"
)

// FuzzSession: no bytes from a client, cut anywhere, bring the node down or keep it from serving
// others.
func FuzzSession(f *testing.F) {
	b := newBench(f, nil, nil)
	f.Cleanup(func() { b.t = f; b.close() })
	hello := wire.AppendHello(nil, &wire.Hello{MinVersion: 2, MaxVersion: 2, Features: wire.FeatureConcurrent | wire.FeaturePush})
	plain := wire.AppendHello(nil, &wire.Hello{MinVersion: 2, MaxVersion: 2})
	f.Add(wire.AppendV1Request(wire.AppendV1Request(nil, wire.V1Set, args(ttl(1), "k", "v")...), wire.V1Status), uint16(7))
	f.Add(append(request(1, wire.OpNamed, "get", "k"), request(2, wire.OpScan, "0")...), uint16(20))
	f.Add(append(hello, request(1, wire.OpSet, "k", "v")...), uint16(30))
	f.Add(append(plain, wire.AppendTopologyRequest(nil, 1, 0)...), uint16(3))
	other := b.dial()
	f.Cleanup(other.close)
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		b.t = t
		at := min(int(cut), len(in))
		for _, prefix := range [][]byte{nil, hello, plain} {
			p := b.dial()
			for _, part := range [][]byte{prefix, in[:at], in[at:]} {
				if _, err := p.nc.Write(part); err != nil {
					break // refused already
				}
			}
			p.close()
		}
		other.send(wire.AppendV1Request(nil, wire.V1Delete, []byte("other")))
		other.expect("the other connection", wire.AppendV1OK(nil, nil))
	})
}
