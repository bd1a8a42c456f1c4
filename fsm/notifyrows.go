// SPDX-License-Identifier: Apache-2.0

package fsm

// telling tells of what a command did that ended without an error.
type telling func(o *observer, args [][]byte, res *Result)

// tellings says which events each write tells of. TestEventsOfAllWrites holds it to the table.
func tellings() map[Op]telling {
	return map[Op]telling{
		OpSet: tellSet, OpSetEx: tellSetEx, OpPSetEx: tellSetEx, OpGetEx: tellGetEx,
		OpMSet: tellPairs, OpMSetNX: tellPairs, OpSetNX: changes(ClassString, "set"), OpGetSet: changes(ClassString, "set"),
		OpGetDel: removes, OpDel: removes, OpUnlink: removes, OpKVDel: removes,
		OpIncr: changes(ClassString, "incrby"), OpDecr: changes(ClassString, "incrby"), OpIncrBy: changes(ClassString, "incrby"), OpDecrBy: changes(ClassString, "incrby"),
		OpIncrByFloat: changes(ClassString, "incrbyfloat"), OpAppend: changes(ClassString, "append"), OpSetRange: changes(ClassString, "setrange"),
		OpSetBit: changes(ClassString, "setbit"), OpBitField: tellBitField, OpBitOp: stores(ClassString, "set"),
		OpPFAdd: changes(ClassString, "pfadd"), OpPFMerge: changesFirst(ClassString, "pfadd"),

		OpExpire: tellExpire, OpPExpire: tellExpire, OpExpireAt: tellExpire, OpPExpireAt: tellExpire, OpPersist: tellPersist,
		OpCopy: tellCopy, OpRename: tellRename, OpRenameNX: tellRename, OpSort: tellSort, OpRestore: tellRestore,

		OpLPush: changes(ClassList, "lpush"), OpRPush: changes(ClassList, "rpush"), OpLPushX: changes(ClassList, "lpush"), OpRPushX: changes(ClassList, "rpush"),
		OpLPop: changes(ClassList, "lpop"), OpRPop: changes(ClassList, "rpop"), OpBLPop: changes(ClassList, "lpop"), OpBRPop: changes(ClassList, "rpop"),
		OpLMPop: popsFrom(ClassList, "LEFT", "RIGHT", "lpop", "rpop"), OpBLMPop: popsFrom(ClassList, "LEFT", "RIGHT", "lpop", "rpop"),
		OpLInsert: changes(ClassList, "linsert"), OpLSet: succeeds(ClassList, "lset"), OpLRem: changes(ClassList, "lrem"), OpLTrim: succeeds(ClassList, "ltrim"),
		OpLMove: tellMove, OpRPopLPush: tellMove, OpBLMove: tellMove, OpBRPopLPush: tellMove,

		OpHSet: succeeds(ClassHash, "hset"), OpHMSet: succeeds(ClassHash, "hset"), OpHSetNX: changes(ClassHash, "hset"), OpHDel: changes(ClassHash, "hdel"),
		OpHIncrBy: succeeds(ClassHash, "hincrby"), OpHIncrByFloat: succeeds(ClassHash, "hincrbyfloat"),

		OpSAdd: changes(ClassSet, "sadd"), OpSRem: changes(ClassSet, "srem"), OpSPop: changes(ClassSet, "spop"), OpSMove: tellSMove,
		OpSInterStore: stores(ClassSet, "sinterstore"), OpSUnionStore: stores(ClassSet, "sunionstore"), OpSDiffStore: stores(ClassSet, "sdiffstore"),

		OpZAdd: tellZAdd, OpZIncrBy: tellZAdd, OpZRem: changes(ClassZSet, "zrem"),
		OpZRemRangeByRank: changes(ClassZSet, "zremrangebyrank"), OpZRemRangeByScore: changes(ClassZSet, "zremrangebyscore"), OpZRemRangeByLex: changes(ClassZSet, "zremrangebylex"),
		OpZPopMin: changes(ClassZSet, "zpopmin"), OpZPopMax: changes(ClassZSet, "zpopmax"), OpBZPopMin: changes(ClassZSet, "zpopmin"), OpBZPopMax: changes(ClassZSet, "zpopmax"),
		OpZMPop: popsFrom(ClassZSet, "MIN", "MAX", "zpopmin", "zpopmax"), OpBZMPop: popsFrom(ClassZSet, "MIN", "MAX", "zpopmin", "zpopmax"),
		OpZRangeStore: stores(ClassZSet, "zrangestore"), OpZUnionStore: stores(ClassZSet, "zunionstore"), OpZInterStore: stores(ClassZSet, "zinterstore"), OpZDiffStore: stores(ClassZSet, "zdiffstore"),
	}
}

