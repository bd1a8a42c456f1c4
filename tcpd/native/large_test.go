// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
)

func (b *bench) run(words ...string) {
	b.t.Helper()
	spec, ok := b.router.Table().Lookup([]byte(words[0]))
	if !ok {
		b.t.Fatal(words[0])
	}
	if res := b.router.Run(fsm.Command{Op: spec.Op, Args: args(words[1:]...)}); res.IsError() {
		b.t.Fatalf("%s: %s", words[0], res.Str)
	}
}

// TestLargeReplies: replies that are written piece by piece have the bytes of those that are not, come
// in order where order is kept, and whole where others are sent beside them.
func TestLargeReplies(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	big, bigger := strings.Repeat("b", largeReply+1), strings.Repeat("c", 3<<20)
	b.run("SET", "big", big)
	b.run("SET", "bigger", bigger)
	b.run("SET", "small", "s")
	for i := range 4000 {
		b.run("RPUSH", "list", fmt.Sprint("element ", i, strings.Repeat(".", 40)))
	}
	want := map[string]string{"big": big, "bigger": bigger, "small": "s", "none": "null"}
	keys := []string{"big", "small", "bigger", "none", "big"}
	var list strings.Builder
	list.WriteString("[")
	for i := range 4000 {
		fmt.Fprint(&list, "element ", i, strings.Repeat(".", 40), ";")
	}
	list.WriteString("]")
	joined := "[" + big + ";s;" + bigger + ";null;]"
	for _, features := range []wire.Features{0, wire.FeatureConcurrent} {
		p := b.dial2(features)
		texts := map[uint64]string{}
		id := uint64(0)
		for range 8 {
			var frames []byte
			for _, k := range keys {
				id++
				texts[id] = want[k]
				frames = append(frames, request(id, wire.OpGet, k)...)
			}
			id++
			texts[id] = list.String()
			frames = append(frames, request(id, wire.Op(fsm.OpLRange), "list", "0", "-1")...)
			id++
			texts[id] = joined
			frames = append(frames, request(id, wire.Op(fsm.OpMGet), "big", "small", "bigger", "none")...)
			p.send(frames)
		}
		for at := range id {
			got, text := p.answer()
			if features == 0 && got != at+1 {
				t.Fatalf("answer %d came in place of %d", got, at+1)
			}
			if text != texts[got] || texts[got] == "" {
				t.Fatalf("request %d: %d bytes %.60s, want %d bytes", got, len(text), text, len(texts[got]))
			}
			delete(texts, got)
		}
		p.close()
	}
	p := b.dial()
	defer p.close()
	p.send(
		wire.AppendV1Request(nil, wire.V1Get, []byte("small")), wire.AppendV1Request(nil, wire.V1Get, []byte("bigger")),
		wire.AppendV1Request(nil, wire.V1Get, []byte("none")), wire.AppendV1Request(nil, wire.V1Get, []byte("big")),
	)
	p.expect("version 1", bytes.Join([][]byte{
		wire.AppendV1OK(nil, []byte("s")), wire.AppendV1OK(nil, []byte(bigger)),
		wire.AppendV1Error(nil, wire.V1NotFound), wire.AppendV1OK(nil, []byte(big)),
	}, nil))
}

// TestLargeRepliesAreNotCopied: a large reply costs the edge no memory of its size.
func TestLargeRepliesAreNotCopied(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	const size, n = 8 << 20, 16
	b.run("SET", "k", strings.Repeat("v", size))
	for _, features := range []wire.Features{0, wire.FeatureConcurrent} {
		p := b.dial2(features)
		var frames []byte
		for id := range uint64(n) {
			frames = append(frames, request(id+1, wire.OpGet, "k")...)
		}
		chunk := make([]byte, 64<<10)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p.send(frames)
		for left := n * size; left > 0; {
			k, err := p.nc.Read(chunk)
			if err != nil {
				t.Fatal(err)
			}
			left -= k
		}
		runtime.ReadMemStats(&after)
		// The router's own copies are n × size.
		if took := after.TotalAlloc - before.TotalAlloc; took > n*size+n*size/2 {
			t.Errorf("features %d: %d MiB for %d MiB of replies", features, took>>20, n*size>>20)
		}
		p.close()
	}
}
