// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"testing"

	"github.com/kvorum/kvorum/fsm"
)

// TestDeadlineBetweenTrialAndApply: what comes due between a script and its entry was there for the script, and for its
// effects; then it is gone, and does not come back without a deadline.
func TestDeadlineBetweenTrialAndApply(t *testing.T) {
	b := newBench(t)
	b.do("SET", "k", "5")
	out, look := b.run(`redis.call("pexpireat",KEYS[1],ARGV[1]) return redis.call("incr",KEYS[1])`,
		[]string{"k"}, []string{fmt.Sprint(b.clock + 50)})
	b.clock += 100
	if res := b.apply(fsm.Effect(&look, bytesOf([]string{"k"}), out.Effects)); string(res.Str) != "OK" {
		t.Fatalf("effects: %s", res.Str)
	}
	if ttl := b.do("PTTL", "k"); out.Reply.Int != 6 || ttl.Int != -2 {
		t.Errorf("answered %d; now %q with lifetime %d", out.Reply.Int, b.do("GET", "k").Str, ttl.Int)
	}
}

// TestScanAcrossFirstWrite: a cursor from before the first write to a key is good behind it.
func TestScanAcrossFirstWrite(t *testing.T) {
	b := newBench(t)
	for i := range 2000 {
		b.do("HSET", "h", fmt.Sprint(i), "x")
	}
	res := b.eval(`local cur="0" repeat local r=redis.call("hscan",KEYS[1],cur,"count",50) cur=r[1]
		for i=1,#r[2],2 do redis.call("hdel",KEYS[1],r[2][i]) end until cur=="0" return redis.call("hlen",KEYS[1])`, []string{"h"})
	if res.Int != 0 {
		t.Errorf("%d fields are left", res.Int)
	}
}

// TestEntriesAreTheClustersOwn: no client and no transaction copies whole entries.
func TestEntriesAreTheClustersOwn(t *testing.T) {
	if s := fsm.Data().Spec(fsm.OpEntry); !s.Internal || s.MayQueue() {
		t.Errorf("internal %v, may queue %v", s.Internal, s.MayQueue())
	}
}
