// SPDX-License-Identifier: Apache-2.0

package client

import (
	"sync"
	"testing"

	"github.com/kvorum/kvorum/client/wire"
)

// Goal: no two writes of a slot in flight share an id, sequences of an id grow, and an id comes back.
func TestTokens(t *testing.T) {
	var ts tokens
	ts.base = [16]byte{1, 2, 3}
	seen := map[[16]byte]uint64{}
	var held []wire.Token
	for range 64 {
		tok, ok := ts.take(7)
		if _, twice := seen[tok.Client]; !ok || twice || tok.Seq == 0 {
			t.Fatalf("%+v, ok %v", tok, ok)
		}
		seen[tok.Client] = tok.Seq
		held = append(held, tok)
	}
	if _, ok := ts.take(7); ok {
		t.Error("a 65th id")
	}
	if tok, ok := ts.take(8); !ok || tok.Client[15] != 0 {
		t.Errorf("another slot: %+v, ok %v", tok, ok)
	}
	ts.give(7, held[40])
	if tok, ok := ts.take(7); !ok || tok.Client != held[40].Client || tok.Seq <= held[40].Seq {
		t.Errorf("given back: %+v, ok %v", tok, ok)
	}
}

func TestTokensConcurrent(t *testing.T) {
	var ts tokens
	var wg sync.WaitGroup
	var mu sync.Mutex
	busy := map[byte]bool{}
	for range 16 {
		wg.Go(func() {
			for range 2000 {
				tok, ok := ts.take(3)
				if !ok {
					t.Error("no id for 16 writes")
					return
				}
				id := tok.Client[15]
				mu.Lock()
				if busy[id] {
					t.Errorf("id %d is in use twice", id)
				}
				busy[id] = true
				mu.Unlock()
				mu.Lock()
				busy[id] = false
				mu.Unlock()
				ts.give(3, tok)
			}
		})
	}
	wg.Wait()
}
