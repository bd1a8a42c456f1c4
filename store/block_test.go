// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"testing"

	"github.com/kvorum/kvorum/store/arena"
)

// Goal: a node read through its first word is the node. Method: every layout, with keys and values at the bounds of
// the headers, against the methods of node.
func TestBlockIsTheNode(t *testing.T) {
	s := New(Config{})
	for _, typ := range []Type{TypeString, TypeList, TypeHash} {
		for _, keyLen := range []int{0, 1, 7, 255, 256, 70_000} {
			for _, size := range []int{0, 1, sumKept - 1, sumKept, 65535, 65536, 3 << 20} {
				for _, flags := range []uint32{0, 7} {
					key := bytes.Repeat([]byte{'k'}, keyLen)
					l := newLayout(typ, false, flags, keyLen, size)
					ref, p := s.arena.Alloc(l.bytes())
					n := node(p)
					l.put(n, 1<<40+uint64(size), flags)
					copy(n.key(), key)
					for i := range n.value() {
						n.value()[i] = byte(i)
					}
					n.recency().Store(77)
					checkBlock(t, s, ref, n, key)
					s.arena.Free(ref)
				}
			}
		}
	}
}

func checkBlock(t *testing.T, s *Store, ref arena.Ref, n node, key []byte) {
	t.Helper()
	b := s.block(ref)
	_, v, e := n.span()
	bv, be := b.valueSpan()
	if bv != v || be != e || b.typ() != n.typ() || b.version() != n.version() || b.recency() != n.recency() {
		t.Fatalf("key of %d, value %d:%d: block says %d:%d %v %d", len(key), v, e, bv, be, b.typ(), b.version())
	}
	if !bytes.Equal(b.value(), n.value()) || !bytes.Equal(b.node(), n[:e]) {
		t.Fatalf("key of %d, value of %d: other bytes", len(key), e-v)
	}
	if cap(b.value()) != e-v {
		t.Fatalf("a value of %d can grow to %d", e-v, cap(b.value()))
	}
	other := append([]byte{}, key...)
	if !b.is(key) || b.is(append(other, 'k')) || len(key) > 0 && b.is(key[1:]) {
		t.Fatalf("key of %d is not itself, or a shorter or longer one", len(key))
	}
	if len(key) > 0 {
		other = append([]byte{}, key...)
		other[len(other)-1]++
		if b.is(other) {
			t.Fatalf("key of %d is another", len(key))
		}
	}
	p, ok := b.shortPacked(n.typ())
	if short := n[12]&nodeLong == 0; ok != (short && !n.large()) || b.isShort(key) != short || ok && !bytes.Equal(p, n.value()) {
		t.Fatalf("packed: %t", ok)
	}
	if _, ok := b.shortPacked(TypeSet); ok || b.largeOf(n.typ()) != n.large() || b.largeOf(TypeSet) {
		t.Fatal("a set")
	}
	if n.large() && b.object() != n.object() {
		t.Fatalf("object %d is %d", n.object(), b.object())
	}
	if b.setVersion(5); n.version() != 5 {
		t.Fatal("version")
	}
}
