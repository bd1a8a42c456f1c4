// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/binary"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// maxStructInt is the longest integer of the library struct, in bytes; struct.pack and its like know maxStructPad at most.
const (
	maxStructInt = 32
	maxStructPad = 16
)

// layout walks over a format of the library struct.
type layout struct {
	r      *run
	l      *lua.LState
	format string
	big    bool
	align  int
	// total counts the bytes so far.
	total int
}

// item is one option of a format.
type item struct {
	option byte
	size   int
}

// number reads the digits of an option.
func (f *layout) number(unset int) int {
	n, digits := 0, 0
	for len(f.format) > 0 && '0' <= f.format[0] && f.format[0] <= '9' {
		if n = 10*n + int(f.format[0]-'0'); n > maxString {
			f.r.raise(f.l, "integral size overflow")
		}
		f.format = f.format[1:]
		digits++
	}
	if digits == 0 {
		return unset
	}
	return n
}

// next gives the next item that has bytes, and how many go before it for its alignment; false at the end.
func (f *layout) next() (it item, pad int, ok bool) {
	for len(f.format) > 0 {
		f.r.work(f.l, 0)
		it.option = f.format[0]
		f.format = f.format[1:]
		switch it.option {
		case 'b', 'B', 'x':
			it.size = 1
		case 'h', 'H':
			it.size = 2
		case 'l', 'L', 'T', 'd', 'n':
			it.size = 8
		case 'f':
			it.size = 4
		case 'c':
			it.size = f.number(1)
		case 'i', 'I':
			if it.size = f.number(4); it.size > maxStructInt {
				f.r.raise(f.l, "integral size %d is larger than limit of %d", it.size, maxStructInt)
			}
		case 's':
		case ' ':
			continue
		case '<', '>':
			f.big = it.option == '>'
			continue
		case '!':
			if f.align = f.number(8); f.align <= 0 || f.align&(f.align-1) != 0 || f.align > maxStructPad {
				f.r.raise(f.l, "alignment is not a power of 2")
			}
			continue
		default:
			f.l.ArgError(1, "invalid format option '"+string(it.option)+"'")
		}
		if by := min(it.size, f.align); by > 1 && it.option != 'c' {
			pad = (by - f.total&(by-1)) & (by - 1)
		}
		return it, pad, true
	}
	return it, 0, false
}

// structs is the library struct.
func (r *run) structs() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{"pack": r.structPack, "unpack": r.structUnpack, "size": r.structSize}
}

func (r *run) structSize(l *lua.LState) int {
	f := layout{r: r, l: l, format: r.str(l, 1), align: 1}
	for {
		it, pad, ok := f.next()
		if !ok {
			break
		}
		if it.option == 's' {
			l.ArgError(1, "option 's' has no fixed size")
		} else if it.option == 'c' && it.size == 0 {
			l.ArgError(1, "option 'c0' has no fixed size")
		}
		f.total += pad + it.size
	}
	l.Push(lua.LNumber(f.total))
	return 1
}

func (r *run) structPack(l *lua.LState) int {
	f := layout{r: r, l: l, format: r.str(l, 1), align: 1}
	var out []byte
	arg := 1
	for {
		f.total = len(out)
		it, pad, ok := f.next()
		if !ok {
			break
		}
		f.room(len(out), pad+it.size)
		out = append(out, make([]byte, pad)...)
		if it.option == 'x' {
			out = append(out, 0)
			continue
		}
		arg++
		switch it.option {
		case 's', 'c':
			s := r.str(l, arg)
			size := it.size
			if it.option == 's' || size == 0 {
				size = len(s)
			}
			if len(s) < size {
				l.ArgError(arg, "string too short")
			}
			f.room(len(out), size+1)
			out = append(out, s[:size]...)
			if it.option == 's' {
				out = append(out, 0)
			}
		case 'f':
			out = f.append(out, uint64(math.Float32bits(float32(l.CheckNumber(arg)))), 4, 0)
		case 'd', 'n':
			out = f.append(out, math.Float64bits(float64(l.CheckNumber(arg))), 8, 0)
		default:
			n := integer(float64(l.CheckNumber(arg)))
			fill := byte(0)
			if n < 0 {
				fill = 0xff
			}
			if it.size > 8 {
				fill = 0 // as the library
			}
			out = f.append(out, uint64(n), it.size, fill)
		}
	}
	l.Push(lua.LString(out))
	return 1
}

// room is asked before n bytes are added to those that there are.
func (f *layout) room(there, n int) {
	if there+n > maxString {
		f.r.tooBig(f.l)
	}
	f.r.meter.large(there + n)
	f.r.spend(f.l, n)
}

// append writes the low bytes of v, and fill beyond them.
func (f *layout) append(dst []byte, v uint64, size int, fill byte) []byte {
	var b [maxStructInt]byte
	for i := range b {
		b[i] = fill
	}
	binary.LittleEndian.PutUint64(b[:], v)
	for i := range size {
		if f.big {
			i = size - 1 - i
		}
		dst = append(dst, b[i])
	}
	return dst
}

func (r *run) structUnpack(l *lua.LState) int {
	f := layout{r: r, l: l, format: r.str(l, 1), align: 1}
	data := r.str(l, 2)
	f.total = l.OptInt(3, 1) - 1
	if f.total < 0 {
		l.ArgError(3, "offset must be 1 or greater")
	}
	base := l.GetTop()
	for {
		it, pad, ok := f.next()
		if !ok {
			break
		}
		if f.total > len(data) || pad+it.size > len(data)-f.total {
			l.ArgError(2, "data string too short")
		}
		f.total += pad
		if l.GetTop()-base > maxUnpack {
			r.raise(l, "too many results to unpack")
		}
		rest := data[f.total:]
		switch it.option {
		case 'x':
		case 's':
			n := strings.IndexByte(rest, 0)
			if n < 0 {
				r.raise(l, "unfinished string in data")
			}
			l.Push(lua.LString(rest[:n]))
			it.size = n + 1
		case 'c':
			if it.size == 0 {
				n, ok := l.Get(-1).(lua.LNumber)
				if !ok || l.GetTop() == base {
					r.raise(l, "format 'c0' needs a previous size")
				}
				l.Pop(1)
				if !(n >= 0 && n <= lua.LNumber(len(rest))) {
					l.ArgError(2, "data string too short")
				}
				it.size = int(n)
			}
			l.Push(lua.LString(rest[:it.size]))
		case 'f':
			l.Push(lua.LNumber(math.Float32frombits(uint32(f.load(rest, 4)))))
		case 'd', 'n':
			l.Push(lua.LNumber(math.Float64frombits(f.load(rest, 8))))
		default:
			v := f.load(rest, it.size)
			if signed := it.option >= 'a'; signed && it.size < 8 && it.size > 0 {
				shift := 64 - 8*it.size
				l.Push(lua.LNumber(int64(v<<shift) >> shift))
			} else if signed {
				l.Push(lua.LNumber(int64(v)))
			} else {
				l.Push(lua.LNumber(v))
			}
		}
		f.total += it.size
	}
	l.Push(lua.LNumber(f.total + 1))
	return l.GetTop() - base
}

func (f *layout) load(data string, size int) (v uint64) {
	for i := range size {
		if !f.big {
			i = size - 1 - i
		}
		v = v<<8 | uint64(data[i])
	}
	return v
}
