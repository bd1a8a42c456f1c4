// SPDX-License-Identifier: Apache-2.0

package fsm

// State is what a Machine keeps: the keyspace of a data group, or the control group's records. It
// brings its own table of commands.
//
// The Machine calls Run, Begin, Freeze, BeginLoad, Load, EndLoad and Digest on the applying goroutine,
// one at a time. Query, NextDeadline, GrowthBound and PlanEvictions may run on any goroutine at any
// time beside them; the state takes what locks it needs. Everything but the leader-local GrowthBound and
// PlanEvictions must depend on the calls made so far alone.
type State interface {
	// Begin runs once an entry, after the clock moved and before the commands: victims go whose version
	// still matches, then a bounded number of due keys.
	Begin(ctx *Ctx, victims []Victim)
	// Run executes a write. It validates anew what Check validated: the log may hold anything. The
	// result must not alias cmd or the state.
	Run(ctx *Ctx, cmd *Command) Result
	// Query executes a read at ctx.Now, taken after the locks it needs. It reports a key that is due by
	// ctx.Wall but not by ctx.Now through ctx.NoteDue.
	Query(ctx *Ctx, cmd *Command) Result
	// Freeze gives a view of the state as it is now, in constant time; the state goes on changing. It
	// fails while an earlier view is open.
	Freeze() (Frozen, error)
	// BeginLoad empties the state and keeps readers out until EndLoad; Load takes one section that
	// Frozen.Sections gave. An error leaves the state unusable: the process stops.
	BeginLoad()
	Load(kind uint8, id uint32, data []byte) error
	EndLoad() error
	// Digest calls f for each part with its logical digest, in ascending order of id; a part that was
	// never written may be left out.
	Digest(f func(id uint32, sum [16]byte))
	// NextDeadline is the earliest deadline in milliseconds, 0 for none.
	NextDeadline() int64
	// GrowthBound is the most that the writes of an entry may add to the state as it is now, in the bytes of
	// PlanEvictions; 0 while nobody may be evicted.
	GrowthBound(subs []*Sub) int64
	// PlanEvictions names keys whose removal makes room for growth more bytes (logical; what entries that are
	// not applied add, the next one included), besides those that it named before. Nil when there is room, or
	// nobody to evict.
	PlanEvictions(growth int64) []Victim
}

// Warmer is a State that gains from knowing the next writes together. Warm must not change anything.
// The commands are parsed, not checked; any of them may not run. Called by the applying goroutine.
type Warmer interface {
	Warm(cmds []Command)
}

// Frozen is a state at one moment.
type Frozen interface {
	// Epoch is that of the slot map the state followed, for the snapshot's header.
	Epoch() uint64
	// Sections gives the state piece by piece, in an order of its own, until add fails; it may run on
	// any goroutine beside the state's changes. data is valid until add returns.
	Sections(add func(kind uint8, id uint32, data []byte) error) error
	// Close lets the view go; more than once is harmless.
	Close()
}

// Kinds of section in a snapshot. States number theirs from SectionState up.
const (
	// SectionShell is the first section: the machine's clock, version counter, sessions.
	SectionShell uint8 = 1
	// SectionState is the lowest kind that belongs to the state.
	SectionState uint8 = 16
)

// Ctx is what a command may know of the world. It is valid during the call it was passed to.
type Ctx struct {
	// Index and Term are those of the entry being applied, 0 in a Query.
	Index, Term uint64
	// Seed is the entry's.
	Seed uint64
	// Wall is the reader's wall clock in milliseconds, 0 when not asked about due keys.
	Wall int64

	// room bounds the replies of reads; nil while no read runs.
	room *Room
	// writes bounds the replies of the Sub's writes.
	writes writeRoom

	// own: this machine's replica proposed the entry being applied, so somebody waits for its results here.
	own bool
	due bool
	m   *Machine
	x   *execution // room of a Query
}

// Now is the log clock C in milliseconds. While an entry is applied it stands still; in a Query it may
// move between two calls, so a read takes it once, behind its locks.
func (c *Ctx) Now() int64 { return c.m.clock.Load() }

// Age gives A in milliseconds, the time that tokens live by. Writes only.
func (c *Ctx) Age() int64 { return c.m.age }

// RaiseAge lifts A to at least this. Writes only.
func (c *Ctx) RaiseAge(age int64) { c.m.age = max(c.m.age, age) }

// NextVersion gives a version that is larger than all before it in this group: max(V+1, C<<20). Writes
// only.
func (c *Ctx) NextVersion() uint64 {
	v := max(c.m.version.Load()+1, uint64(c.m.clock.Load())<<versionShift)
	c.m.version.Store(v)
	return v
}

// Raise lifts the machine's clock and version counter to at least these, which came with state from
// another group. Writes only.
func (c *Ctx) Raise(clock int64, version uint64) { c.m.raise(clock, version) }

// NoteDue tells the reader that a deadline at has passed by its wall clock: a tick is wanted.
func (c *Ctx) NoteDue(at int64) {
	if at != 0 && at <= c.Wall {
		c.due = true
	}
}

// versionShift places the write time in milliseconds above the 20 low bits of a version.
const versionShift = 20

// VersionTime gives the time of a write, in milliseconds, from its version.
func VersionTime(version uint64) int64 { return int64(version >> versionShift) }
