// SPDX-License-Identifier: Apache-2.0

package fsm

// Commands of the shell itself: every table has them, whatever its state is.
const (
	// OpOpenSession opens a frontend's session; its result is the session's number.
	OpOpenSession Op = 1
	// OpClusterVersion raises the version that leaders may propose up to. Argument: version.
	OpClusterVersion Op = 2
)

// Upkeep of a data group, proposed by its leader or the control group's agent.
const (
	OpOwn        Op = 16 // epoch, slot set: this group owns the slots
	OpDrop       Op = 17 // epoch, slot set: this group gives the slots up; their keys go
	OpLimit      Op = 18 // maxmemory in bytes (0 none), policy, maxvalue in bytes (0 default)
	OpDefaultTTL Op = 19 // milliseconds given to keys made without a deadline; 0 none

	OpImportBegin Op = 20 // id: this group, which is empty, takes a saved cluster's slots
	OpImport      Op = 21 // id, slot, number, clock, version, section: one piece of a slot
	OpImportEnd   Op = 22 // id, 0 or 1: the import is dropped or kept
)

// The data commands. 0x8000 and above belongs to the control group's table.
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

	// OpKVGet: KV.GET key → [value, version, flags, pttl, type], null when absent.
	OpKVGet Op = 512
	// OpKVDel: KV.DEL key [IFVERSION n] → 1 or 0.
	OpKVDel Op = 513
	// OpKVStats: KV.STATS → [keys, key bytes, value bytes, logical bytes] of the covered slots.
	OpKVStats Op = 514

	// OpExec: KV.EXEC numkeys key… marks command… → the commands' replies, null when a watched key changed.
	OpExec Op = 528
	// OpWatch: KV.WATCH key… → the keys' marks.
	OpWatch Op = 529

	// EVAL script numkeys key… arg…, and its like: run by the router at the leader of the keys, never in the log.
	OpEval      Op = 530
	OpEvalRO    Op = 531
	OpEvalSHA   Op = 532
	OpEvalSHARO Op = 533
	// OpLook: KV.LOOK key… → [clock, largest value, default TTL, full, mark…].
	OpLook Op = 534
	// OpEntry: KV.ENTRY key bytes → the key's sections, null when it is absent.
	OpEntry Op = 535
	// OpEffect: KV.EFFECT numkeys key… guard command… → OK, null when the guard does not fit.
	OpEffect Op = 536
)
