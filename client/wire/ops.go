// SPDX-License-Identifier: Apache-2.0

package wire

// Op is a command's number. Numbers are those of the server's command table: a released number
// never changes its meaning.
type Op uint16

// OpNamed says that the first argument is the command's name, in any case: for commands that this
// package does not know.
const OpNamed Op = 0

// The commands.
const (
	OpGet         Op = 256
	OpSet         Op = 257
	OpGetDel      Op = 258
	OpGetEx       Op = 259
	OpMGet        Op = 260
	OpMSet        Op = 261
	OpIncr        Op = 262
	OpDecr        Op = 263
	OpIncrBy      Op = 264
	OpDecrBy      Op = 265
	OpAppend      Op = 266
	OpStrLen      Op = 267
	OpGetRange    Op = 268
	OpSetRange    Op = 269
	OpSetEx       Op = 270
	OpPSetEx      Op = 271
	OpSetNX       Op = 272
	OpGetSet      Op = 273
	OpMSetNX      Op = 274
	OpLCS         Op = 275
	OpSubStr      Op = 276
	OpIncrByFloat Op = 277
	OpSetBit      Op = 278
	OpGetBit      Op = 279
	OpBitCount    Op = 280
	OpBitPos      Op = 281
	OpBitOp       Op = 282
	OpBitField    Op = 283
	OpBitFieldRO  Op = 284

	OpDel         Op = 288
	OpUnlink      Op = 289
	OpExists      Op = 290
	OpTouch       Op = 291
	OpType        Op = 292
	OpExpire      Op = 293
	OpPExpire     Op = 294
	OpExpireAt    Op = 295
	OpPExpireAt   Op = 296
	OpTTL         Op = 297
	OpPTTL        Op = 298
	OpExpireTime  Op = 299
	OpPExpireTime Op = 300
	OpPersist     Op = 301
	OpScan        Op = 302
	OpDBSize      Op = 303
	OpFlushAll    Op = 304
	OpCopy        Op = 305
	OpRename      Op = 306
	OpRenameNX    Op = 307
	OpRandomKey   Op = 308
	OpKeys        Op = 309
	OpObject      Op = 310
	OpSort        Op = 311
	OpSortRO      Op = 312
	OpDump        Op = 313
	OpRestore     Op = 314
	OpMemory      Op = 315

	OpLPush     Op = 320
	OpRPush     Op = 321
	OpLPop      Op = 322
	OpRPop      Op = 323
	OpLLen      Op = 324
	OpLRange    Op = 325
	OpLIndex    Op = 326
	OpLSet      Op = 327
	OpLRem      Op = 328
	OpLTrim     Op = 329
	OpLPushX    Op = 330
	OpRPushX    Op = 331
	OpLInsert   Op = 332
	OpLPos      Op = 333
	OpLMove     Op = 334
	OpRPopLPush Op = 335
	OpLMPop     Op = 336

	OpBLPop      Op = 337
	OpBRPop      Op = 338
	OpBLMove     Op = 339
	OpBRPopLPush Op = 340
	OpBLMPop     Op = 341

	OpHSet         Op = 352
	OpHGet         Op = 353
	OpHMGet        Op = 354
	OpHGetAll      Op = 355
	OpHDel         Op = 356
	OpHExists      Op = 357
	OpHLen         Op = 358
	OpHKeys        Op = 359
	OpHVals        Op = 360
	OpHIncrBy      Op = 361
	OpHSetNX       Op = 362
	OpHStrLen      Op = 363
	OpHIncrByFloat Op = 364
	OpHRandField   Op = 365
	OpHScan        Op = 366
	OpHMSet        Op = 367

	OpSAdd        Op = 384
	OpSRem        Op = 385
	OpSMembers    Op = 386
	OpSIsMember   Op = 387
	OpSMIsMember  Op = 388
	OpSCard       Op = 389
	OpSPop        Op = 390
	OpSRandMember Op = 391
	OpSMove       Op = 392
	OpSInter      Op = 393
	OpSInterStore Op = 394
	OpSInterCard  Op = 395
	OpSUnion      Op = 396
	OpSUnionStore Op = 397
	OpSDiff       Op = 398
	OpSDiffStore  Op = 399
	OpSScan       Op = 400

	OpZAdd             Op = 416
	OpZIncrBy          Op = 417
	OpZRem             Op = 418
	OpZCard            Op = 419
	OpZScore           Op = 420
	OpZMScore          Op = 421
	OpZRank            Op = 422
	OpZRevRank         Op = 423
	OpZCount           Op = 424
	OpZLexCount        Op = 425
	OpZRange           Op = 426
	OpZRangeStore      Op = 427
	OpZRangeByScore    Op = 428
	OpZRevRangeByScore Op = 429
	OpZRangeByLex      Op = 430
	OpZRevRangeByLex   Op = 431
	OpZRevRange        Op = 432
	OpZRemRangeByRank  Op = 433
	OpZRemRangeByScore Op = 434
	OpZRemRangeByLex   Op = 435
	OpZPopMin          Op = 436
	OpZPopMax          Op = 437
	OpZMPop            Op = 438
	OpZRandMember      Op = 439
	OpZUnion           Op = 440
	OpZUnionStore      Op = 441
	OpZInter           Op = 442
	OpZInterStore      Op = 443
	OpZInterCard       Op = 444
	OpZDiff            Op = 445
	OpZDiffStore       Op = 446
	OpZScan            Op = 447
	OpBZPopMin         Op = 448
	OpBZPopMax         Op = 449
	OpBZMPop           Op = 450

	OpPFAdd   Op = 480
	OpPFCount Op = 481
	OpPFMerge Op = 482

	OpKVGet   Op = 512
	OpKVDel   Op = 513
	OpKVStats Op = 514
	OpExec    Op = 528
	OpWatch   Op = 529

	OpEval      Op = 530
	OpEvalRO    Op = 531
	OpEvalSHA   Op = 532
	OpEvalSHARO Op = 533
	OpLook      Op = 534
	OpEffect    Op = 536
)

