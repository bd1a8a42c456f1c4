// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/kvorum/kvorum/fsm"
)

// Live is the keyspace that a script reads. It is called on the run's goroutine, with no lock held.
type Live interface {
	// Read answers a read as the keyspace is now. The result is the caller's.
	Read(cmd *fsm.Command) fsm.Result
}

// Level is the weight of a line that a script logs: 0 to 3, as redis.LOG_DEBUG to redis.LOG_WARNING.
type Level int

// Message is what a script publishes.
type Message struct {
	// Sharded: by SPUBLISH.
	Sharded       bool
	Channel, Data []byte
}

// Request is a script with all that it may know. It is used for one Run.
type Request struct {
	Program    *Program
	Keys, Args [][]byte
	// ReadOnly refuses writes, as Program.ReadOnly does.
	ReadOnly bool
	// Table has the rows of commands.
	Table *fsm.Table
	// Look is what the keys were when the script began. It and Live are not used by a script without keys.
	Look fsm.Look
	Live Live
	// Trial gives the keyspace for writes, empty; it is asked once, at the first write.
	Trial func() *fsm.Trial
	// Micros is the time of day, in microseconds, all through the script.
	Micros int64
	// Time is how long it may run; 0 means DefaultTime.
	Time time.Duration
	// Stop ends it from elsewhere; nil: nobody does.
	Stop *Stop
	// Log takes what it logs; nil drops it.
	Log func(l Level, text string)
}

// Outcome is what became of a script.
type Outcome struct {
	// Reply is its reply, an error's too.
	Reply fsm.Result
	// Effects are the commands that changed something, with bytes of their own.
	Effects []fsm.Command
	// Touched are the keys that it read or wrote, as places in Request.Keys.
	Touched []int
	// Messages are to be published once the effects are applied.
	Messages []Message
	// Ended is why it was ended before its time; Effects and Messages are empty then.
	Ended error
	// Again: the keyspace could not be read here, for instance because a slot moved: Reply says why.
	Again bool
}

// Engine runs scripts. It keeps interpreters from one script to the next: nothing of a script is left in them, since all
// that it finds there is protected. The zero Engine is ready; any goroutine.
type Engine struct {
	mu   sync.Mutex
	idle []*run

	ledger ledger
}

// Limits of the interpreters that are kept.
const (
	maxIdle = 16
	// maxUsed is how many instructions a script may have taken whose interpreter is used again: a longer one may have
	// made it large.
	maxUsed = 1 << 20
)

func (e *Engine) take() *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.idle)
	if n == 0 {
		return &run{real: make(map[*lua.LTable]*lua.LTable)}
	}
	r := e.idle[n-1]
	e.idle = e.idle[:n-1]
	return r
}

func (e *Engine) keep(r *run) {
	if r.meter.end != nil || r.meter.steps > maxUsed || r.threads > 0 {
		return
	}
	r.q, r.out, r.state = nil, Outcome{}, state{}
	for _, name := range []string{"KEYS", "ARGV"} {
		r.globals.RawSetString(name, lua.LNil)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.idle) < maxIdle {
		e.idle = append(e.idle, r)
	}
}

// run is an interpreter, and a script on its way in it.
type run struct {
	l *lua.LState
	// real are the tables behind the protected ones, env the scripts' environment, globals what it reads as.
	real         map[*lua.LTable]*lua.LTable
	env, globals *lua.LTable
	// ofStrings is the metatable of strings as scripts see it.
	ofStrings *lua.LTable
	// null is cjson.null.
	null *lua.LUserData

	q     *Request
	meter *meter
	out   Outcome
	state
}

// state is what a script makes of its run.
type state struct {
	// declared has the first place of each key, touched those that were used.
	declared map[string]int
	touched  map[int]struct{}
	trial    *fsm.Trial
	// brought are the keys that are in the trial.
	brought map[string]struct{}
	// size is that of the effects, messages and logs are counted.
	size, published, logs int
	// resp is the version of replies that the script wants.
	resp int
	// threads counts coroutines.
	threads int
	dice    dice
}

