// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/kvorum/kvorum/store"
)

// MaxClusterVersion is the newest cluster version whose entries this build understands.
const MaxClusterVersion = 1

// ErrStopped is returned when the machine met an entry it may not skip, after Options.Fatal was called.
var ErrStopped = errors.New("fsm: replica stopped")

// Options of a Machine.
type Options struct {
	// Cluster and Group are written to snapshots; Restore refuses those of another.
	Cluster string
	Group   uint32
	// Fatal is called once, on the applying goroutine, when the replica must not go on: an entry of a
	// newer format, a damaged one, or a *DefectError. From then on the machine changes nothing. It must not
	// return to a process that keeps serving writes. Nil panics instead.
	Fatal func(error)
	// Dice gives what a read with Spec.Chance draws from: another number each time. Any goroutine that
	// queries calls it; without it such reads draw the same each time. Writes never ask it.
	Dice func() uint64
	// Defect is told of a read that panicked. The read is answered with an error and the machine goes on:
	// reads change nothing. It may be called by any goroutine that queries; nil ignores it.
	Defect func(*DefectError)
}

// Machine is the replicated shell over one table and one state. See the package comment for who may
// call what.
type Machine struct {
	table *Table
	state State
	opts  Options

	// clock is C, version is V: stored by the applying goroutine only.
	clock   atomic.Int64
	version atomic.Uint64
	// term is stored before index: who sees an index sees a term at least as high.
	index, term atomic.Uint64
	// clusterVersion is what leaders may propose up to.
	clusterVersion atomic.Uint32

	// What follows belongs to the applying goroutine.

	// age is A, the clock that tokens live by: C without its leaps.
	age      int64
	sessions sessionTable
	stopped  error
	entry    Entry // room reused between entries
	ahead    [aheadCommands]Command
	cache    []byte // the replies of a Sub as its session keeps them; never nil, its room is reused
	warmer   Warmer // nil when the state is none
}

// aheadCommands is how many writes are parsed before the first of them runs.
const aheadCommands = store.WarmMax

// NewMachine makes an empty machine. t holds the commands that s runs.
func NewMachine(t *Table, s State, o Options) *Machine {
	m := &Machine{table: t, state: s, opts: o, age: 1, cache: []byte{}}
	m.warmer, _ = s.(Warmer)
	m.sessions.reset()
	return m
}

// Table gives the machine's commands.
func (m *Machine) Table() *Table { return m.table }

// State gives the machine's state.
func (m *Machine) State() State { return m.state }

// Applied gives the last entry that is fully applied. The term may be of a later entry than the index.
func (m *Machine) Applied() (index, term uint64) { return m.index.Load(), m.term.Load() }

// Clock gives C, the largest leader clock of the applied entries, in milliseconds.
func (m *Machine) Clock() int64 { return m.clock.Load() }

// Version gives V, the newest version handed out.
func (m *Machine) Version() uint64 { return m.version.Load() }

// ClusterVersion gives the version that leaders may propose up to.
func (m *Machine) ClusterVersion() uint32 { return m.clusterVersion.Load() }

// NextDeadline gives the earliest deadline in milliseconds, 0 for none: when the leader's clock has
// passed it, a tick is due.
func (m *Machine) NextDeadline() int64 { return m.state.NextDeadline() }

// GrowthBound is what an entry of these Subs is to be reckoned with for PlanEvictions. Leader-local.
func (m *Machine) GrowthBound(subs []*Sub) int64 { return m.state.GrowthBound(subs) }

// PlanEvictions names victims for the header of the next entry: growth is what proposed and not yet applied
// entries, the next one included, will add. Those named before count as gone. Leader-local.
func (m *Machine) PlanEvictions(growth int64) []Victim { return m.state.PlanEvictions(growth) }

// Sessions lists the open sessions in ascending order.
func (m *Machine) Sessions() []uint64 { return m.sessions.list() }

func (m *Machine) raise(clock int64, version uint64) {
	m.clock.Store(max(m.clock.Load(), clock))
	m.version.Store(max(m.version.Load(), version))
}

// maxAging is how much older an entry makes tokens at most, in milliseconds.
const maxAging = 1000

// grow makes tokens older by the time that passed since the last entry, but not by a leap of the clock: a leader whose
// clock is ahead of the last one's would make all of them expire at once, while their clients still try again.
func (m *Machine) grow(clock int64) {
	m.age += min(max(clock-m.clock.Load(), 0), maxAging)
}

// stop ends the machine: nothing is applied from here on.
func (m *Machine) stop(err error) {
	if m.stopped != nil {
		return
	}
	m.stopped = err
	if m.opts.Fatal == nil {
		panic(err)
	}
	m.opts.Fatal(err)
}

