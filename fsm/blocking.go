// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math/big"

	"github.com/kvorum/kvorum/store"
)

// Commands that wait pop from a list or a sorted set, and wait while there is none. In the log they try once and
// answer null when there is nothing, as in a transaction; the waiting is done where the client is, by trying
// again. So nobody who waits is part of the state.

// Pops says what a waiting command pops from.
type Pops uint8

// The kinds of keys that are popped from.
const (
	PopsNothing Pops = iota
	PopsList
	PopsZSet
)

// Waiters is told of writes to keys that somebody may wait for. It is local to a replica and no part of its state.
type Waiters interface {
	// Any tells whether anybody waits. It is asked once for each write, under the locks of its slots, and costs
	// no more than a load: who registered before it was asked hears of the write, who looks at a key later sees it.
	Any() bool
	// Touched is called for each key of a write, under the locks of its slots: holds is what can be popped from the
	// key now, popped tells that the write was a try of a command that waits. It must be quick, must not call the
	// keyspace, and does not keep key.
	Touched(key []byte, holds Pops, popped bool)
	// Opened is called when slots came with what they hold: any key may hold something now. No lock is held.
	Opened()
}

// blockingRows are the rows of commands that wait.
func blockingRows() []Spec {
	pop := func(op Op, name string, p Pops, cat uint64, run func(*execution, [][]byte) Result) Spec {
		s := one(op, name, -3, cat, run).write().replies().verified(verifyLastTimeout).waits(p)
		s.LastKey = -2
		return s
	}
	return []Spec{
		pop(OpBLPop, "BLPOP", PopsList, CatList|CatSlow|CatBlocking, runBlockingPop),
		pop(OpBRPop, "BRPOP", PopsList, CatList|CatSlow|CatBlocking, runBlockingPop),
		two(OpBLMove, "BLMOVE", 6, CatList|CatSlow|CatBlocking, runLMove).grows().replies().verified(verifyBLMove).waits(PopsList),
		two(OpBRPopLPush, "BRPOPLPUSH", 4, CatList|CatSlow|CatBlocking, runLMove).grows().replies().verified(verifyLastTimeout).waits(PopsList),
		counted(OpBLMPop, "BLMPOP", -5, 2, CatList|CatSlow|CatBlocking, runBLMPop).write().replies().verified(verifyBMPop("LEFT", "RIGHT")).waits(PopsList),
		pop(OpBZPopMin, "BZPOPMIN", PopsZSet, CatSortedSet|CatFast|CatBlocking, runBlockingZPop),
		pop(OpBZPopMax, "BZPOPMAX", PopsZSet, CatSortedSet|CatFast|CatBlocking, runBlockingZPop),
		counted(OpBZMPop, "BZMPOP", -5, 2, CatSortedSet|CatSlow|CatBlocking, runBZMPop).write().replies().verified(verifyBMPop("MIN", "MAX")).waits(PopsZSet),
	}
}

func (s Spec) waits(p Pops) Spec {
	s.Pops = p
	return s
}

// parseTimeout reads seconds and gives milliseconds, rounded up; 0 is for ever. text is empty or the error.
func parseTimeout(arg []byte) (millis int64, text string) {
	v, ok := parseFloat(arg)
	switch {
	case !ok:
		return 0, TextTimeoutFloat
	case v.IsInf():
		return 0, TextTimeoutNegative
	}
	v.Mul(v, big.NewFloat(1000))
	n, exact := v.Int(nil)
	if exact == big.Below { // the fraction was cut off
		n.Add(n, big.NewInt(1))
	}
	if n.Sign() < 0 || !n.IsInt64() { // the latter as Redis has it
		return 0, TextTimeoutNegative
	}
	return n.Int64(), ""
}

func verifyTimeout(arg []byte) (Result, bool) {
	if _, text := parseTimeout(arg); text != "" {
		return fail(text)
	}
	return Result{}, true
}

func verifyLastTimeout(args [][]byte, _ *Limits) (Result, bool) {
	return verifyTimeout(args[len(args)-1])
}

func verifyBLMove(args [][]byte, l *Limits) (Result, bool) {
	if res, ok := verifyLMove(args[:4], l); !ok {
		return res, ok
	}
	return verifyTimeout(args[4])
}

