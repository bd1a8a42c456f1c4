// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math/bits"
	"slices"
)

// draws is a sequence of numbers that follows from where it begins (SplitMix64).
type draws struct{ state uint64 }

func (d *draws) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below draws from [0, n), n > 0.
func (d *draws) below(n int) int {
	hi, _ := bits.Mul64(d.next(), uint64(n))
	return int(hi)
}

// sparse: so few of many are drawn by trying again, others in one pass over all.
const sparse = 8

// distinct draws k of [0, n) in ascending order; all when k == n.
func (d *draws) distinct(n, k int) []int {
	places := make([]int, 0, k)
	if k > n/sparse {
		for i := 0; len(places) < k; i++ {
			if d.below(n-i) < k-len(places) {
				places = append(places, i)
			}
		}
		return places
	}
	drawn := make(map[int]struct{}, k)
	for len(places) < k {
		i := d.below(n)
		if _, again := drawn[i]; !again {
			drawn[i] = struct{}{}
			places = append(places, i)
		}
	}
	slices.Sort(places)
	return places
}

// writeDraws follows from the entry's seed and the newest version, which a command that changes something
// raises: so each draws by itself, and how commands are cut into entries of one seed does not matter.
func (x *execution) writeDraws() draws {
	d := draws{state: x.ctx.Seed}
	if x.bundle != nil {
		d.state += uint64(x.bundle.ran)
	}
	return draws{state: d.next() ^ x.ctx.m.version.Load()}
}

// readDraws follows from nothing, but in a transaction: its replies are kept by every replica.
func (x *execution) readDraws() draws {
	if x.bundle != nil {
		return x.writeDraws()
	}
	if dice := x.ctx.m.opts.Dice; dice != nil {
		return draws{state: dice()}
	}
	return draws{}
}

// drawPlaces draws from [0, n) as a count of Redis says: -count with repetition when it is negative, else
// at most all. each is the least that one costs in the reply.
func (x *execution) drawPlaces(d *draws, n int, count, each int64) (places []int, bad *Result) {
	if n == 0 || count == 0 {
		return nil, nil
	}
	if count >= 0 {
		count = min(count, int64(n))
	}
	if count > MaxReply/each || count < -MaxReply/each {
		res := Error(CodeTooBig, TextReplyTooBig)
		return nil, &res
	}
	if count > 0 {
		return d.distinct(n, int(count)), nil
	}
	places = make([]int, -count)
	for i := range places {
		places[i] = d.below(n)
	}
	return places, nil
}
