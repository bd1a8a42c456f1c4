// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrPoisoned is returned by every call after a real I/O error: what the disk holds is unknown,
	// so the process must stop.
	ErrPoisoned = errors.New("logstore: poisoned by an earlier I/O error")
	// ErrNoSpace is returned when the disk is full. The call has had no effect.
	ErrNoSpace = errors.New("logstore: no space left on the disk")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("logstore: closed")
	// ErrGap refuses an append that does not follow the last entry, and a deletion from the middle.
	ErrGap = errors.New("logstore: log would get a gap")
	// ErrTooLarge refuses an entry above MaxEntryBytes, or a vote that does not fit its record.
	ErrTooLarge = errors.New("logstore: entry too large")
	// ErrOtherNode refuses a vote file that another node wrote.
	ErrOtherNode = errors.New("logstore: vote file belongs to another node")
	// ErrVoteMissing is returned when a vote file that must be there is not.
	ErrVoteMissing = errors.New("logstore: vote file is missing: this node may have voted and no longer knows")
	// ErrUnknownKey refuses a stable key that raft does not use.
	ErrUnknownKey = errors.New("logstore: unknown stable key")
	// ErrNoVoteTerm refuses a candidate without the term it was voted for in.
	ErrNoVoteTerm = errors.New("logstore: candidate without a vote term")
)

// Advice says what to do about lost or damaged data; every DamageError ends in it.
const Advice = "this replica must not go on from it: " +
	"put back the disk as it was before the damage, or remove this node from the cluster, wipe its data folder and join it as a new node"

// DamageError tells of a file whose acknowledged content is gone or changed. It is not the trace of
// a crash: those are repaired by open.
type DamageError struct {
	// Path is the damaged file.
	Path string
	// What is wrong with it.
	What string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("logstore: %s is damaged: %s; %s", e.Path, e.What, Advice)
}

func damaged(path, format string, args ...any) error {
	return &DamageError{Path: path, What: fmt.Sprintf(format, args...)}
}

// isSpace tells the errors of a full disk.
func isSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