// Advance notes an entry that carries no data for the machine, such as a configuration.
func (m *Machine) Advance(index, term uint64) {
	if m.stopped != nil || index <= m.index.Load() {
		return
	}
	m.term.Store(term)
	m.index.Store(index)
}

// Apply applies one entry. subs is nil, or exactly the entry's own Subs in their order, whose Status,
// Results and ReadResults are then filled, and the Listener hears of what happens; it does with subs that are
// empty and not nil, too. What is executed is data, which Apply does not keep. An
// entry that this build may not skip stops the machine.
func (m *Machine) Apply(index, term uint64, data []byte, subs []*Sub) {
	if m.stopped != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			if m.stopped != nil { // Fatal itself panicked
				panic(p)
			}
			m.stop(defectOf(fmt.Sprintf("apply entry %d", index), p))
		}
	}()
	if err := m.apply(index, term, data, subs); err != nil {
		m.stop(fmt.Errorf("fsm: apply entry %d: %w", index, err))
		return
	}
	m.release()
	m.term.Store(term)
	m.index.Store(index)
}

// maxRoom bounds the room for Subs and arguments that is kept from one entry to the next, in items.
const maxRoom = 8192

// maxCache bounds the room for replies that is kept, in bytes.
const maxCache = 64 << 10

// release lets the entry's bytes go and keeps the room for the next one.
func (m *Machine) release() {
	clear(m.entry.Subs)
	clear(m.entry.Header.Evict)
	if cap(m.entry.Subs) > maxRoom {
		m.entry.Subs = nil
	}
	for i := range m.ahead {
		c := &m.ahead[i]
		clear(c.Args[:cap(c.Args)])
		if cap(c.Args) > maxRoom/aheadCommands {
			c.Args = nil
		}
	}
}

func (m *Machine) apply(index, term uint64, data []byte, subs []*Sub) error {
	if at := m.index.Load(); index <= at {
		return fmt.Errorf("already at %d", at)
	}
	e := &m.entry
	if err := parseEntry(data, e); err != nil {
		return err
	}
	if err := m.acceptable(e, subs); err != nil {
		return err
	}
	m.grow(e.Header.Clock)
	m.raise(e.Header.Clock, 0)
	ctx := &Ctx{Index: index, Term: term, Seed: e.Header.Seed, own: subs != nil, m: m}
	m.sessions.begin(index)
	for _, id := range e.Header.Close {
		m.sessions.end(id)
	}
	m.state.Begin(ctx, e.Header.Evict)
	for i := range e.Subs {
		var sub *Sub
		if subs != nil {
			sub = subs[i]
		}
		if err := m.applySub(ctx, &e.Subs[i], sub); err != nil {
			return fmt.Errorf("sub %d: %w", i, err)
		}
	}
	return nil
}

// acceptable checks what can be checked before anything changes.
func (m *Machine) acceptable(e *Entry, subs []*Sub) error {
	if v := e.Header.ClusterVersion; v > MaxClusterVersion {
		return fmt.Errorf("cluster version %d: %w", v, ErrUnknown)
	}
	if subs == nil {
		return nil
	}
	if len(subs) != len(e.Subs) {
		return fmt.Errorf("%d subs were passed for %d in the entry", len(subs), len(e.Subs))
	}
	for i, s := range subs {
		if l := &e.Subs[i]; s.Session != l.Session || s.Seq != l.Seq || s.Writes != l.Writes {
			return fmt.Errorf("sub %d is not the entry's own", i)
		}
	}
	return nil
}

// applySub runs one Sub as sessions.go decides. sub is nil on replicas that nobody waits on.
func (m *Machine) applySub(ctx *Ctx, l *EntrySub, sub *Sub) error {
	if l.Session == 0 {
		_, err := m.execute(ctx, l, sub, nil)
		if sub != nil && err == nil {
			sub.Status = SubApplied
		}
		return err
	}
	v := m.sessions.admit(l)
	if v.execute {
		cached, err := m.execute(ctx, l, sub, m.cache[:0])
		if err != nil {
			return err
		}
		m.sessions.record(l, cached)
		if cap(cached) <= maxCache {
			m.cache = cached
		}
		if sub != nil {
			sub.Status = SubApplied
		}
		return nil
	}
	if sub == nil {
		return nil
	}
	sub.Status, sub.Next = v.status, v.next
	if v.status != SubApplied {
		return nil
	}
	sub.ReadResults = ResultRoom(sub.ReadResults, len(sub.Reads))
	sub.Results = parseCached(v.cached, l.Writes)
	return nil
}