// Run runs a script to its end. A script that fails has effects nevertheless, as in Redis: what it did before it failed.
func (e *Engine) Run(ctx context.Context, q *Request) (out Outcome) {
	switch {
	case q.ReadOnly && q.Program.Flagged && !q.Program.ReadOnly:
		return Outcome{Reply: fsm.Error(fsm.CodeError, textWriteFlag)}
	case q.Program.Flagged && !q.Program.AllowOOM && q.Look.Full:
		return Outcome{Reply: fsm.Error(fsm.CodeOOM, fsm.TextOOM)}
	}
	limit := q.Time
	if limit <= 0 {
		limit = DefaultTime
	}
	r := e.take()
	r.q, r.meter = q, newMeter(ctx, &e.ledger, q.Stop, limit)
	defer e.ledger.forget(r.meter)
	r.state = state{
		resp: 2, declared: make(map[string]int, len(q.Keys)), touched: make(map[int]struct{}), brought: make(map[string]struct{}),
	}
	for i, key := range slices.Backward(q.Keys) {
		r.declared[string(key)] = i
	}
	defer func() {
		if p := recover(); p != nil { // and the interpreter is not used again
			out = Outcome{Reply: fsm.Errorf(fsm.CodeError, "ERR script failed: %v", p)}
		}
	}()
	r.open()
	r.out.Reply = r.main()
	r.meter.look()
	switch out = r.out; {
	case out.Again:
		return Outcome{Reply: out.Reply, Again: true}
	case r.meter.end != nil:
		return Outcome{Reply: fsm.Error(fsm.CodeError, r.meter.end.Error()), Ended: r.meter.end}
	}
	out.Touched = slices.Sorted(maps.Keys(r.touched))
	e.keep(r)
	return out
}

// main calls the script and words what it returns.
func (r *run) main() fsm.Result {
	l := r.l
	fn := l.NewFunctionFromProto(r.q.Program.proto)
	fn.Env = r.env
	var where string
	handler := l.NewFunction(func(l *lua.LState) int {
		where = r.where(l)
		return 1
	})
	l.Push(fn)
	if err := l.PCall(0, 1, handler); err != nil {
		return r.failure(err, where)
	}
	v := l.Get(-1)
	l.Pop(1)
	return r.answer(v)
}

// where names the line that runs.
func (r *run) where(l *lua.LState) string {
	for level := range maxDepth {
		dbg, ok := l.GetStack(level)
		if !ok {
			break
		}
		if _, err := l.GetInfo("Sl", dbg, lua.LNil); err == nil && dbg.CurrentLine > 0 {
			return fmt.Sprintf("@%s:%d", dbg.Source, dbg.CurrentLine)
		}
	}
	return ""
}

// failure words the error that ended a script.
func (r *run) failure(err error, where string) fsm.Result {
	var value lua.LValue = lua.LString(err.Error())
	r.defect(err)
	if e, ok := err.(*lua.ApiError); ok && e.Object != nil && e.Object != lua.LNil { //nolint:errorlint // PCall returns it bare
		value = e.Object
	}
	var text string
	switch v := value.(type) {
	case *lua.LTable:
		if s, ok := v.RawGetString("err").(lua.LString); ok {
			text = string(s)
		} else {
			return fsm.Errorf(fsm.CodeError, "ERR unknown error script: %s", r.q.Program.SHA)
		}
	default:
		text = "ERR " + r.text(value)
	}
	if where == "" {
		where = "@" + chunkName + ":1"
	}
	return fsm.Errorf(fsm.CodeError, "%s script: %s, on %s.", text, r.q.Program.SHA, where)
}

// defect ends the script for good if an error of it is a panic of the engine.
func (r *run) defect(err error) {
	e, ok := err.(*lua.ApiError) //nolint:errorlint // PCall returns it bare
	if ok && e.Type == lua.ApiErrorPanic && strings.HasPrefix(e.Object.String(), "runtime error: ") {
		r.meter.end = firstError(r.meter.end, ErrDefect)
	}
}

// safely makes a function whose panics end the script, whatever the script does with them.
func (r *run) safely(f lua.LGFunction) lua.LGFunction {
	return func(l *lua.LState) int {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if _, ok := p.(runtime.Error); ok {
				r.meter.end = firstError(r.meter.end, ErrDefect)
			}
			panic(p)
		}()
		return f(l)
	}
}

// raise ends the script, or what it protects, with a text.
func (r *run) raise(l *lua.LState, format string, args ...any) {
	l.RaiseError(format, args...)
}

// refuse is raise for the table redis, whose errors name no line in their text.
func (r *run) refuse(l *lua.LState, text string) {
	l.Error(r.field(l, "err", lua.LString("ERR "+text)), 0)
}

// tooBig refuses to build a string.
func (r *run) tooBig(l *lua.LState) { r.raise(l, "string is longer than %d bytes", maxString) }

// room is asked before n bytes are taken for one string.
func (r *run) room(l *lua.LState, n int) {
	if n > maxString || n < 0 {
		r.tooBig(l)
	}
	r.meter.large(n)
	r.spend(l, n)
}
