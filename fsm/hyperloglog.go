// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/kvorum/kvorum/store"
)

// A HyperLogLog is a string as Redis has it: a header of 16 bytes, which are "HYLL", the encoding, three zeros and the
// cardinality as it was counted last (little-endian, its highest bit set while it is not known), and the registers. Dense ones
// have 6 bits each. Sparse ones are runs:
//
//	00xxxxxx           x+1 registers are 0
//	01xxxxxx xxxxxxxx  the same
//	1vvvvvxx           x+1 registers are v+1
const (
	hllRegisters  = 1 << 14
	hllHeader     = 16
	hllDenseBytes = hllHeader + hllRegisters*6/8
	// hllSparseBytes is what a sparse one may grow to, hllSparseMost what it may hold.
	hllSparseBytes = 3000
	hllSparseMost  = 32
	// hllRunBytes bounds the runs of any sparse one.
	hllRunBytes = 2 * hllRegisters
	// hllHashBits are those behind the number of the register.
	hllHashBits = 50

	hllDense, hllSparse = 0, 1
	hllEncodingAt       = 4
	hllCardAt           = 8
	hllStaleAt          = 15
)

func hllRows() []Spec {
	return []Spec{
		one(OpPFAdd, "PFADD", -2, CatHyperLogLog|CatFast, runPFAdd).grows(),
		many(OpPFCount, "PFCOUNT", -2, 1, CatHyperLogLog|CatSlow, runPFCount).read(),
		many(OpPFMerge, "PFMERGE", -2, 1, CatHyperLogLog|CatSlow, runPFMerge).grows(),
	}
}

// hll is the registers of one, and the bytes that it is kept in.
type hll struct {
	data      []byte
	registers [hllRegisters]uint8
}

func newHLL() *hll {
	h := &hll{data: append([]byte("HYLL"), make([]byte, hllHeader-4)...)}
	h.data[hllEncodingAt] = hllSparse
	h.data = appendZeros(h.data, hllRegisters)
	return h
}

// isHLL tells whether a string may be one.
func isHLL(b []byte) bool {
	if len(b) < hllHeader || string(b[:4]) != "HYLL" {
		return false
	}
	return b[hllEncodingAt] == hllSparse || b[hllEncodingAt] == hllDense && len(b) == hllDenseBytes
}

// read makes each register the larger of what it is and what b has; false when b is damaged.
func (h *hll) read(b []byte) bool {
	if b[hllEncodingAt] == hllDense {
		for i := range h.registers {
			h.registers[i] = max(h.registers[i], denseRegister(b[hllHeader:], i))
		}
		return true
	}
	if len(b) > hllHeader+hllRunBytes {
		return false
	}
	at := 0
	for runs := b[hllHeader:]; len(runs) > 0; {
		value, n, size := hllRun(runs)
		if size == 0 || at+n > hllRegisters {
			return false
		}
		for i := at; value > 0 && i < at+n; i++ {
			h.registers[i] = max(h.registers[i], value)
		}
		at += n
		runs = runs[size:]
	}
	return at == hllRegisters
}

// hllRun reads the first run: what n registers are, and how many bytes say so, 0 for none.
func hllRun(runs []byte) (value uint8, n, size int) {
	c := runs[0]
	switch {
	case c&0x80 != 0:
		return c>>2&0x1f + 1, int(c&3) + 1, 1
	case c&0x40 == 0:
		return 0, int(c) + 1, 1
	case len(runs) < 2:
		return 0, 0, 0
	}
	return 0, (int(c&0x3f)<<8 | int(runs[1])) + 1, 2
}

func appendZeros(dst []byte, n int) []byte {
	switch {
	case n == 0:
		return dst
	case n > 64:
		return append(dst, byte((n-1)>>8)|0x40, byte(n-1))
	}
	return append(dst, byte(n-1))
}

func appendValues(dst []byte, value uint8, n int) []byte {
	if n == 0 {
		return dst
	}
	return append(dst, (value-1)<<2|byte(n-1)|0x80)
}

