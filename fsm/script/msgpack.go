// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/binary"
	"math"

	lua "github.com/yuin/gopher-lua"
)

// packDepth bounds the depth of what cmsgpack packs: what is deeper becomes nil, as in Redis.
const packDepth = 16

// msgpack is the library cmsgpack.
func (r *run) msgpack() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"pack": func(l *lua.LState) int {
			if l.GetTop() == 0 {
				l.ArgError(0, "MessagePack pack needs input.")
			}
			p := packer{r: r, l: l}
			for i := 1; i <= l.GetTop(); i++ {
				p.value(l.Get(i), 0)
			}
			l.Push(lua.LString(p.buf))
			return 1
		},
		"unpack": func(l *lua.LState) int { return r.unpackMessages(l, 0, 0, false) },
		"unpack_one": func(l *lua.LState) int {
			return r.unpackMessages(l, 1, l.OptInt(2, 0), true)
		},
		"unpack_limit": func(l *lua.LState) int {
			return r.unpackMessages(l, l.CheckInt(2), l.OptInt(3, 0), true)
		},
	}
}

type packer struct {
	r   *run
	l   *lua.LState
	buf []byte
}

func (p *packer) room(n int) {
	if len(p.buf)+n > maxString {
		p.r.tooBig(p.l)
	}
	p.r.meter.large(len(p.buf) + n)
	p.r.spend(p.l, n)
}

// head writes a length: short is the form with the length in the first byte, of lengths below limit; forms are the first
// bytes for one, two and four bytes of length, 0 for none.
func (p *packer) head(n, limit int, short byte, forms [3]byte) {
	be := binary.BigEndian
	switch {
	case n < limit:
		p.buf = append(p.buf, short|byte(n))
	case n <= math.MaxUint8 && forms[0] != 0:
		p.buf = append(p.buf, forms[0], byte(n))
	case n <= math.MaxUint16:
		p.buf = be.AppendUint16(append(p.buf, forms[1]), uint16(n))
	default:
		p.buf = be.AppendUint32(append(p.buf, forms[2]), uint32(n))
	}
}

func (p *packer) value(v lua.LValue, depth int) {
	p.room(16)
	switch v := v.(type) {
	case lua.LString:
		p.room(len(v))
		p.head(len(v), 32, 0xa0, [3]byte{0xd9, 0xda, 0xdb})
		p.buf = append(p.buf, v...)
	case lua.LBool:
		b := byte(0xc2)
		if v {
			b = 0xc3
		}
		p.buf = append(p.buf, b)
	case lua.LNumber:
		p.number(float64(v))
	case *lua.LTable:
		if depth == packDepth {
			p.buf = append(p.buf, 0xc0)
			return
		}
		p.table(p.r.behind(v), depth+1)
	default:
		p.buf = append(p.buf, 0xc0)
	}
}

func (p *packer) number(f float64) {
	be := binary.BigEndian
	n := integer(f)
	switch {
	case float64(n) != f || n == math.MinInt64:
		if small := float32(f); float64(small) == f {
			p.buf = be.AppendUint32(append(p.buf, 0xca), math.Float32bits(small))
		} else {
			p.buf = be.AppendUint64(append(p.buf, 0xcb), math.Float64bits(f))
		}
	case n >= 0 && n <= 127 || n < 0 && n >= -32:
		p.buf = append(p.buf, byte(n))
	case n >= 0 && n <= math.MaxUint8:
		p.buf = append(p.buf, 0xcc, byte(n))
	case n >= 0 && n <= math.MaxUint16:
		p.buf = be.AppendUint16(append(p.buf, 0xcd), uint16(n))
	case n >= 0 && n <= math.MaxUint32:
		p.buf = be.AppendUint32(append(p.buf, 0xce), uint32(n))
	case n >= 0:
		p.buf = be.AppendUint64(append(p.buf, 0xcf), uint64(n))
	case n >= math.MinInt8:
		p.buf = append(p.buf, 0xd0, byte(n))
	case n >= math.MinInt16:
		p.buf = be.AppendUint16(append(p.buf, 0xd1), uint16(n))
	case n >= math.MinInt32:
		p.buf = be.AppendUint32(append(p.buf, 0xd2), uint32(n))
	default:
		p.buf = be.AppendUint64(append(p.buf, 0xd3), uint64(n))
	}
}

