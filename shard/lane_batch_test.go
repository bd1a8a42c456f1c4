// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kvorum/kvorum/fsm"
	"pgregory.net/rapid"
)

// TestCompact: taking units out of a batch leaves what a batch of the others alone would be.
func TestCompact(t *testing.T) {
	table := fsm.Data()
	rapid.Check(t, func(rt *rapid.T) {
		r := newRouter(routerConfig{Table: table})
		var units []*unit
		var dead []bool
		full := r.newBatch()
		for range rapid.IntRange(1, 6).Draw(rt, "units") {
			k := &call{r: r}
			u := &unit{call: k, first: -1, last: -1}
			for range rapid.IntRange(1, 5).Draw(rt, "commands") {
				c := cmd(rapid.SampledFrom([]fsm.Op{fsm.OpSet, fsm.OpGet, fsm.OpIncr}).Draw(rt, "op"), fmt.Sprint(len(units)))
				k.items = append(k.items, item{cmd: &c, spec: table.Spec(c.Op), size: int64(fsm.CommandSize(&c))})
			}
			for i := range k.items {
				u.join(k, int32(i))
			}
			units = append(units, u)
			dead = append(dead, rapid.Bool().Draw(rt, "dead"))
			full.add(u, false)
		}
		want := r.newBatch()
		for i, u := range units {
			if !dead[i] {
				copied := *u
				want.add(&copied, false)
			}
		}
		for i, u := range units {
			if dead[i] {
				u.dead = true
				full.dead++
			}
		}
		full.compact()
		if !bytes.Equal(full.sub.Body, want.sub.Body) || full.sub.Writes != want.sub.Writes || len(full.units) != len(want.units) {
			rt.Fatalf("body %q with %d writes, want %q with %d", full.sub.Body, full.sub.Writes, want.sub.Body, want.sub.Writes)
		}
		if fmt.Sprint(full.sub.Reads) != fmt.Sprint(want.sub.Reads) {
			rt.Fatalf("reads %v, want %v", full.sub.Reads, want.sub.Reads)
		}
		for i, u := range full.units {
			w := want.units[i]
			if u.lo != w.lo || u.hi != w.hi || u.firstBody != w.firstBody || u.firstAttached != w.firstAttached || u.nBody != w.nBody || u.nAtt != w.nAtt {
				rt.Fatalf("unit %d lies at %+v, want %+v", i, u, w)
			}
		}
	})
}
