// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"testing"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

func ttl(seconds int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(seconds)))
}

// Goal: every command of version 1 answers byte for byte as the table of the protocol says.
func TestV1Commands(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	ok := func(body string) []byte { return wire.AppendV1OK(nil, []byte(body)) }
	bad := func(text string) []byte { return wire.AppendV1Error(nil, text) }
	steps := []struct {
		name string
		cmd  uint8
		args [][]byte
		want []byte
	}{
		{"get of nothing", wire.V1Get, args("k"), bad("not found")},
		{"set for ever", wire.V1Set, args(ttl(0), "k", "value"), ok("")},
		{"get", wire.V1Get, args("k"), ok("value")},
		{"get with more arguments", wire.V1Get, args("k", "ignored"), ok("value")},
		{"set of nothing", wire.V1Set, args(ttl(0), "empty", ""), ok("")},
		{"get of nothing stored", wire.V1Get, args("empty"), ok("")},
		{"status", wire.V1Status, nil, ok(`{"count":2,"keySize":6,"valueSize":5}`)},
		{"status with arguments", wire.V1Status, args("x"), ok(`{"count":2,"keySize":6,"valueSize":5}`)},
		{"delete", wire.V1Delete, args("empty"), ok("")},
		{"delete of nothing", wire.V1Delete, args("empty"), ok("")},
		{"nodes", wire.V1Nodes, nil, ok(`["` + self + `:7402","b:7402"]`)},
		{"set with a time", wire.V1Set, args(ttl(10), "k", "short"), ok("")},
		{"get in time", wire.V1Get, args("k"), ok("short")},
		{"set with more arguments", wire.V1Set, args(ttl(0), "n", "dead", "x"), ok("")},
		{"set with a time in the past", wire.V1Set, args(ttl(-1), "n", "dead"), ok("")},
		{"get of the dead", wire.V1Get, args("n"), bad("not found")},
		{"set with a short time field", wire.V1Set, args("1234567", "k", "v"), bad("ttl must be 8 bytes")},
		{"set with a time over all times", wire.V1Set, args(ttl(math.MaxInt64), "k", "v"), bad("ERR invalid expire time in 'set' command")},
		{"get without key", wire.V1Get, nil, bad("command needs more arguments")},
		{"delete without key", wire.V1Delete, nil, bad("command needs more arguments")},
		{"set without value", wire.V1Set, args(ttl(0), "k"), bad("command needs more arguments")},
		{"no such command", 0x06, args("k"), bad("failed to find a handler of command")},
		{"command zero", 0x00, nil, bad("failed to find a handler of command")},
		{"too long a key", wire.V1Get, args(string(make([]byte, fsm.MaxKeyBytes+1))), bad(fsm.TextKeyTooBig)},
		{"the longest key", wire.V1Get, args(string(make([]byte, fsm.MaxKeyBytes))), bad("not found")},
	}
	for _, s := range steps {
		p.send(wire.AppendV1Request(nil, s.cmd, s.args...))
		p.expect(s.name, s.want)
	}
	b.router.Advance(10_000)
	p.send(wire.AppendV1Request(nil, wire.V1Get, []byte("k")))
	p.expect("get after its time", bad("not found"))
}

func TestV1Outcomes(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	two := b.dial2(0)
	defer two.close()
	two.send(request(1, wire.OpRPush, "list", "x"))
	two.expectAnswer(1, "int 1")
	p.send(wire.AppendV1Request(nil, wire.V1Get, []byte("list")))
	p.expect("get of a list", wire.AppendV1Error(nil, fsm.TextWrongType))
	b.router.SetMap(tcpdtest.NewMap(5))
	p.send(wire.AppendV1Request(nil, wire.V1Nodes))
	p.expect("no nodes", wire.AppendV1OK(nil, []byte("[]")))
}

// Goal: requests sent together are one router call and answered in order, errors among them.
func TestV1Pipeline(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	var in, want []byte
	for i := range 60 {
		k := []byte{byte('a' + i%20)}
		in = wire.AppendV1Request(in, wire.V1Set, []byte(ttl(0)), k, []byte{byte(i)})
		want = wire.AppendV1OK(want, nil)
		in = wire.AppendV1Request(in, wire.V1Get, k)
		want = wire.AppendV1OK(want, []byte{byte(i)})
	}
	p.send(in)
	p.expect("pipeline", want)
	if got := b.router.Calls.Load(); got != 1 {
		t.Errorf("%d router calls for one packet", got)
	}
	in, want = nil, nil
	in = wire.AppendV1Request(in, wire.V1Delete, []byte("a"))
	want = wire.AppendV1OK(want, nil)
	in = wire.AppendV1Request(in, 0x77)
	want = wire.AppendV1Error(want, wire.V1UnknownCommand)
	in = wire.AppendV1Request(in, wire.V1Nodes)
	want = wire.AppendV1OK(want, []byte(`["`+self+`:7402","b:7402"]`))
	in = wire.AppendV1Request(in, wire.V1Get, []byte("a"))
	want = wire.AppendV1Error(want, wire.V1NotFound)
	p.send(in)
	p.expect("mixed pipeline", want)
	for i := range in {
		p.send(in[i : i+1])
	}
	p.expect("byte by byte", want)
}

