// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kvorum/kvorum/store"
	"github.com/kvorum/kvorum/store/keyed"
)

// model says what commands answer, in plain Go and with explicit time. It is written from Redis' manual and
// this package's documents, not from its code, of which it uses the shapes of Result and the terms of the
// formula of logical bytes alone: texts and rules are spelled out a second time.
type model struct {
	// now is the log clock C, version the version counter V.
	now     int64
	version uint64
	// keys holds what is there, dead keys that nothing has removed yet included.
	keys map[string]*modelKey

	maxMemory  int64
	policy     string
	maxValue   int
	defaultTTL int64

	// chosen is the machine's reply to a command that draws.
	chosen Result
}

type modelKey struct {
	kind    string // as TYPE words it
	str     string
	list    []string
	fields  []modelField // in the order in which they came
	large   bool         // of a hash: its order is no longer that of fields
	set     map[string]bool
	scores  map[string]float64 // of a sorted set
	flags   uint32
	version uint64
	at      int64 // deadline, 0 none
}

type modelField struct{ name, value string }

func newModel(now int64) *model {
	return &model{now: now, keys: make(map[string]*modelKey), policy: "noeviction", maxValue: DefaultMaxValue}
}

// modelCommand is how the model runs a command.
type modelCommand struct {
	arity  int
	write  bool
	grows  bool
	static func(args []string) *Result // errors that need no state
	run    func(m *model, args []string) Result
}

func modelCommands() map[string]modelCommand {
	all := make(map[string]modelCommand)
	for _, part := range []map[string]modelCommand{modelStrings(), modelBits(), modelKeyspace(), modelKeyMoves(), modelSorts(), modelDumps(), modelLists(), modelListMoves(), modelBlocking(), modelHashes(), modelHashFields(), modelSets(), modelZSets(), modelHLLs()} {
		for name, c := range part {
			all[name] = c
		}
	}
	return all
}

var theModel = modelCommands()

func oops(code Code, text string) *Result {
	res := Error(code, text)
	return &res
}

func wrongType() *Result {
	return oops(CodeWrongType, "WRONGTYPE Operation against a key holding the wrong kind of value")
}

func notInteger() *Result {
	return oops(CodeNotInteger, "ERR value is not an integer or out of range")
}

func syntaxError() *Result { return oops(CodeSyntax, "ERR syntax error") }

func wrongArity(name string) *Result {
	return oops(CodeArity, "ERR wrong number of arguments for '"+name+"' command")
}

// follow is do, for a command that may draw: what the machine drew is taken over when it may be.
func (m *model) follow(ours Result, words ...string) Result {
	m.chosen = ours
	return m.do(words...)
}

// do runs a command as an edge passes it on: unknown names, arity and syntax first.
func (m *model) do(words ...string) Result {
	name := strings.ToUpper(words[0])
	c, ok := theModel[name]
	if !ok {
		return unknownName(words)
	}
	args := words[1:]
	if n := len(words); c.arity > 0 && n != c.arity || n < -c.arity {
		return *wrongArity(strings.ToLower(name))
	}
	if c.static != nil {
		if bad := c.static(args); bad != nil {
			return *bad
		}
	}
	for _, a := range args {
		if len(a) > m.maxValue {
			return Error(CodeTooBig, "ERR string exceeds maximum allowed size (proto-max-bulk-len)")
		}
	}
	if c.grows && m.full() {
		return Error(CodeOOM, "OOM command not allowed when used memory > 'maxmemory'.")
	}
	return c.run(m, words)
}

// writes tells whether words are a write that an edge would put into the log.
func (m *model) writes(words []string) bool {
	c, ok := theModel[strings.ToUpper(words[0])]
	return ok && c.write
}

func unknownName(words []string) Result {
	line := func(s string, n int) string {
		s, _, _ = strings.Cut(s, "\x00")
		s = strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
		return s[:min(len(s), n)]
	}
	text := "ERR unknown command '" + line(words[0], 128) + "', with args beginning with: "
	list := ""
	for _, w := range words[1:] {
		if len(list) < 128 {
			list += "'" + line(w, 128-len(list)) + "' "
		}
	}
	return Error(CodeUnknown, text+list)
}

// begin is the front of an entry: the clock moves, victims go whose version matches, and at most
// dueBatch of the dead in the order of (deadline, slot, keyed hash).
func (m *model) begin(clock int64, victims []Victim) {
	m.now = max(m.now, clock)
	for _, v := range victims {
		if k := m.keys[string(v.Key)]; k != nil && k.version == v.Version {
			delete(m.keys, string(v.Key))
		}
	}
	hash := keyed.New(testHashKey)
	var due []string
	for name, k := range m.keys {
		if k.dead(m.now) {
			due = append(due, name)
		}
	}
	slices.SortFunc(due, func(a, b string) int {
		return cmp.Or(cmp.Compare(m.keys[a].at, m.keys[b].at), cmp.Compare(SlotOf([]byte(a)), SlotOf([]byte(b))), cmp.Compare(hash.Sum([]byte(a)), hash.Sum([]byte(b))))
	})
	for _, name := range due[:min(len(due), dueBatch)] {
		delete(m.keys, name)
	}
}

