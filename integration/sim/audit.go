// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/store"
)

// auditTime bounds one comparison of all replicas, in virtual time.
const auditTime = 15 * time.Second

// auditor compares the replicas now and then while the load runs, each group's at one entry.
func (l *load) auditor(ctx context.Context, rng *rand.Rand) {
	for {
		pause(ctx, l.opt.AuditGap/4+time.Duration(rng.Int64N(int64(2*l.opt.AuditGap))))
		if ctx.Err() != nil {
			return
		}
		sn := l.c.nodes[rng.IntN(len(l.c.nodes))].shard()
		if sn == nil {
			continue
		}
		actx, cancel := context.WithTimeout(ctx, auditTime)
		digests, err := sn.Digest(actx)
		cancel()
		if err != nil {
			continue // a cluster in trouble need not answer
		}
		_, pairs, bad := compareDigests(digests, 0)
		if bad != nil {
			l.c.fatal(fmt.Errorf("%w, while the load ran", bad))
			return
		}
		l.mu.Lock()
		l.audits += pairs
		l.mu.Unlock()
	}
}

// limitSlack is how far the whole cluster may be over its memory limit when all is quiet, in logical bytes: what
// the last entries added beyond what was planned for them.
const limitSlack = 16 << 10

// withinLimit checks, behind the last writes, that memory is within its limit, and that there was need to keep it so.
func (l *load) withinLimit(ctx context.Context) error {
	if l.opt.MaxMemory == 0 {
		return nil
	}
	var used, limit uint64
	for limit = l.opt.MaxMemory + limitSlack; ; {
		s, err := l.c.nodes[0].shard().Status(ctx)
		if err == nil {
			if used = bytesOf(&s); used > 0 && used <= limit {
				break
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sim: %d bytes are used, the limit is %d, %s", used, l.opt.MaxMemory, l.opt.Policy)
		case <-time.After(time.Second):
		}
	}
	n := &l.crowded
	evicting := l.opt.Policy != store.NoEviction
	if evicting && n.Bytes > 4*l.opt.MaxMemory && n.Evicted == 0 {
		return fmt.Errorf("sim: %d bytes were written under a limit of %d, and nobody missed a key", n.Bytes, l.opt.MaxMemory)
	}
	return nil
}

func bytesOf(s *shard.Status) (n uint64) {
	for i := range s.Groups {
		n += s.Groups[i].Bytes
	}
	return n
}