// Goal: more requests at once than one router call takes, and larger than any buffer, come out
// right.
func TestV1ManyAndLarge(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	large := bytes.Repeat([]byte("v"), fsm.DefaultMaxValue)
	go func() { _, _ = p.nc.Write(wire.AppendV1Request(nil, wire.V1Set, []byte(ttl(0)), []byte("big"), large)) }()
	p.expect("largest value", wire.AppendV1OK(nil, nil))
	go func() { _, _ = p.nc.Write(wire.AppendV1Request(nil, wire.V1Get, []byte("big"))) }()
	p.expect("largest value back", wire.AppendV1OK(nil, large))
	go func() {
		_, _ = p.nc.Write(wire.AppendV1Request(nil, wire.V1Set, []byte(ttl(0)), []byte("big"), append(large, 'x')))
	}()
	p.expect("one byte more", wire.AppendV1Error(nil, fsm.TextStringTooBig))
	var in, want []byte
	for range 10 * maxBatch {
		in = wire.AppendV1Request(in, wire.V1Get, []byte("none"))
		want = wire.AppendV1Error(want, wire.V1NotFound)
	}
	go func() { _, _ = p.nc.Write(in) }()
	p.expect("many", want)
}

// Goal: what cannot be read on is answered with one error and ends its connection alone.
func TestV1BrokenFrames(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	long := binary.BigEndian.AppendUint32([]byte{wire.VersionV1, wire.V1Get, 0, 0, 0, 1}, uint32(b.h.maxFrame))
	tests := []struct {
		name string
		in   []byte
		want string
	}{
		{"frame too long", long, "frame too long"},
		{"too many arguments", []byte("\x01\x01\x7f\xff\xff\xff"), "frame too long"},
		{"another version behind a good frame", append(wire.AppendV1Request(nil, wire.V1Delete, []byte("k")), 2), "protocol version mismatch"},
		{"another protocol", []byte("GET / HTTP/1.1\r\n\r\n"), "protocol version mismatch"},
	}
	for _, tt := range tests {
		p := b.dial()
		p.send(tt.in)
		if tt.in[0] == wire.VersionV1 && len(tt.in) > 10 && tt.in[1] == wire.V1Delete {
			p.expect(tt.name, wire.AppendV1OK(nil, nil))
		}
		p.expect(tt.name, wire.AppendV1Error(nil, tt.want))
		p.expectEnd(tt.name)
		b.healthy()
	}
}

// Goal: a connection that breaks at any byte of any frame leaves the others untouched.
func TestBrokenAtEveryByte(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	other := b.dial()
	defer other.close()
	v1 := wire.AppendV1Request(nil, wire.V1Set, []byte(ttl(3)), []byte("k"), []byte("v"))
	v2 := wire.AppendHello(nil, &wire.Hello{MinVersion: 2, MaxVersion: 2, Features: wire.FeatureConcurrent, Name: "x"})
	v2 = append(v2, request(1, wire.OpSet, "k", "v")...)
	for _, whole := range [][]byte{v1, v2} {
		for cut := range whole {
			p := b.dial()
			p.send(whole[:cut])
			p.close()
			flipped := bytes.Clone(whole)
			flipped[cut] ^= 0xff
			p = b.dial()
			_, _ = p.nc.Write(flipped)
			p.close()
			other.send(wire.AppendV1Request(nil, wire.V1Delete, []byte("other")))
			other.expect("the other connection", wire.AppendV1OK(nil, nil))
		}
	}
}

func TestV1DeliveryErrors(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	b.router.Before = func(_ context.Context, _ *shard.Caller, cmd *fsm.Command) error {
		if string(cmd.Args[0]) == "lost" {
			return errNoQuorum
		}
		return nil
	}
	b.router.After = func(_ *shard.Caller, cmd *fsm.Command) error {
		if string(cmd.Args[0]) == "dark" {
			return &shard.Error{Kind: shard.KindUnknown, Op: "write"}
		}
		return nil
	}
	p := b.dial()
	defer p.close()
	p.send(wire.AppendV1Request(nil, wire.V1Set, args(ttl(0), "lost", "v")...))
	p.expect("not applied", wire.AppendV1Error(nil, "write: no quorum (not applied)"))
	p.send(wire.AppendV1Request(nil, wire.V1Set, args(ttl(0), "dark", "v")...))
	p.expect("unknown", wire.AppendV1Error(nil, "write: outcome unknown (it may have been applied)"))
}