// execute runs a Sub's writes, and its attached reads between them when somebody waits for them. With a
// non-nil cache it also appends the replies as sessions keep them, and returns it.
func (m *Machine) execute(ctx *Ctx, l *EntrySub, sub *Sub, cache []byte) ([]byte, error) {
	body, read := l.Body, 0
	ctx.writes.reset()
	if sub != nil {
		sub.Results = ResultRoom(sub.Results, l.Writes)
		sub.ReadResults = ResultRoom(sub.ReadResults, len(sub.Reads))
		if ctx.room = sub.Room; ctx.room == nil && len(sub.Reads) > 0 {
			ctx.room = &Room{Free: MaxReply}
		}
	}
	for i := range l.Writes {
		at := i % aheadCommands
		if at == 0 {
			n, err := m.parseAhead(body, min(l.Writes-i, aheadCommands))
			if err != nil {
				return nil, fmt.Errorf("command %d or behind: %w", i, err)
			}
			body = body[n:]
		}
		if sub != nil {
			read = m.attached(ctx, sub, read, i)
		}
		res, err := m.run(ctx, &m.ahead[at])
		if err != nil {
			return nil, fmt.Errorf("command %d: %w", i, err)
		}
		if cache != nil {
			cache = appendCached(cache, &res)
		}
		if sub != nil {
			sub.Results[i] = res
		}
	}
	if len(body) != 0 {
		return nil, fmt.Errorf("%d bytes behind the last command: %w", len(body), ErrMalformed)
	}
	if sub != nil {
		m.attached(ctx, sub, read, l.Writes)
	}
	return cache, nil
}

// parseAhead parses the next n writes of a body and tells the state of them.
func (m *Machine) parseAhead(body []byte, n int) (size int, err error) {
	for i := range n {
		one, err := parseCommand(body[size:], &m.ahead[i])
		if err != nil {
			return 0, err
		}
		size += one
	}
	if m.warmer != nil && n > 1 {
		m.warmer.Warm(m.ahead[:n])
	}
	return size, nil
}

// attached runs the reads that stand behind done writes, from number read on. Those that find no room,
// and all behind them, keep KindNone.
func (m *Machine) attached(ctx *Ctx, sub *Sub, read, done int) int {
	for ; read < len(sub.Reads) && sub.Reads[read].After <= done; read++ {
		if !ctx.room.Short {
			sub.ReadResults[read] = m.query(ctx, &sub.Reads[read].Cmd)
		}
	}
	return read
}

// run executes one write. A command that this build does not know is an error: skipping it would make
// this replica differ.
func (m *Machine) run(ctx *Ctx, cmd *Command) (Result, error) {
	s := m.table.Spec(cmd.Op)
	if s == nil {
		return Result{}, fmt.Errorf("command number %d: %w", cmd.Op, ErrUnknown)
	}
	if !s.Write {
		return Result{}, fmt.Errorf("%s is no write: %w", s.Name, ErrMalformed)
	}
	if s.Op < firstStateOp {
		return m.runShell(s, cmd)
	}
	ctx.writes.cmd = cmd.Room
	return m.state.Run(ctx, cmd), nil
}

// Query answers reads at the present state; the caller has fenced. Arguments are not kept; results
// belong to the caller; len(out) == len(cmds). wall is the caller's wall clock in milliseconds, and due
// tells that a key was met which is past its deadline by wall and not yet by the log clock: the caller
// should ask for a tick. room bounds the replies; nil means MaxBatchReply, of which nobody keeps account.
// The first command that finds no room is not answered, and none behind it: out has KindNone for them.
func (m *Machine) Query(cmds []Command, out []Result, wall int64, room *Room) (due bool) {
	ctx := Ctx{Wall: wall, m: m, room: room}
	if room == nil {
		ctx.room = &Room{Free: MaxReply}
	}
	for i := range cmds {
		if out[i] = m.query(&ctx, &cmds[i]); ctx.room.Short {
			clear(out[i:])
			break
		}
	}
	return ctx.due
}

func (m *Machine) query(ctx *Ctx, cmd *Command) (res Result) {
	s := m.table.Spec(cmd.Op)
	if s == nil {
		return Errorf(CodeUnknown, "ERR unknown command number %d", cmd.Op)
	}
	if s.Write {
		return Errorf(CodeError, "ERR '%s' is a write", s.Name)
	}
	defer func() {
		if p := recover(); p != nil {
			res = Error(CodeError, "ERR internal error")
			if m.opts.Defect != nil {
				m.opts.Defect(defectOf("query "+s.Name, p))
			}
		}
	}()
	return m.state.Query(ctx, cmd)
}
