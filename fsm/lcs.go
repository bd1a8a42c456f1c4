// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// lcsTable bounds the table that LCS works on, in bytes: four for each pair of bytes of the two strings.
const lcsTable = 16 << 20

// lcsOptions are the words behind the keys of LCS.
type lcsOptions struct {
	length, ranges, lengths bool
	least                   int64
}

func parseLCS(args [][]byte) (o lcsOptions, text string) {
	for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
		switch {
		case EqualFold(rest[0], "IDX"):
			o.ranges = true
		case EqualFold(rest[0], "LEN"):
			o.length = true
		case EqualFold(rest[0], "WITHMATCHLEN"):
			o.lengths = true
		case EqualFold(rest[0], "MINMATCHLEN") && len(rest) > 1:
			var ok bool
			if o.least, ok = parseInt(rest[1]); !ok {
				return o, TextNotInteger
			}
			rest = rest[1:]
		default:
			return o, TextSyntax
		}
	}
	if o.length && o.ranges {
		return o, TextLCSBoth
	}
	return o, ""
}

// lcsStrings finds the two strings; an absent one is empty.
func (x *execution) lcsStrings(args [][]byte) (both [2][]byte, bad *Result) {
	for i := range both {
		x.slot = x.keySlots[i]
		ref, found := x.get(args[i])
		if found && ref.Type() != store.TypeString {
			res := Error(CodeError, TextLCSTypes)
			return both, &res
		}
		if found {
			both[i] = ref.Bytes()
		}
	}
	return both, nil
}

// runLCS looks at the options only when it knows the types of the keys, as Redis does.
func runLCS(x *execution, args [][]byte) Result {
	both, bad := x.lcsStrings(args)
	if bad != nil {
		return *bad
	}
	o, text := parseLCS(args)
	if text != "" {
		res, _ := fail(text)
		return res
	}
	a, b := both[0], both[1]
	table := 4 * int64(len(a)+1) * int64(len(b)+1)
	if table > lcsTable {
		return Error(CodeTooBig, TextLCSMemory)
	}
	const perRange = 8 * ReplyOverhead
	if bad := x.fits(table + int64(min(len(a), len(b)))*perRange + 4*ReplyOverhead); bad != nil {
		return *bad
	}
	l := newLCS(a, b)
	switch {
	case o.ranges:
		return Map([]Result{Bulk([]byte("matches")), Array(l.ranges(&o)), Bulk([]byte("len")), Int(int64(l.at(len(a), len(b))))})
	case o.length:
		return Int(int64(l.at(len(a), len(b))))
	}
	return Bulk(l.text())
}

// lcs has, for each beginning of a and each of b, how long the longest sequence is that both have.
type lcs struct {
	a, b  []byte
	cells []uint32
}

func newLCS(a, b []byte) *lcs {
	l := &lcs{a: a, b: b, cells: make([]uint32, (len(a)+1)*(len(b)+1))}
	width := len(b) + 1
	for i := range a {
		above, row := l.cells[i*width:(i+1)*width], l.cells[(i+1)*width:(i+2)*width]
		for j := range b {
			if a[i] == b[j] {
				row[j+1] = above[j] + 1
			} else {
				row[j+1] = max(above[j+1], row[j])
			}
		}
	}
	return l
}

func (l *lcs) at(i, j int) uint32 { return l.cells[i*(len(l.b)+1)+j] }

// back walks from the ends of both strings to the beginning of one. It calls f at each step, with the places, and
// whether the bytes there are the same.
func (l *lcs) back(f func(i, j int, same bool)) {
	for i, j := len(l.a), len(l.b); i > 0 && j > 0; {
		same := l.a[i-1] == l.b[j-1]
		f(i-1, j-1, same)
		switch {
		case same:
			i--
			j--
		case l.at(i-1, j) > l.at(i, j-1):
			i--
		default:
			j--
		}
	}
}

func (l *lcs) text() []byte {
	text := make([]byte, l.at(len(l.a), len(l.b)))
	at := len(text)
	l.back(func(i, _ int, same bool) {
		if same {
			at--
			text[at] = l.a[i]
		}
	})
	return text
}

// ranges gives the stretches that are the same, from the last to the first. As in Redis, a byte that follows on one
// side only ends a stretch and begins none.
func (l *lcs) ranges(o *lcsOptions) []Result {
	out := []Result{}
	open := false
	var aLo, aHi, bLo, bHi int
	l.back(func(i, j int, same bool) {
		done := open
		switch {
		case same && !open:
			open, aLo, aHi, bLo, bHi, done = true, i, i, j, j, false
		case same && aLo == i+1 && bLo == j+1:
			aLo, bLo, done = i, j, false
		}
		if !open || !done && (!same || aLo > 0 && bLo > 0) {
			return
		}
		open = false
		if n := int64(aHi - aLo + 1); n >= o.least {
			found := []Result{Array([]Result{Int(int64(aLo)), Int(int64(aHi))}), Array([]Result{Int(int64(bLo)), Int(int64(bHi))})}
			if o.lengths {
				found = append(found, Int(n))
			}
			out = append(out, Array(found))
		}
	})
	return out
}
