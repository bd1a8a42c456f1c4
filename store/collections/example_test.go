// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"fmt"

	"github.com/kvorum/kvorum/store/keyed"
)

func ExampleListEdit() {
	var e ListEdit
	e.Begin(nil, false)
	e.PushBack([]byte("b"))
	e.PushFront([]byte("a"))
	_, packed, _ := e.End()
	l := PackedList(packed)
	fmt.Printf("%s %s of %d\n", l.Index(0), l.Index(1), l.Len())
	// Output: a b of 2
}

func ExampleZSetEdit() {
	e := NewZSetEdit(keyed.New([16]byte{}))
	e.Begin(nil, false)
	e.Add([]byte("bo"), 2)
	e.Add([]byte("al"), 1)
	e.Add([]byte("cy"), 3)
	_, packed, _ := e.End()
	z := PackedZSet(packed)
	z.Range(z.ScoreRank(1, true), z.Len(), func(member []byte, score float64) bool {
		fmt.Printf("%s %g\n", member, score)
		return true
	})
	// Output:
	// bo 2
	// cy 3
}
