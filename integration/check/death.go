// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"sort"

	"github.com/kvorum/kvorum/integration/history"
)

// Death checks keys whose values are unique, written with a lifetime and never deleted: once a read
// that began after the value was seen shows that it is gone, whether expired or overwritten, no read
// that begins later may return it, under any clock. Linear in the history but for sorting.
func Death(ops []history.Op) []Anomaly {
	var found []Anomaly
	for key, list := range history.ByKey(ops) {
		var reads []history.Op
		for _, op := range list {
			if op.Func == history.Read && op.Out == history.OK {
				reads = append(reads, op)
			}
		}
		sort.Slice(reads, func(i, j int) bool { return reads[i].Call < reads[j].Call })
		found = append(found, deathOf(key, reads)...)
	}
	return found
}

// deathOf looks at one key's reads in the order in which they began.
func deathOf(key string, reads []history.Op) []Anomaly {
	var found []Anomaly
	seen := map[string]int64{} // value → end of the first read that returned it
	dead := map[string]int64{} // value → end of the first read that missed it after that
	for _, r := range reads {
		v := ""
		if r.Found {
			v = r.Value
			if at, gone := dead[v]; gone && r.Call > at {
				found = append(found, Anomaly{"resurrected", key, fmt.Sprintf("read of client %d at %d returned %s, which a read that ended at %d had seen gone", r.Client, r.Call, v, at)})
			}
			if _, ok := seen[v]; !ok {
				seen[v] = r.Return
			}
		}
		for other, at := range seen {
			if other == v || r.Call <= at {
				continue
			}
			if _, gone := dead[other]; !gone {
				dead[other] = r.Return
			}
			delete(seen, other)
		}
	}
	return found
}