// table packs an array when the keys are 1 to the number of elements, else a map.
func (p *packer) table(t *lua.LTable, depth int) {
	items, highest, array := 0, 0.0, true
	t.ForEach(func(k, _ lua.LValue) {
		items++
		n, ok := k.(lua.LNumber)
		array = array && ok && n > 0 && float64(n) == math.Floor(float64(n))
		highest = max(highest, float64(n))
	})
	if array = array && int(highest) == items; array && items > 0 {
		p.head(items, 16, 0x90, [3]byte{0, 0xdc, 0xdd})
		for i := 1; i <= items; i++ {
			p.value(t.RawGet(lua.LNumber(i)), depth)
		}
		return
	}
	if items == 0 {
		p.buf = append(p.buf, 0x90)
		return
	}
	p.head(items, 16, 0x80, [3]byte{0, 0xde, 0xdf})
	t.ForEach(func(k, v lua.LValue) {
		p.value(k, depth)
		p.value(v, depth)
	})
}

// unpackMessages pushes up to limit messages, 0 for all, from an offset on; partly: the offset behind them goes first,
// -1 at the end.
func (r *run) unpackMessages(l *lua.LState, limit, offset int, partly bool) int {
	src := r.str(l, 1)
	if limit < 0 || offset < 0 || offset > len(src) {
		r.raise(l, "Invalid request to unpack with offset of %d and limit of %d.", offset, len(src))
	}
	d := unpacker{r: r, l: l, src: src[offset:]}
	base := l.GetTop()
	if partly {
		l.Push(lua.LNil)
	}
	for n := 0; len(d.src) > 0 && (limit == 0 || n < limit); n++ {
		if n >= maxUnpack {
			r.raise(l, "too many results to unpack")
		}
		l.Push(d.value(0))
	}
	if partly {
		at := len(src) - len(d.src)
		if len(d.src) == 0 {
			at = -1
		}
		l.Replace(base+1, lua.LNumber(at))
	}
	return l.GetTop() - base
}

type unpacker struct {
	r   *run
	l   *lua.LState
	src string
}

func (d *unpacker) bytes(n int) string {
	if n > len(d.src) || n < 0 {
		d.r.raise(d.l, "Missing bytes in input.")
	}
	b := d.src[:n]
	d.src = d.src[n:]
	return b
}

func (d *unpacker) uint(n int) (v uint64) {
	for _, c := range []byte(d.bytes(n)) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (d *unpacker) value(depth int) lua.LValue {
	if depth > jsonDepth {
		d.r.raise(d.l, "Bad data format in input.")
	}
	d.r.spend(d.l, 64)
	c := byte(d.uint(1))
	switch {
	case c <= 0x7f:
		return lua.LNumber(c)
	case c >= 0xe0:
		return lua.LNumber(int8(c))
	case c <= 0x8f:
		return d.table(int(c&15), true, depth)
	case c <= 0x9f:
		return d.table(int(c&15), false, depth)
	case c <= 0xbf:
		return d.text(int(c & 31))
	}
	switch c {
	case 0xc0:
		return lua.LNil
	case 0xc2, 0xc3:
		return lua.LBool(c == 0xc3)
	case 0xc4, 0xc5, 0xc6:
		return d.text(int(d.uint(1 << (c - 0xc4))))
	case 0xca:
		return lua.LNumber(math.Float32frombits(uint32(d.uint(4))))
	case 0xcb:
		return lua.LNumber(math.Float64frombits(d.uint(8)))
	case 0xcc, 0xcd, 0xce, 0xcf:
		return lua.LNumber(d.uint(1 << (c - 0xcc)))
	case 0xd0, 0xd1, 0xd2, 0xd3:
		size := 1 << (c - 0xd0)
		shift := 64 - 8*size
		return lua.LNumber(int64(d.uint(size)<<shift) >> shift)
	case 0xd9, 0xda, 0xdb:
		return d.text(int(d.uint(1 << (c - 0xd9))))
	case 0xdc, 0xdd:
		return d.table(int(d.uint(2<<(c-0xdc))), false, depth)
	case 0xde, 0xdf:
		return d.table(int(d.uint(2<<(c-0xde))), true, depth)
	}
	d.r.raise(d.l, "Bad data format in input.")
	return lua.LNil
}

func (d *unpacker) text(n int) lua.LValue {
	d.r.room(d.l, min(n, len(d.src)))
	return lua.LString(d.bytes(n))
}

// table reads n elements, or n pairs. Each element takes a byte of the input at least.
func (d *unpacker) table(n int, pairs bool, depth int) lua.LValue {
	t := d.l.NewTable()
	d.r.spend(d.l, 2*stepBytes)
	if n >= maxArray {
		d.r.checkKey(d.l, t, lua.LNumber(maxArray))
	}
	for i := 1; i <= n; i++ {
		v := d.value(depth + 1)
		if !pairs {
			d.r.meter.large(16 * i)
			t.RawSetInt(i, v)
			continue
		}
		if v == lua.LNil {
			d.r.raise(d.l, "Bad data format in input.")
		}
		key := v
		d.r.checkKey(d.l, t, key)
		t.RawSet(key, d.value(depth+1))
	}
	return t
}
