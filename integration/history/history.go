// SPDX-License-Identifier: Apache-2.0

// Package history records what clients asked and were told, on one clock, so that a checker that
// knows nothing of Kvorum can judge it afterwards.
//
// Invariant: an operation is recorded as failed only when the server proved that it can never take
// effect; everything else that did not succeed is unknown. Record may be called from any goroutine;
// Ops is for after the run.
package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Outcome of an operation as its client learnt it.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"      // took effect, Value holds the answer
	Fail    Outcome = "fail"    // proved never to take effect
	Unknown Outcome = "unknown" // may take effect at any time after Call
)

// Func names what an operation does; the models give it meaning.
type Func string

// The operations of the workloads.
const (
	Read     Func = "read"     // GET: Value "" and Found false when absent
	Write    Func = "write"    // SET key Arg
	Expire   Func = "expire"   // SET key Arg PX Len
	Delete   Func = "delete"   // DEL: Found tells whether a key was removed
	CAS      Func = "cas"      // SET key Arg IFVERSION of the value Expect: Found tells success
	Append   Func = "append"   // RPUSH key Arg: Len is the answer
	ReadList Func = "readlist" // LRANGE key 0 -1: List is the answer
	Incr     Func = "incr"     // INCR: Len is the answer
	Pop      Func = "pop"      // BLPOP: Found tells whether there was an element, Value it, Key where it was
)

// Op is one operation. Times are nanoseconds on the run's single monotonic clock.
type Op struct {
	Client int      `json:"client"`
	Func   Func     `json:"f"`
	Key    string   `json:"key"`
	Arg    string   `json:"arg,omitempty"`
	Expect string   `json:"expect,omitempty"`
	Call   int64    `json:"call_ns"`
	Return int64    `json:"ret_ns"`
	Out    Outcome  `json:"outcome"`
	Value  string   `json:"value,omitempty"`
	Found  bool     `json:"found,omitempty"`
	Len    int64    `json:"len,omitempty"`
	List   []string `json:"list,omitempty"`
	Err    string   `json:"err,omitempty"`
	Node   string   `json:"node,omitempty"`
}

// Recorder collects operations.
type Recorder struct {
	start time.Time
	mu    sync.Mutex
	ops   []Op
}

// NewRecorder starts the run's clock.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Now is the time since the run began, in nanoseconds.
func (r *Recorder) Now() int64 { return int64(time.Since(r.start)) }

// Record adds a finished operation.
func (r *Recorder) Record(op Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// Ops returns a copy of all operations recorded so far, in order of completion.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Op(nil), r.ops...)
}

// WriteJSONL writes one operation a line.
func WriteJSONL(w io.Writer, ops []Op) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	for i := range ops {
		if err := enc.Encode(&ops[i]); err != nil {
			return fmt.Errorf("history: write: %w", err)
		}
	}
	return buf.Flush()
}

// ReadJSONL reads what WriteJSONL wrote.
func ReadJSONL(r io.Reader) ([]Op, error) {
	var ops []Op
	dec := json.NewDecoder(bufio.NewReader(r))
	for dec.More() {
		var op Op
		if err := dec.Decode(&op); err != nil {
			return nil, fmt.Errorf("history: read: %w", err)
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// ByKey splits a history by key, keeping order.
func ByKey(ops []Op) map[string][]Op {
	byKey := make(map[string][]Op)
	for _, op := range ops {
		byKey[op.Key] = append(byKey[op.Key], op)
	}
	return byKey
}