func (k *modelKey) dead(now int64) bool { return k.at != 0 && k.at <= now }

func (m *model) next() uint64 {
	m.version = max(m.version+1, uint64(m.now)<<20)
	return m.version
}

// read finds a live key; nil for none.
func (m *model) read(name string) *modelKey {
	if k := m.keys[name]; k != nil && !k.dead(m.now) {
		return k
	}
	return nil
}

// take is read for writes: a dead key that a write meets is gone.
func (m *model) take(name string) *modelKey {
	k := m.read(name)
	if k == nil {
		delete(m.keys, name)
	}
	return k
}

func (m *model) fresh() int64 {
	if m.defaultTTL == 0 {
		return 0
	}
	return m.now + m.defaultTTL
}

// typed tells of an error for a key of another kind.
func (k *modelKey) typed(kind string) *Result {
	if k != nil && k.kind != kind {
		return wrongType()
	}
	return nil
}

// make puts an empty value of a kind under a name, with the default deadline.
func (m *model) make(name, kind string) *modelKey {
	k := &modelKey{kind: kind, at: m.fresh()}
	m.keys[name] = k
	return k
}

// expire gives a deadline, 0 for none; one that has passed removes the key.
func (m *model) expire(name string, at int64) {
	if at != 0 && at <= m.now {
		delete(m.keys, name)
		return
	}
	m.keys[name].at = at
}

func (m *model) nextDeadline() (at int64) {
	for _, k := range m.keys {
		if k.at != 0 && (at == 0 || k.at < at) {
			at = k.at
		}
	}
	return at
}

// sizes are the numbers of KV.STATS.
func (m *model) sizes() (keys, keyBytes, valueBytes, logical int64) {
	for name, k := range m.keys {
		value, over := k.sizes()
		keys++
		keyBytes += int64(len(name))
		valueBytes += value
		logical += int64(len(name)) + value + over
	}
	return keys, keyBytes, valueBytes, logical
}

// sizes are the bytes of a key's value, and what it costs beside them and its name.
func (k *modelKey) sizes() (value, over int64) {
	value, over = int64(len(k.str)), int64(store.EntryOverhead)
	if k.at != 0 {
		over += store.DeadlineOverhead
	}
	if k.kind != "string" {
		over += store.CollectionOverhead + int64(len(k.list))*store.ElementOverhead + int64(len(k.fields))*store.FieldOverhead
		over += int64(len(k.set))*store.MemberOverhead + int64(len(k.scores))*store.ScoreOverhead
	}
	for member := range k.set {
		value += int64(len(member))
	}
	for member := range k.scores {
		value += int64(len(member))
	}
	for _, e := range k.list {
		value += int64(len(e))
	}
	for _, f := range k.fields {
		value += int64(len(f.name) + len(f.value))
	}
	return value, over
}

// full tells whether growing commands are refused.
func (m *model) full() bool {
	if m.maxMemory == 0 {
		return false
	}
	_, _, _, logical := m.sizes()
	if logical <= m.maxMemory {
		return false
	}
	// Evictions come with the next entry; what one entry may add before is bounded.
	if logical > m.maxMemory+m.maxMemory/8+int64(m.maxValue) {
		return true
	}
	return m.policy == "noeviction" || strings.HasPrefix(m.policy, "volatile-") && m.nextDeadline() == 0
}

// integer reads a number as Redis does: its one canonical form.
func integer(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == s
}

func unsigned(s string, limit uint64) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == s && n <= limit
}

// integers makes a static check of the arguments at these places.
func integers(at ...int) func([]string) *Result {
	return func(args []string) *Result {
		for _, i := range at {
			if _, ok := integer(args[i]); !ok {
				return notInteger()
			}
		}
		return nil
	}
}

// sum adds; false when it overflows.
func sum(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

// deadline says which time the option EX, PX, EXAT or PXAT with this number means.
func (m *model) deadline(command, option, number string) (int64, *Result) {
	n, ok := integer(number)
	if !ok {
		return 0, notInteger()
	}
	invalid := oops(CodeError, "ERR invalid expire time in '"+command+"' command")
	if strings.HasPrefix(option, "EX") {
		if n > math.MaxInt64/1000 {
			return 0, invalid
		}
		n *= 1000
	}
	if n <= 0 {
		return 0, invalid
	}
	if !strings.HasSuffix(option, "AT") {
		if n, ok = sum(m.now, n); !ok {
			return 0, invalid
		}
	}
	return n, nil
}

func bulk(s string) Result { return Bulk([]byte(s)) }

// bulks is an array of strings.
func bulks(words []string) Result {
	elems := make([]Result, 0, len(words))
	for _, w := range words {
		elems = append(elems, bulk(w))
	}
	return Array(elems)
}

// within turns two inclusive indexes of Redis into [lo, hi) of n; lo == hi when there is nothing.
func within(start, stop string, n int) (lo, hi int) {
	a, _ := integer(start)
	b, _ := integer(stop)
	if a < 0 {
		a = max(a+int64(n), 0)
	}
	if b < 0 {
		b += int64(n)
	}
	b = min(b, int64(n)-1)
	if a > b {
		return 0, 0
	}
	return int(a), int(b) + 1
}
