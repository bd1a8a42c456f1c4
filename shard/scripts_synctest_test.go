// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// Scripts over accounts: a transfer keeps their sum, and counts itself under KEYS[3]; the sum reads them all.
const (
	transferScript = `
		local from, to, n = tonumber(redis.call("get", KEYS[1])), tonumber(redis.call("get", KEYS[2])), tonumber(ARGV[1])
		redis.call("incr", KEYS[3])
		if from < n then return 0 end
		redis.call("set", KEYS[1], from - n)
		redis.call("set", KEYS[2], to + n)
		return 1`
	sumScript = `
		local sum = 0
		for i = 1, #KEYS do sum = sum + tonumber(redis.call("get", KEYS[i])) end
		return sum`
)

const (
	accounts = 4
	deposit  = 100
)

func account(i int) string { return fmt.Sprintf("{bank}%d", i) }

// evalOf makes an EVAL.
func evalOf(source string, keys []string, args ...string) fsm.Command {
	return cmd(fsm.OpEval, append(append([]string{source, strconv.Itoa(len(keys))}, keys...), args...)...)
}

// bankRun is a number of clients of a bank.
type bankRun struct {
	mu sync.Mutex
	// done and unknown count the transfers of each client that were acknowledged, or may have been done.
	done, unknown map[int]int
	faults        []string
}

func (b *bankRun) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// transfer runs one script and keeps account of it. do sends a command through some node.
func (b *bankRun) transfer(client int, dice func(n int) int, do func(cmds ...fsm.Command) []Reply) {
	from := dice(accounts)
	to := (from + 1 + dice(accounts-1)) % accounts
	keys := []string{account(from), account(to), fmt.Sprintf("{bank}tally%d", client)}
	r := do(evalOf(transferScript, keys, strconv.Itoa(1+dice(10))))[0]
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.Err == nil && r.Result.Kind == fsm.KindInt:
		b.done[client]++
	case r.Err != nil && !NotApplied(r.Err):
		b.unknown[client]++
	case r.Err == nil && !strings.HasPrefix(string(r.Result.Str), "TRYAGAIN"):
		b.faults = append(b.faults, "a transfer: "+resultText(r.Result))
	}
}

// plain is a transfer without a script.
func (b *bankRun) plain(table *fsm.Table, dice func(n int) int, do func(cmds ...fsm.Command) []Reply) {
	from := dice(accounts)
	to := (from + 1) % accounts
	do(fsm.Exec(table, nil, nil, []fsm.Command{cmd(fsm.OpDecrBy, account(from), "3"), cmd(fsm.OpIncrBy, account(to), "3")}))
}

func allAccounts() (keys []string) {
	for i := range accounts {
		keys = append(keys, account(i))
	}
	return keys
}

// sum reads all accounts by a script.
func (b *bankRun) sum(do func(cmds ...fsm.Command) []Reply) {
	r := do(evalOf(sumScript, allAccounts()))[0]
	if r.Err == nil && r.Result.Kind == fsm.KindInt && r.Result.Int != accounts*deposit {
		b.fault("a script found %d in all accounts", r.Result.Int)
	}
}

