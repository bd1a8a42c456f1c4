// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/fsm/rdb"
	"github.com/kvorum/kvorum/store"
)

// Slots is the number of slots of a keyspace.
const Slots = store.Slots

// SlotOf tells the slot of a key, by the rules of Redis Cluster.
func SlotOf(key []byte) uint16 { return store.SlotOf(key) }

// dueBatch is how many due keys an entry removes at most: about half a millisecond's work.
const dueBatch = 512

// compactBatch is how many keys an entry moves at most to give memory back: about as many as full entries write,
// some fifty microseconds' work.
const compactBatch = 128

// Keyspace is the State of a data group.
//
// Lock order: whole, then slots in ascending order, then what store takes. Only the applying goroutine
// takes write locks; readers take read locks.
type Keyspace struct {
	table *Table
	st    *store.Store
	// waiters is nil when nobody ever waits.
	waiters Waiters
	// listener is nil when nobody ever listens.
	listener Listener
	rdb      *rdb.Codec

	// slots is guarded, slot by slot, by the slot's lock.
	slots [Slots]slotState

	// settings is replaced by the applying goroutine, never changed in place.
	settings atomic.Pointer[settings]

	whole struct {
		sync.RWMutex
		cover *Cover // replaced, never changed in place
	}

	planned plannedVictims
	// tick is the log clock in units of store.TickMillis: the time of recency.
	tick atomic.Uint32

	// imports belongs to the applying goroutine; importing is its id and, in the lowest bit, whether it is
	// open, for everybody.
	imports   importState
	importing atomic.Uint64

	// loading is the head of a snapshot between BeginLoad and EndLoad.
	loading *keyspaceHead

	// x and warm are the applying goroutine's room.
	x    execution
	warm struct {
		places [store.WarmMax]store.Place
		sum    uint64
	}
}

// slotState says whether commands on a slot may run here.
type slotState struct {
	// epoch is that of the last step that changed the slot's ownership.
	epoch uint64
	owned bool
	// frozen is set between a move's freeze and its end: nothing in the slot changes.
	frozen bool
}

// KeyspaceConfig is fixed for the life of a Keyspace.
type KeyspaceConfig struct {
	// HashKey is cluster state, the same on all replicas of all groups.
	HashKey [16]byte
	// Memory is where the keys live; nil is the Go heap.
	Memory store.Memory
	// Waiters hears of writes to keys that somebody may wait for; nil is nobody.
	Waiters Waiters
	// Listener hears of events; nil is nobody.
	Listener Listener
}

// NewKeyspace makes an empty keyspace that owns no slot. t is a table made by Data or DataWith.
func NewKeyspace(t *Table, c KeyspaceConfig) *Keyspace {
	k := &Keyspace{table: t, waiters: c.Waiters, listener: c.Listener, rdb: rdb.New(), st: store.New(store.Config{HashKey: c.HashKey, Memory: c.Memory})}
	k.settings.Store(defaultSettings())
	k.whole.cover = new(Cover)
	return k
}

// Stats counts what the keyspace holds. Any goroutine.
func (k *Keyspace) Stats() store.Stats { return k.st.Totals() }

// NextDeadline implements State.
func (k *Keyspace) NextDeadline() int64 { return k.st.NextDeadline() }

// Begin implements State.
func (k *Keyspace) Begin(ctx *Ctx, victims []Victim) {
	k.setTick(ctx.Now())
	k.planned.applied(ctx.Term)
	if planted("local-eviction") && len(victims) > 0 {
		victims = k.PlanEvictions(0)
	}
	wanted := k.wantedBy(ctx)
	for i := range victims {
		if k.evict(&victims[i]) && wanted&ClassEvicted != 0 {
			k.listener.Happened(ClassEvicted, eventEvicted, victims[i].Key)
		}
	}
	k.st.PopDue(ctx.Now(), dueBatch, k.beginEvents(wanted))
	k.st.Compact(compactBatch)
	k.sweepTokens(ctx)
}