// denseRegister reads register i.
func denseRegister(b []byte, i int) uint8 {
	at, shift := i*6/8, i*6%8
	v := uint(b[at]) >> shift
	if at+1 < len(b) {
		v |= uint(b[at+1]) << (8 - shift)
	}
	return uint8(v & 63)
}

func setDenseRegister(b []byte, i int, v uint8) {
	at, shift := i*6/8, i*6%8
	b[at] = b[at]&^byte(63<<shift) | byte(uint(v)<<shift)
	if at+1 < len(b) {
		b[at+1] = b[at+1]&^byte(63>>(8-shift)) | byte(v>>(8-shift))
	}
}

// makeDense gives h the bytes of a dense one.
func (h *hll) makeDense() {
	if h.data[hllEncodingAt] == hllDense {
		return
	}
	dense := append(make([]byte, 0, hllDenseBytes), h.data[:hllHeader]...)
	dense = append(dense, make([]byte, hllDenseBytes-hllHeader)...)
	dense[hllEncodingAt] = hllDense
	for i, v := range h.registers {
		if v > 0 {
			setDenseRegister(dense[hllHeader:], i, v)
		}
	}
	h.data = dense
}

// raise makes a register at least v, and tells whether it was less.
func (h *hll) raise(i int, v uint8) bool {
	if h.registers[i] >= v {
		return false
	}
	h.registers[i] = v
	if h.data[hllEncodingAt] == hllSparse && !h.raiseSparse(i, v) {
		h.makeDense()
	}
	if h.data[hllEncodingAt] == hllDense {
		setDenseRegister(h.data[hllHeader:], i, v)
	}
	return true
}

// raiseSparse writes a register, which holds less, into its run; false when the result is not sparse any more.
func (h *hll) raiseSparse(i int, v uint8) bool {
	if v > hllSparseMost {
		return false
	}
	before, at, first := -1, hllHeader, 0
	value, n, size := hllRun(h.data[at:])
	for first+n <= i {
		before = at
		first += n
		at += size
		value, n, size = hllRun(h.data[at:])
	}
	var room [5]byte
	runs := room[:0]
	left, right := i-first, first+n-1-i
	if value == 0 {
		runs = appendZeros(appendValues(appendZeros(runs, left), v, 1), right)
	} else {
		runs = appendValues(appendValues(appendValues(runs, value, left), v, 1), value, right)
	}
	if more := len(runs) - size; more > 0 && len(h.data)+more > hllSparseBytes {
		return false
	}
	tail := append(runs, h.data[at+size:]...)
	h.data = append(h.data[:at], tail...)
	if before < 0 {
		before = at
	}
	h.joinRuns(before)
	return true
}

// joinRuns makes one run of neighbours that hold the same, among the first few from a place on.
func (h *hll) joinRuns(at int) {
	for range 5 {
		if at >= len(h.data) {
			return
		}
		value, n, size := hllRun(h.data[at:])
		if value > 0 && at+1 < len(h.data) {
			if next, m, _ := hllRun(h.data[at+1:]); next == value && n+m <= 4 {
				h.data[at+1] = appendValues(nil, value, n+m)[0]
				h.data = append(h.data[:at], h.data[at+1:]...)
				continue
			}
		}
		at += size
	}
}

// stale notes that the cardinality in the header is not that of the registers.
func (h *hll) stale() { h.data[hllStaleAt] |= 0x80 }

// hllPlace gives the register of an element, and what it is to be at least.
func hllPlace(element []byte) (register int, v uint8) {
	hash := murmur64(element)
	return int(hash % hllRegisters), uint8(bits.TrailingZeros64(hash/hllRegisters|1<<hllHashBits)) + 1
}

// murmur64 is MurmurHash64A with Redis' seed.
func murmur64(b []byte) uint64 {
	const m, r, seed = 0xc6a4a7935bd1e995, 47, 0xadc83b19
	h := seed ^ uint64(len(b))*m
	for ; len(b) >= 8; b = b[8:] {
		k := binary.LittleEndian.Uint64(b) * m
		h = (h ^ (k^k>>r)*m) * m
	}
	if len(b) > 0 {
		for i, c := range b {
			h ^= uint64(c) << (8 * i)
		}
		h *= m
	}
	h = (h ^ h>>r) * m
	return h ^ h>>r
}