func verifyBMPop(first, last string) func([][]byte, *Limits) (Result, bool) {
	pops := verifyMPop(first, last)
	return func(args [][]byte, l *Limits) (Result, bool) {
		if res, ok := pops(args[1:], l); !ok {
			return res, ok
		}
		return verifyTimeout(args[0])
	}
}

// runBlockingPop is BLPOP and BRPOP: key… timeout.
func runBlockingPop(x *execution, args [][]byte) Result {
	res := x.popList(args[:len(args)-1], 1, x.spec.Op == OpBRPop)
	if res.Kind == KindArray {
		res.Elems[1] = res.Elems[1].Elems[0]
	}
	return res
}

func runBLMPop(x *execution, args [][]byte) Result {
	o, _ := parseMPop(args[1:], "LEFT", "RIGHT")
	first, end := x.spec.CountedKeys(args)
	return x.popList(args[first:end], o.count, o.last)
}

// runBlockingZPop is BZPOPMIN and BZPOPMAX: key… timeout.
func runBlockingZPop(x *execution, args [][]byte) Result {
	res := x.popZSet(args[:len(args)-1], 1, x.spec.Op == OpBZPopMax)
	if res.Kind == KindArray {
		pair := res.Elems[1].Elems[0].Elems
		res.Elems = append(res.Elems[:1], pair...)
	}
	return res
}

func runBZMPop(x *execution, args [][]byte) Result {
	o, _ := parseMPop(args[1:], "MIN", "MAX")
	first, end := x.spec.CountedKeys(args)
	return x.popZSet(args[first:end], o.count, o.last)
}

// Wait is what a command that waits asks for.
type Wait struct {
	Pops Pops
	// Keys are popped from, the first one with anything in it first. They alias the command's arguments.
	Keys [][]byte
	// Millis is how long to wait, in milliseconds; 0 is for ever.
	Millis int64
}

// WaitOf takes a command of this row apart; false when it does not wait. The command has passed Check.
func (s *Spec) WaitOf(args [][]byte) (w Wait, ok bool) {
	var timeout []byte
	switch w.Pops = s.Pops; {
	case s.Pops == PopsNothing:
		return w, false
	case s.KeysFrom > 0:
		first, end := s.CountedKeys(args)
		w.Keys, timeout = args[first:end], args[0]
	case s.LastKey < 0:
		w.Keys, timeout = args[:len(args)-1], args[len(args)-1]
	default:
		w.Keys, timeout = args[:1], args[len(args)-1]
	}
	w.Millis, _ = parseTimeout(timeout)
	return w, true
}

// TryOf is the command of this row and these arguments with only the i-th of the keys to pop from: what is tried
// when that key came to hold something.
func (s *Spec) TryOf(args [][]byte, i int) Command {
	switch first, end := s.CountedKeys(args); {
	case first < end:
		args = append([][]byte{args[0], formatInt(1), args[first+i]}, args[end:]...)
	case s.LastKey < 0:
		args = [][]byte{args[i], args[len(args)-1]}
	}
	return Command{Op: s.Op, Args: args}
}

// PopsOf is what can be popped from a key of the type that TYPE names.
func PopsOf(name []byte) Pops {
	switch string(name) {
	case store.TypeList.String():
		return PopsList
	case store.TypeZSet.String():
		return PopsZSet
	}
	return PopsNothing
}

// popsOf tells what can be popped from an entry.
func popsOf(ref store.Ref, found bool) Pops {
	switch {
	case !found:
	case ref.Type() == store.TypeList:
		return PopsList
	case ref.Type() == store.TypeZSet:
		return PopsZSet
	}
	return PopsNothing
}

// tell tells those who wait of the keys that a write named, and that came to this result. A try that did not run is none.
func (x *execution) tell(w Waiters, args [][]byte, res *Result) {
	ran := res.Code != CodeReplyRoom && res.Code != CodeSlotFrozen && res.Code != CodeSlotMoved
	n := 0
	for _, key := range x.spec.Keys(args) {
		ref, found := x.k.st.Get(x.keySlots[n], key, x.now)
		popped := ran && x.spec.Pops != PopsNothing && (n == 0 || x.spec.LastKey != 2)
		w.Touched(key, popsOf(ref, found), popped)
		n++
	}
}