// Run implements State.
func (k *Keyspace) Run(ctx *Ctx, cmd *Command) Result {
	s := k.table.Spec(cmd.Op)
	set := k.settings.Load()
	x := &k.x
	x.begin(k, ctx, s, set)
	if s.Internal { // no value of a user's: the limits of values do not hold
		if !s.arityFits(len(cmd.Args)) {
			return s.WrongArity()
		}
		return k.runUpkeep(x, cmd.Args)
	}
	if res, ok := s.check(cmd.Args, &set.limits); !ok {
		return res
	}
	if s.Whole || s.Script {
		return s.run(x, cmd.Args)
	}
	x.locate(cmd.Args)
	for _, slot := range x.locks {
		k.st.Lock(slot)
	}
	x.now = ctx.Now()
	x.wanted = k.wantedBy(ctx)
	res := x.write(cmd)
	if k.waiters != nil && k.waiters.Any() {
		x.tell(k.waiters, cmd.Args, &res)
	}
	for _, slot := range x.locks {
		k.st.Unlock(slot)
	}
	return res
}

// Warm implements Warmer.
func (k *Keyspace) Warm(cmds []Command) {
	places := k.warm.places[:0]
	for i := range cmds {
		s := k.table.Spec(cmds[i].Op)
		if s == nil || s.Whole || s.Internal {
			continue
		}
		args := cmds[i].Args
		first, end, _ := s.KeyRange(len(args))
		if first >= end || len(places) == cap(places) {
			continue
		}
		places = append(places, store.Place{Slot: store.SlotOf(args[first]), Key: args[first]})
	}
	sum := k.st.Warm(places)
	for i := range places {
		if k.slots[places[i].Slot].owned {
			sum++
		}
	}
	k.warm.sum = sum
	clear(places)
}

// Query implements State.
func (k *Keyspace) Query(ctx *Ctx, cmd *Command) Result {
	s := k.table.Spec(cmd.Op)
	set := k.settings.Load()
	if res, ok := s.check(cmd.Args, &set.limits); !ok {
		return res
	}
	if ctx.x == nil {
		ctx.x = new(execution)
	}
	x := ctx.x
	x.begin(k, ctx, s, set)
	if s.Whole || s.Script {
		return s.run(x, cmd.Args)
	}
	x.locate(cmd.Args)
	if x.wanders(cmd.Args) {
		x.locks = x.locks[:0]
		for slot := range uint16(Slots) {
			x.locks = append(x.locks, slot)
		}
	}
	for _, slot := range x.locks {
		k.st.RLock(slot)
	}
	defer func() {
		for _, slot := range x.locks {
			k.st.RUnlock(slot)
		}
	}()
	x.now = ctx.Now()
	if planted("local-clock") {
		x.now = ctx.Wall
	}
	if res, ok := x.served(); !ok {
		return res
	}
	return s.run(x, cmd.Args)
}

// execution is one command on its way through the keyspace. Handlers run with the locks of its slots held.
type execution struct {
	k    *Keyspace
	ctx  *Ctx
	spec *Spec
	set  *settings
	// now is C, taken behind the locks.
	now int64
	// slot is that of the key being worked on; keySlots has that of each key in order, locks the same
	// without repetition, ascending.
	slot            uint16
	keySlots, locks []uint16
	// bundle is that of the transaction that the command is part of, or nil.
	bundle *bundle
	// refs is room for the entries that a command found.
	refs []store.Ref
	// wanted are the classes of events to tell of, observer is room for it.
	wanted   Classes
	observer observer
}

func (x *execution) begin(k *Keyspace, ctx *Ctx, s *Spec, set *settings) {
	x.k, x.ctx, x.spec, x.set = k, ctx, s, set
}

// locate finds the slots of the command's keys, and what is to be locked.
func (x *execution) locate(args [][]byte) {
	x.findSlots(args)
	x.locks = append(x.locks[:0], x.keySlots...)
	if len(x.locks) > 1 {
		slices.Sort(x.locks)
		x.locks = slices.Compact(x.locks)
	}
}