// check is for when all is well again.
func (b *bankRun) check(clients int, do func(cmds ...fsm.Command) []Reply) []string {
	sum := int64(0)
	for _, key := range allAccounts() {
		n, _ := strconv.ParseInt(string(do(cmd(fsm.OpGet, key))[0].Result.Str), 10, 64)
		sum += n
	}
	if sum != accounts*deposit {
		b.fault("the accounts hold %d", sum)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range clients {
		n, _ := strconv.Atoi(string(do(cmd(fsm.OpGet, fmt.Sprintf("{bank}tally%d", i)))[0].Result.Str))
		if n < b.done[i] || n > b.done[i]+b.unknown[i] {
			b.faults = append(b.faults, fmt.Sprintf("client %d: %d transfers of %d done and %d unknown", i, n, b.done[i], b.unknown[i]))
		}
	}
	return b.faults
}

// playScripts lets clients transfer through nodes that fail, and returns what was wrong.
func playScripts(t *testing.T, seed uint64) []string {
	const clients, rounds = 5, 30
	w := newFakeWorld(t, seed, 3, 2, nil)
	defer w.close()
	for _, n := range w.nodes {
		n.router.cfg.Point = func(string) { time.Sleep(w.someDelay() / 4) }
	}
	b := &bankRun{done: make(map[int]int), unknown: make(map[int]int)}
	for _, key := range allAccounts() {
		w.nodes[0].do(time.Second, cmd(fsm.OpSet, key, strconv.Itoa(deposit)))
	}
	w.loss.Store(int32(w.dice(10)))
	w.doubled.Store(int32(w.dice(10)))
	w.delay = time.Duration(1+w.dice(10)) * time.Millisecond
	stop := make(chan struct{})
	var nemesis, all sync.WaitGroup
	nemesis.Go(func() { (&faultRun{w: w, seed: seed}).disturb(stop) })
	for i := range clients {
		all.Go(func() {
			for range rounds {
				n := w.nodes[w.dice(len(w.nodes))]
				do := func(cmds ...fsm.Command) []Reply { return n.do(0, cmds...) }
				switch i {
				case 0:
					b.plain(w.table, w.dice, do)
				case 1:
					b.sum(do)
				default:
					b.transfer(i, w.dice, do)
				}
				time.Sleep(time.Duration(w.dice(20)) * time.Millisecond)
			}
		})
	}
	all.Wait()
	close(stop)
	nemesis.Wait()
	w.calm()
	for _, raft := range w.rafts {
		raft.lead(raft.replicas[w.dice(len(raft.replicas))].node.id)
	}
	time.Sleep(15 * time.Second)
	return b.check(clients, func(cmds ...fsm.Command) []Reply { return w.nodes[0].do(0, cmds...) })
}

// TestScriptsUnderFaults: transfers by scripts, beside transactions on the same accounts, keep the sum of all accounts and
// are done at most once, with frames lost and doubled and leaders that change.
func TestScriptsUnderFaults(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			for _, fault := range playScripts(t, seed) {
				t.Errorf("seed %d: %s", seed, fault)
			}
		})
	}
}

// TestScriptsInCluster: the same on whole nodes, with the leader of the accounts killed in the middle.
func TestScriptsInCluster(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 2)
		b := &bankRun{done: make(map[int]int), unknown: make(map[int]int)}
		through := func(m *testMember) func(cmds ...fsm.Command) []Reply {
			return func(cmds ...fsm.Command) []Reply {
				out := make([]Reply, len(cmds))
				m.Router().Do(context.Background(), &Caller{}, cmds, out)
				return out
			}
		}
		n1 := c.nodes["n1"]
		for _, key := range allAccounts() {
			if r := through(n1)(cmd(fsm.OpSet, key, strconv.Itoa(deposit)))[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		group := n1.View().Slots[fsm.SlotOf([]byte("{bank}"))]
		leader := ""
		for name, m := range c.nodes {
			if r := m.local(group); r != nil && r.group.IsLeader() {
				leader = name
			}
		}
		var others []*testMember
		for name, m := range c.nodes {
			if name != leader {
				others = append(others, m)
			}
		}
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				m := others[i%len(others)]
				for n := range 25 {
					next := n
					dice := func(k int) int { next = next*7 + i + 3; return next % k }
					b.transfer(i, dice, through(m))
					b.sum(through(m))
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		time.Sleep(700 * time.Millisecond)
		c.crash(leader)
		all.Wait()
		done := 0
		for _, fault := range b.check(4, through(others[0])) {
			t.Error(fault)
		}
		for _, n := range b.done {
			done += n
		}
		if done < 50 {
			t.Errorf("only %d transfers were done", done)
		}
		sha, bad := others[0].Router().Scripts().Load(c.ctx(5*time.Second), []byte("return 7"))
		if bad != nil || !others[1].Router().Scripts().Exists([]byte(sha)) {
			t.Errorf("a script that was loaded at one node is not at the other: %v", bad)
		}
		r := through(others[1])(cmd(fsm.OpEvalSHA, strings.ToUpper(sha), "0"))[0]
		if r.Err != nil || r.Result.Int != 7 {
			t.Errorf("EVALSHA: %s", text(r))
		}
		others[1].Router().Scripts().Flush(c.ctx(5 * time.Second))
		if r := through(others[0])(cmd(fsm.OpEvalSHA, sha, "0"))[0]; string(r.Result.Str) != fsm.TextNoScript {
			t.Errorf("EVALSHA after FLUSH: %s", text(r))
		}
	})
}
