// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/fsm"
)

// item is a Sub on its way with its owner's callback.
type item struct {
	sub  *fsm.Sub
	done func(*fsm.Sub, error)
	// tick is the node's coarse time at Submit.
	tick uint32
}

// batch is one proposed entry.
type batch struct {
	number uint64
	items  []item
	// bytes counts the Bodies; growth is what the entry is reckoned to add to the state.
	bytes, growth int64
	// tick is the node's coarse time when it was proposed.
	tick uint32
	// start: it was proposed to open a term.
	start bool
	// settled: it is no longer counted among the outstanding.
	settled atomic.Bool
}

// pendingTable holds the batches proposed here and not yet answered, by number. Whoever takes a
// batch out answers it: the apply goroutine with results, the reaper with an error. Taking is
// atomic, so each Sub is answered once; a batch applied after it was taken has no Subs any more and
// is applied in silence, like one of another node.
type pendingTable struct {
	mu struct {
		sync.Mutex
		byNumber map[uint64]*batch
	}
}

func (t *pendingTable) put(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.byNumber == nil {
		t.mu.byNumber = make(map[uint64]*batch)
	}
	t.mu.byNumber[b.number] = b
}

// take removes and returns a batch, nil when it is gone.
func (t *pendingTable) take(number uint64) *batch {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.mu.byNumber[number]
	delete(t.mu.byNumber, number)
	return b
}

// takeOlder removes and returns the batches proposed before tick, or all when all is set.
func (t *pendingTable) takeOlder(tick uint32, all bool) []*batch {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*batch
	for number, b := range t.mu.byNumber {
		if all || int32(b.tick-tick) < 0 {
			out = append(out, b)
			delete(t.mu.byNumber, number)
		}
	}
	return out
}

// flight is a batch whose future the reaper watches.
type flight struct {
	future raft.ApplyFuture
	batch  *batch
	// refused: raft had shut down and did not take the entry.
	refused bool
}

// classify turns a future's error into what the submitters are told. raft appended nothing for the
// first three; for everything else the entry may be in a log somewhere and may yet be applied.
func classify(err error, hint Hint) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader{Hint: hint}
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrTransferring
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrOverloaded
	}
	return ErrUnknown
}

// bindShutdown makes f.Error return raft.ErrRaftShutdown once dead is closed. raft answers neither
// the futures still in its apply channel nor those on their way to the state machine when it shuts
// down, and Error would wait for them for ever. The field is exported but sits in an unexported
// struct, hence the reflection; only Error reads it, and only its caller calls Error. It returns false
// for a future that was answered at its birth.
func bindShutdown(f raft.Future, dead chan struct{}) bool { return new(binder).bind(f, dead) }

// binder is bindShutdown for many futures of one type: the field is looked for once. One goroutine may use it.
type binder struct {
	of reflect.Type
	at []int // the field in it
}

func (b *binder) bind(f raft.Future, dead chan struct{}) bool {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer {
		return false
	}
	if v = v.Elem(); v.Type() != b.of {
		field, _ := v.Type().FieldByName("ShutdownCh")
		b.of, b.at = v.Type(), field.Index
	}
	v.FieldByIndex(b.at).Set(reflect.ValueOf(dead))
	return true
}