// findSlots finds the slots of the command's keys.
func (x *execution) findSlots(args [][]byte) {
	first, end, step := x.spec.KeyRange(len(args))
	x.keySlots = x.keySlots[:0]
	for i := first; i < end; i += step {
		x.keySlots = append(x.keySlots, store.SlotOf(args[i]))
	}
	first, end = x.spec.CountedKeys(args)
	for i := first; i < end; i++ {
		x.keySlots = append(x.keySlots, store.SlotOf(args[i]))
	}
	if i := x.spec.announcedKey(args); i > 0 {
		x.keySlots = append(x.keySlots, store.SlotOf(args[i]))
	}
	x.slot = x.keySlots[0]
}

// served tells whether all slots of the command may be used here.
func (x *execution) served() (Result, bool) {
	for _, slot := range x.locks {
		if s := &x.k.slots[slot]; !s.owned {
			return Error(CodeSlotMoved, TextSlotMoved), false
		} else if s.frozen || x.ctx.writes.holds(slot) {
			return Error(CodeSlotFrozen, TextSlotFrozen), false
		}
	}
	return Result{}, true
}

// write runs a write behind its gates: ownership, token, memory.
func (x *execution) write(cmd *Command) Result {
	if res, ok := x.served(); !ok {
		return res
	}
	tokened := !cmd.Token.IsZero() && len(x.locks) == 1
	if tokened {
		if res, ok := x.replay(&cmd.Token); ok {
			return res
		}
	}
	if x.spec.DenyOOM && x.k.full(x.set) {
		return Error(CodeOOM, TextOOM)
	}
	res := x.perform(cmd.Args)
	if tokened && res.Code != CodeReplyRoom && res.Code != CodeSlotFrozen {
		x.recordToken(&cmd.Token, &res)
	}
	return res
}

// get finds a live entry for reading.
func (x *execution) get(key []byte) (store.Ref, bool) {
	var ref store.Ref
	var ok bool
	if x.set.maxMemory != 0 {
		ref, ok = x.k.st.Use(x.slot, key, x.now, tickAt(max(x.now, x.ctx.Wall)))
	} else {
		ref, ok = x.k.st.Get(x.slot, key, x.now)
	}
	if ok {
		x.ctx.NoteDue(ref.ExpireAt())
	} else {
		x.missed(key)
	}
	return ref, ok
}

// tickAt turns a clock in milliseconds into the unit of recency, which wraps around.
func tickAt(millis int64) uint32 { return uint32(millis / store.TickMillis) }

func (k *Keyspace) setTick(now int64) {
	tick := tickAt(now)
	if k.tick.Load() != tick {
		k.tick.Store(tick)
		k.st.SetTick(tick)
	}
}

// applySettings puts new settings in force.
func (k *Keyspace) applySettings(set *settings) {
	k.settings.Store(set)
	k.st.CountAccesses(set.policy.Frequency())
}

// take finds a live entry for writing; nothing of a dead one is left behind.
func (x *execution) take(key []byte) (store.Ref, bool) {
	ref, ok := x.k.st.Lookup(x.slot, key)
	if ok && ref.Dead(x.now) {
		x.k.st.Delete(x.slot, key)
		return store.Ref{}, false
	}
	return ref, ok
}

// getTyped is get for a type; found false without an error means that the key is absent.
func (x *execution) getTyped(key []byte, t store.Type) (ref store.Ref, found bool, bad *Result) {
	ref, found = x.get(key)
	return typed(ref, found, t)
}

func (x *execution) takeTyped(key []byte, t store.Type) (ref store.Ref, found bool, bad *Result) {
	ref, found = x.take(key)
	return typed(ref, found, t)
}

func typed(ref store.Ref, found bool, t store.Type) (store.Ref, bool, *Result) {
	if found && ref.Type() != t {
		res := Error(CodeWrongType, TextWrongType)
		return ref, true, &res
	}
	return ref, found, nil
}

// fresh is the deadline of a key that is made without one.
func (x *execution) fresh() int64 {
	if x.set.defaultTTL == 0 {
		return 0
	}
	return x.now + x.set.defaultTTL
}

// settle gives a collection or string just made by an in-place edit its default deadline.
func (x *execution) settle(key []byte, existed bool) {
	if at := x.fresh(); at != 0 && !existed {
		x.k.st.SetExpire(x.slot, key, at)
	}
}

// clone copies bytes of the store for a result.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