// Command is what a client must know of a command to send it to the right node and to know whether
// it may send it twice.
type Command struct {
	Op   Op
	Name string
	// FirstKey, LastKey and KeyStep say which arguments are keys, counting the name as 0. LastKey
	// -1 is the last argument; FirstKey 0 means that there is no key.
	FirstKey, LastKey, KeyStep int8
	// Write: the command may change something.
	Write bool
}

// KeysFrom is the place, counting the name as 0, of the argument that tells how many keys follow it. They come
// on top of those that FirstKey begins. 0: none.
func (c *Command) KeysFrom() int {
	switch c.Op {
	case OpLMPop, OpSInterCard, OpZMPop, OpZUnion, OpZInter, OpZInterCard, OpZDiff, OpExec, OpEffect:
		return 1
	case OpEval, OpEvalRO, OpEvalSHA, OpEvalSHARO,
		OpZUnionStore, OpZInterStore, OpZDiffStore, OpBLMPop, OpBZMPop:
		return 2
	}
	return 0
}

const (
	read  = false
	write = true
)

// Lookup returns the row of op, nil when this package does not know it. The row is shared and must
// not be changed.
func Lookup(op Op) *Command {
	i := opIndex(op)
	if i < 0 {
		return nil
	}
	return &commands[i]
}

// LookupName returns the row of the command with that upper-case name, nil when this package does
// not know it. The row is shared and must not be changed.
func LookupName(name string) *Command { return Lookup(opOfName(name)) }

// All returns the whole table, in ascending order of Op.
func All() []Command { return append([]Command(nil), commands[:]...) }

