// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"strconv"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/history"
	"github.com/kvorum/kvorum/shard"
)

// underWatch tells whether a counter is raised by a transaction: every other time.
func underWatch(op *history.Op) bool { return op.Arg[len(op.Arg)-1]%2 == 0 }

// byScript tells whether a counter is raised by a script: every other time that no transaction does it.
func byScript(op *history.Op) bool { return op.Arg[len(op.Arg)-1]%4 == 3 }

// incrScript reads a counter and raises it, to one more only if nobody was in between. It adds for the reason below.
const incrScript = `local n = tonumber(redis.call('GET', KEYS[1]) or '0')
local m = redis.call('INCR', KEYS[1])
if m ~= n + 1 then return redis.error_reply('it was ' .. n .. ', then ' .. m) end
return m`

// watchedIncr raises a counter if nobody was in between since it was read; then it is one more than was read. A
// transaction that finds somebody was did nothing. It adds, where a client of WATCH would set what it reckoned: that
// would mend a replica that had gone astray, and hide it.
func (l *load) watchedIncr(ctx context.Context, r *shard.Router, op *history.Op) {
	marks, ok := send(ctx, r, op, parse(r.Table(), "KV.WATCH", op.Key))
	if ok {
		ok = marks.Kind == fsm.KindArray && len(marks.Elems) == 1
	}
	n := fsm.Result{}
	if ok {
		n, ok = send(ctx, r, op, parse(r.Table(), "GET", op.Key))
	}
	if !ok || n.IsError() {
		op.Out, op.Err = history.Fail, "not read: "+op.Err+string(marks.Str)+string(n.Str)
		return
	}
	old, _ := strconv.ParseInt(string(n.Str), 10, 64) // 0 for none
	cmds := []fsm.Command{parse(r.Table(), "INCR", op.Key), parse(r.Table(), "GET", op.Key)}
	res, ok := send(ctx, r, op, fsm.Exec(r.Table(), [][]byte{[]byte(op.Key)}, [][]byte{marks.Elems[0].Str}, cmds))
	switch {
	case !ok: // op has it
	case res.Kind == fsm.KindArray && len(res.Elems) == 2:
		answer(op, &res.Elems[0]) // an error where there was no memory or no space for it
		if read := string(res.Elems[1].Str); op.Out == history.OK && (op.Len != old+1 || read != strconv.FormatInt(op.Len, 10)) {
			l.c.fatal(fmt.Errorf("sim: %s was %d when it was watched, then %d and %s", op.Key, old, op.Len, read))
		}
	default:
		op.Out, op.Err = history.Fail, "somebody was in between"+string(res.Str)
	}
}