// count estimates how many elements there are: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
// sketches".
func (h *hll) count() int64 {
	const m, alpha = float64(hllRegisters), 0.721347520444481703680
	var with [64]int
	for _, v := range h.registers {
		with[v]++
	}
	z := float64(m * hllTau((m-float64(with[hllHashBits+1]))/m))
	for j := hllHashBits; j >= 1; j-- {
		z += float64(with[j])
		z *= 0.5
	}
	z += float64(m * hllSigma(float64(with[0])/m))
	return int64(math.Round(alpha * m * m / z))
}

func hllSigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		before := z
		z += float64(x * y)
		y += y
		if z == before {
			return z
		}
	}
}

func hllTau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= float64(float64((1-x)*(1-x)) * y)
		if z == before {
			return z / 3
		}
	}
}

// merge reads the keys into one; those that are named again once. dense tells whether one of them is.
func (x *execution) merge(keys [][]byte) (h *hll, dense bool, bad *Result) {
	h = newHLL()
	seen := make(map[string]struct{}, min(len(keys), manyOperands))
	for i, key := range keys {
		if !remember(seen, key) {
			continue
		}
		x.slot = x.keySlots[i]
		b, found, bad := x.stringOf(key)
		if bad == nil && found {
			bad = h.take(b)
			dense = dense || bad == nil && b[hllEncodingAt] == hllDense
		}
		if bad != nil {
			return nil, false, bad
		}
	}
	return h, dense, nil
}

// take is read with Redis' errors.
func (h *hll) take(b []byte) *Result {
	var res Result
	switch {
	case !isHLL(b):
		res = Error(CodeWrongType, TextNotHLL)
	case !h.read(b):
		res = Error(CodeError, TextDamagedHLL)
	default:
		return nil
	}
	return &res
}

// runPFCount counts, unless the header of the one key knows; it keeps nothing of what it counted.
func runPFCount(x *execution, args [][]byte) Result {
	if len(args) == 1 {
		if b, found, bad := x.stringOf(args[0]); bad == nil && found && isHLL(b) && b[hllStaleAt]&0x80 == 0 {
			return Int(int64(binary.LittleEndian.Uint64(b[hllCardAt:])))
		}
	}
	h, _, bad := x.merge(args)
	if bad != nil {
		return *bad
	}
	return Int(h.count())
}

// changeHLL begins a change of the key's value.
func (x *execution) changeHLL(key []byte) (h *hll, m store.Meta, found bool, bad *Result) {
	ref, found, bad := x.takeTyped(key, store.TypeString)
	if bad != nil {
		return nil, m, false, bad
	}
	h = newHLL()
	if !found {
		return h, store.Meta{ExpireAt: x.fresh()}, false, nil
	}
	bad = h.take(ref.Bytes())
	h.data = clone(ref.Bytes())
	return h, ref.Meta(), true, bad
}

func (x *execution) writeHLL(key []byte, h *hll, m store.Meta) {
	h.stale()
	m.Version = x.ctx.NextVersion()
	x.k.st.SetString(x.slot, key, h.data, m)
}

func runPFAdd(x *execution, args [][]byte) Result {
	h, m, found, bad := x.changeHLL(args[0])
	if bad != nil {
		return *bad
	}
	changed := !found
	for _, element := range args[1:] {
		if h.raise(hllPlace(element)) {
			changed = true
		}
	}
	if changed {
		x.writeHLL(args[0], h, m)
	}
	return truth(changed)
}

func runPFMerge(x *execution, args [][]byte) Result {
	all, dense, bad := x.merge(args)
	if bad != nil {
		return *bad
	}
	x.slot = x.keySlots[0]
	h, m, _, bad := x.changeHLL(args[0])
	if bad != nil {
		return *bad
	}
	if dense {
		h.makeDense()
	}
	for i, v := range all.registers {
		h.raise(i, v)
	}
	x.writeHLL(args[0], h, m)
	return OK()
}
