// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// spreadKeys is a machine with keys of 16 bytes and values of 100 that do not compress, and its snapshot.
func spreadKeys(b *testing.B, keys int) (*testMachine, []byte) {
	const cmds = 1024
	tm := newOwner(b)
	id := tm.open()
	index, _ := tm.m.Applied()
	rng := rand.NewChaCha8([32]byte{1})
	value := make([]byte, 100)
	for n, seq := 0, uint64(1); n < keys; seq++ {
		index++
		sub := &Sub{Writes: cmds, Session: id, Seq: seq, Low: seq}
		for range cmds {
			_, _ = rng.Read(value)
			set := Command{Op: OpSet, Args: bytesOf(fmt.Sprintf("key:%012d", n), string(value))}
			sub.Body = AppendCommand(sub.Body, &set)
			n++
		}
		tm.m.Apply(index, 1, entryOf(Header{Clock: testClock}, sub), nil)
	}
	var buf bytes.Buffer
	v, err := tm.m.View()
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	if _, err := v.WriteTo(&buf); err != nil {
		b.Fatal(err)
	}
	return tm, buf.Bytes()
}

const snapshotKeys = 1 << 20

func BenchmarkSnapshot(b *testing.B) {
	tm, data := spreadKeys(b, snapshotKeys)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		v, err := tm.m.View()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := v.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*snapshotKeys), "ns/key")
}

func BenchmarkRestore(b *testing.B) {
	_, data := spreadKeys(b, snapshotKeys)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		tm := newOwner(b)
		if err := tm.m.Restore(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*snapshotKeys), "ns/key")
}
