// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"strconv"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/history"
	"github.com/kvorum/kvorum/shard"
)

// underWatch tells whether a counter is raised by a transaction: every other time.
func underWatch(op *history.Op) bool { return op.Arg[len(op.Arg)-1]%2 == 0 }

// watchedIncr raises a counter as a client of WATCH does: it reads what is there, and sets one more if nobody was
// in between. A transaction that finds somebody was did nothing.
func watchedIncr(ctx context.Context, r *shard.Router, op *history.Op) {
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
	next := strconv.FormatInt(old+1, 10)
	cmds := []fsm.Command{parse(r.Table(), "SET", op.Key, next), parse(r.Table(), "INCRBY", op.Key, "0")}
	res, ok := send(ctx, r, op, fsm.Exec(r.Table(), [][]byte{[]byte(op.Key)}, [][]byte{marks.Elems[0].Str}, cmds))
	switch {
	case !ok: // op has it
	case res.Kind == fsm.KindArray && len(res.Elems) == 2:
		answer(op, &res.Elems[1])
	default:
		op.Out, op.Err = history.Fail, "somebody was in between"+string(res.Str)
	}
}