// changes tells of each key with another value than before.
func changes(class Classes, event string) telling {
	return func(o *observer, _ [][]byte, _ *Result) { o.tellChanges(class, event, len(o.keys)) }
}

// changesFirst is changes for commands that write their first key alone.
func changesFirst(class Classes, event string) telling {
	return func(o *observer, _ [][]byte, _ *Result) { o.tellChanges(class, event, 1) }
}

func (o *observer) tellChanges(class Classes, event string, n int) {
	for i := range o.keys[:n] {
		if c := &o.keys[i]; c.changed() && !c.again {
			o.tellAll(class, event, c)
		}
	}
}

// tellPairs tells of a key as often as it was written.
func tellPairs(o *observer, _ [][]byte, _ *Result) {
	for i := range o.keys {
		if c := &o.keys[i]; c.changed() {
			o.tellAll(ClassString, "set", c)
		}
	}
}

// succeeds tells of a key that was there, or is, whether or not its value is another.
func succeeds(class Classes, event string) telling {
	return func(o *observer, _ [][]byte, _ *Result) {
		if c := &o.keys[0]; c.was.found || c.is.found {
			o.tellAll(class, event, c)
		}
	}
}

// stores tells of the first key, which was written anew, or removed when there was nothing to write.
func stores(class Classes, event string) telling {
	return func(o *observer, _ [][]byte, _ *Result) {
		if c := &o.keys[0]; c.is.found && c.changed() {
			o.tellAll(class, event, c)
		} else {
			o.tellGone(c)
		}
	}
}

func removes(o *observer, _ [][]byte, _ *Result) {
	for i := range o.keys {
		o.tellGone(&o.keys[i])
	}
}

// tellWritten tells of a string that was written with a deadline or without. A deadline that has passed took it
// away again.
func (o *observer) tellWritten(c *keyChange, timed bool) {
	if !c.was.found {
		o.tellNew(c)
	}
	o.tell(ClassString, "set", c)
	if !timed {
		return
	}
	o.tell(ClassGeneric, eventExpire, c)
	if !c.is.found {
		o.tell(ClassExpired, eventExpired, c)
	}
}

func tellSet(o *observer, args [][]byte, _ *Result) {
	opts, _ := parseSetOptions(args[2:])
	if c := &o.keys[0]; !(opts.nx && c.was.found) && !(opts.xx && !c.was.found) {
		o.tellWritten(c, opts.ttl != ttlNone)
	}
}

func tellSetEx(o *observer, _ [][]byte, _ *Result) { o.tellWritten(&o.keys[0], true) }

// tellDeadline tells of a deadline that was given, or that had passed and took the key.
func (o *observer) tellDeadline(c *keyChange) {
	if c.is.found {
		o.tell(ClassGeneric, eventExpire, c)
	}
	o.tellGone(c)
}

func (o *observer) tellNoDeadline(c *keyChange) {
	if c.was.at != 0 && c.is.at == 0 {
		o.tell(ClassGeneric, "persist", c)
	}
}