// opIndex returns the position of op in the table, -1 when it is not there.
func opIndex(op Op) int {
	lo, hi := 0, len(commands)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if commands[mid].Op < op {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(commands) && commands[lo].Op == op {
		return lo
	}
	return -1
}

// commands is never changed.
var commands = [...]Command{
	{OpGet, "GET", 1, 1, 1, read},
	{OpSet, "SET", 1, 1, 1, write},
	{OpGetDel, "GETDEL", 1, 1, 1, write},
	{OpGetEx, "GETEX", 1, 1, 1, write},
	{OpMGet, "MGET", 1, -1, 1, read},
	{OpMSet, "MSET", 1, -1, 2, write},
	{OpIncr, "INCR", 1, 1, 1, write},
	{OpDecr, "DECR", 1, 1, 1, write},
	{OpIncrBy, "INCRBY", 1, 1, 1, write},
	{OpDecrBy, "DECRBY", 1, 1, 1, write},
	{OpAppend, "APPEND", 1, 1, 1, write},
	{OpStrLen, "STRLEN", 1, 1, 1, read},
	{OpGetRange, "GETRANGE", 1, 1, 1, read},
	{OpSetRange, "SETRANGE", 1, 1, 1, write},
	{OpSetEx, "SETEX", 1, 1, 1, write},
	{OpPSetEx, "PSETEX", 1, 1, 1, write},
	{OpSetNX, "SETNX", 1, 1, 1, write},
	{OpGetSet, "GETSET", 1, 1, 1, write},
	{OpMSetNX, "MSETNX", 1, -1, 2, write},
	{OpLCS, "LCS", 1, 2, 1, read},
	{OpSubStr, "SUBSTR", 1, 1, 1, read},
	{OpIncrByFloat, "INCRBYFLOAT", 1, 1, 1, write},
	{OpSetBit, "SETBIT", 1, 1, 1, write},
	{OpGetBit, "GETBIT", 1, 1, 1, read},
	{OpBitCount, "BITCOUNT", 1, 1, 1, read},
	{OpBitPos, "BITPOS", 1, 1, 1, read},
	{OpBitOp, "BITOP", 2, -1, 1, write},
	{OpBitField, "BITFIELD", 1, 1, 1, write},
	{OpBitFieldRO, "BITFIELD_RO", 1, 1, 1, read},
	{OpDel, "DEL", 1, -1, 1, write},
	{OpUnlink, "UNLINK", 1, -1, 1, write},
	{OpExists, "EXISTS", 1, -1, 1, read},
	{OpTouch, "TOUCH", 1, -1, 1, read},
	{OpType, "TYPE", 1, 1, 1, read},
	{OpExpire, "EXPIRE", 1, 1, 1, write},
	{OpPExpire, "PEXPIRE", 1, 1, 1, write},
	{OpExpireAt, "EXPIREAT", 1, 1, 1, write},
	{OpPExpireAt, "PEXPIREAT", 1, 1, 1, write},
	{OpTTL, "TTL", 1, 1, 1, read},
	{OpPTTL, "PTTL", 1, 1, 1, read},
	{OpExpireTime, "EXPIRETIME", 1, 1, 1, read},
	{OpPExpireTime, "PEXPIRETIME", 1, 1, 1, read},
	{OpPersist, "PERSIST", 1, 1, 1, write},
	{OpScan, "SCAN", 0, 0, 0, read},
	{OpDBSize, "DBSIZE", 0, 0, 0, read},
	{OpFlushAll, "FLUSHALL", 0, 0, 0, write},
	{OpCopy, "COPY", 1, 2, 1, write},
	{OpRename, "RENAME", 1, 2, 1, write},
	{OpRenameNX, "RENAMENX", 1, 2, 1, write},
	{OpRandomKey, "RANDOMKEY", 0, 0, 0, read},
	{OpKeys, "KEYS", 0, 0, 0, read},
	{OpObject, "OBJECT", 2, 2, 1, read},
	{OpSort, "SORT", 1, 1, 1, write},
	{OpSortRO, "SORT_RO", 1, 1, 1, read},
	{OpDump, "DUMP", 1, 1, 1, read},
	{OpRestore, "RESTORE", 1, 1, 1, write},
	{OpMemory, "MEMORY", 2, 2, 1, read},
	{OpLPush, "LPUSH", 1, 1, 1, write},
	{OpRPush, "RPUSH", 1, 1, 1, write},
	{OpLPop, "LPOP", 1, 1, 1, write},
	{OpRPop, "RPOP", 1, 1, 1, write},
	{OpLLen, "LLEN", 1, 1, 1, read},
	{OpLRange, "LRANGE", 1, 1, 1, read},
	{OpLIndex, "LINDEX", 1, 1, 1, read},
	{OpLSet, "LSET", 1, 1, 1, write},
	{OpLRem, "LREM", 1, 1, 1, write},
	{OpLTrim, "LTRIM", 1, 1, 1, write},
	{OpLPushX, "LPUSHX", 1, 1, 1, write},
	{OpRPushX, "RPUSHX", 1, 1, 1, write},
	{OpLInsert, "LINSERT", 1, 1, 1, write},
	{OpLPos, "LPOS", 1, 1, 1, read},
	{OpLMove, "LMOVE", 1, 2, 1, write},
	{OpRPopLPush, "RPOPLPUSH", 1, 2, 1, write},
	{OpLMPop, "LMPOP", 0, 0, 0, write},
	{OpBLPop, "BLPOP", 1, -2, 1, write},
	{OpBRPop, "BRPOP", 1, -2, 1, write},
	{OpBLMove, "BLMOVE", 1, 2, 1, write},
	{OpBRPopLPush, "BRPOPLPUSH", 1, 2, 1, write},
	{OpBLMPop, "BLMPOP", 0, 0, 0, write},
	{OpHSet, "HSET", 1, 1, 1, write},
	{OpHGet, "HGET", 1, 1, 1, read},
	{OpHMGet, "HMGET", 1, 1, 1, read},
	{OpHGetAll, "HGETALL", 1, 1, 1, read},
	{OpHDel, "HDEL", 1, 1, 1, write},
	{OpHExists, "HEXISTS", 1, 1, 1, read},
	{OpHLen, "HLEN", 1, 1, 1, read},
	{OpHKeys, "HKEYS", 1, 1, 1, read},
	{OpHVals, "HVALS", 1, 1, 1, read},
	{OpHIncrBy, "HINCRBY", 1, 1, 1, write},
	{OpHSetNX, "HSETNX", 1, 1, 1, write},
	{OpHStrLen, "HSTRLEN", 1, 1, 1, read},
	{OpHIncrByFloat, "HINCRBYFLOAT", 1, 1, 1, write},
	{OpHRandField, "HRANDFIELD", 1, 1, 1, read},
	{OpHScan, "HSCAN", 1, 1, 1, read},
	{OpHMSet, "HMSET", 1, 1, 1, write},
	{OpSAdd, "SADD", 1, 1, 1, write},
	{OpSRem, "SREM", 1, 1, 1, write},
	{OpSMembers, "SMEMBERS", 1, 1, 1, read},
	{OpSIsMember, "SISMEMBER", 1, 1, 1, read},
	{OpSMIsMember, "SMISMEMBER", 1, 1, 1, read},
	{OpSCard, "SCARD", 1, 1, 1, read},
	{OpSPop, "SPOP", 1, 1, 1, write},
	{OpSRandMember, "SRANDMEMBER", 1, 1, 1, read},
	{OpSMove, "SMOVE", 1, 2, 1, write},
	{OpSInter, "SINTER", 1, -1, 1, read},
	{OpSInterStore, "SINTERSTORE", 1, -1, 1, write},
	{OpSInterCard, "SINTERCARD", 0, 0, 0, read},
	{OpSUnion, "SUNION", 1, -1, 1, read},
	{OpSUnionStore, "SUNIONSTORE", 1, -1, 1, write},
	{OpSDiff, "SDIFF", 1, -1, 1, read},
	{OpSDiffStore, "SDIFFSTORE", 1, -1, 1, write},
	{OpSScan, "SSCAN", 1, 1, 1, read},
	{OpZAdd, "ZADD", 1, 1, 1, write},
	{OpZIncrBy, "ZINCRBY", 1, 1, 1, write},
	{OpZRem, "ZREM", 1, 1, 1, write},
	{OpZCard, "ZCARD", 1, 1, 1, read},
	{OpZScore, "ZSCORE", 1, 1, 1, read},
	{OpZMScore, "ZMSCORE", 1, 1, 1, read},
	{OpZRank, "ZRANK", 1, 1, 1, read},
	{OpZRevRank, "ZREVRANK", 1, 1, 1, read},
	{OpZCount, "ZCOUNT", 1, 1, 1, read},
	{OpZLexCount, "ZLEXCOUNT", 1, 1, 1, read},
	{OpZRange, "ZRANGE", 1, 1, 1, read},
	{OpZRangeStore, "ZRANGESTORE", 1, 2, 1, write},
	{OpZRangeByScore, "ZRANGEBYSCORE", 1, 1, 1, read},
	{OpZRevRangeByScore, "ZREVRANGEBYSCORE", 1, 1, 1, read},
	{OpZRangeByLex, "ZRANGEBYLEX", 1, 1, 1, read},
	{OpZRevRangeByLex, "ZREVRANGEBYLEX", 1, 1, 1, read},
	{OpZRevRange, "ZREVRANGE", 1, 1, 1, read},
	{OpZRemRangeByRank, "ZREMRANGEBYRANK", 1, 1, 1, write},
	{OpZRemRangeByScore, "ZREMRANGEBYSCORE", 1, 1, 1, write},
	{OpZRemRangeByLex, "ZREMRANGEBYLEX", 1, 1, 1, write},
	{OpZPopMin, "ZPOPMIN", 1, 1, 1, write},
	{OpZPopMax, "ZPOPMAX", 1, 1, 1, write},
	{OpZMPop, "ZMPOP", 0, 0, 0, write},
	{OpZRandMember, "ZRANDMEMBER", 1, 1, 1, read},
	{OpZUnion, "ZUNION", 0, 0, 0, read},
	{OpZUnionStore, "ZUNIONSTORE", 1, 1, 1, write},
	{OpZInter, "ZINTER", 0, 0, 0, read},
	{OpZInterStore, "ZINTERSTORE", 1, 1, 1, write},
	{OpZInterCard, "ZINTERCARD", 0, 0, 0, read},
	{OpZDiff, "ZDIFF", 0, 0, 0, read},
	{OpZDiffStore, "ZDIFFSTORE", 1, 1, 1, write},
	{OpZScan, "ZSCAN", 1, 1, 1, read},
	{OpBZPopMin, "BZPOPMIN", 1, -2, 1, write},
	{OpBZPopMax, "BZPOPMAX", 1, -2, 1, write},
	{OpBZMPop, "BZMPOP", 0, 0, 0, write},
	{OpPFAdd, "PFADD", 1, 1, 1, write},
	{OpPFCount, "PFCOUNT", 1, -1, 1, read},
	{OpPFMerge, "PFMERGE", 1, -1, 1, write},
	{OpKVGet, "KV.GET", 1, 1, 1, read},
	{OpKVDel, "KV.DEL", 1, 1, 1, write},
	{OpKVStats, "KV.STATS", 0, 0, 0, read},
	{OpExec, "KV.EXEC", 0, 0, 0, write},
	{OpWatch, "KV.WATCH", 1, -1, 1, read},
	{OpEval, "EVAL", 0, 0, 0, write},
	{OpEvalRO, "EVAL_RO", 0, 0, 0, read},
	{OpEvalSHA, "EVALSHA", 0, 0, 0, write},
	{OpEvalSHARO, "EVALSHA_RO", 0, 0, 0, read},
	{OpLook, "KV.LOOK", 1, -1, 1, read},
	{OpEffect, "KV.EFFECT", 0, 0, 0, write},
}

// opOfName finds a name by trying: the table is short, and callers do it once per command text.
func opOfName(name string) Op {
	for i := range commands {
		if commands[i].Name == name {
			return commands[i].Op
		}
	}
	return OpNamed
}