func tellGetEx(o *observer, args [][]byte, _ *Result) {
	opts, _ := parseGetExOptions(args[1:])
	switch c := &o.keys[0]; {
	case !c.was.found:
	case opts.ttl != ttlNone:
		o.tellDeadline(c)
	case opts.persist:
		o.tellNoDeadline(c)
	}
}

func tellExpire(o *observer, _ [][]byte, res *Result) {
	if res.Int == 1 {
		o.tellDeadline(&o.keys[0])
	}
}

func tellPersist(o *observer, _ [][]byte, _ *Result) { o.tellNoDeadline(&o.keys[0]) }

// tellBitField tells of a string that some field was written to. Fields that overflow may still make it longer.
func tellBitField(o *observer, args [][]byte, res *Result) {
	c := &o.keys[0]
	if c.come() {
		o.tellNew(c)
	}
	ops, _ := parseBitField(args, longestBits)
	for i := range ops {
		if c.changed() && ops[i].what != 'g' && res.Elems[i].Kind != KindNull {
			o.tell(ClassString, "setbit", c)
			return
		}
	}
}

// tellCopy tells of the second key, which Redis removes without a word before it adds it.
func tellCopy(o *observer, _ [][]byte, res *Result) {
	if res.Int == 1 {
		o.tellNew(&o.keys[1])
		o.tell(ClassGeneric, "copy_to", &o.keys[1])
	}
}

func tellRename(o *observer, _ [][]byte, _ *Result) {
	if from, to := &o.keys[0], &o.keys[1]; from.gone() {
		o.tellNew(to)
		o.tell(ClassGeneric, "rename_from", from)
		o.tell(ClassGeneric, "rename_to", to)
	}
}

// tellSort tells of the key that was stored at, if there is one.
func tellSort(o *observer, _ [][]byte, _ *Result) {
	if len(o.keys) == 1 {
		return
	}
	c := &o.keys[1]
	if c.again {
		c = &o.keys[0]
	}
	if c.is.found && c.changed() {
		o.tellAll(ClassList, "sortstore", c)
		return
	}
	o.tellGone(c)
}

// tellRestore tells of a key that Redis removes without a word before it adds it.
func tellRestore(o *observer, _ [][]byte, _ *Result) {
	c := &o.keys[0]
	if !c.is.found {
		o.tellGone(c)
		return
	}
	o.tellNew(c)
	o.tell(ClassGeneric, "restore", c)
}

// popsFrom tells of the key that a command popped from whose arguments say from which end.
func popsFrom(class Classes, first, last, atFirst, atLast string) telling {
	return func(o *observer, args [][]byte, _ *Result) {
		event := atFirst
		if p, _ := parseMPop(args[o.x.spec.KeysFrom-1:], first, last); p.last {
			event = atLast
		}
		o.tellChanges(class, event, len(o.keys))
	}
}

// tellMove tells of the key that was pushed to, then of the one that was popped from.
func tellMove(o *observer, args [][]byte, res *Result) {
	if res.Kind != KindBulk {
		return
	}
	fromRight, toRight := moveEnds(args)
	push, pop := "lpush", "lpop"
	if toRight {
		push = "rpush"
	}
	if fromRight {
		pop = "rpop"
	}
	o.tellAll(ClassList, push, &o.keys[1])
	o.tellAll(ClassList, pop, &o.keys[0])
}

func tellSMove(o *observer, _ [][]byte, _ *Result) {
	if from, to := &o.keys[0], &o.keys[1]; from.changed() && !to.again {
		o.tellAll(ClassSet, "srem", from)
		if to.changed() {
			o.tellAll(ClassSet, "sadd", to)
		}
	}
}

func tellZAdd(o *observer, args [][]byte, _ *Result) {
	event := "zadd"
	if opts, _ := parseZAdd(args, o.x.spec.Op == OpZIncrBy); opts.incr {
		event = "zincr"
	}
	o.tellChanges(ClassZSet, event, 1)
}
