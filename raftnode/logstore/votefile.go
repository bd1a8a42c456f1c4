// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
)

// The vote file is two slots of two copies each, a page per copy:
//
//	| slot 0: copy, copy | slot 1: copy, copy |
//
// A record goes to the slot of the older record, into both copies with one write and one sync. A
// power cut in the middle can spoil at most the one sector that is being written, and each copy
// lies within one sector: one good copy remains, old or new, and both are right, since nothing was
// acknowledged. Once acknowledged, both copies must rot before the record is lost, and then the
// slot has no good copy, which no crash leaves: the file is refused instead of falling back to a
// forgotten vote.
//
// A copy is: magic u32 | version u8 | seq u64 | term u64 | vote term u64 | node len u8, node |
// candidate len u8, candidate | crc32c u32 over all before.
const (
	voteMagic    = 0x6b767674
	voteVersion  = 1
	voteCopy     = 4096
	voteSlot     = 2 * voteCopy
	voteFileSize = 2 * voteSlot
	// voteSector is what a copy must fit in.
	voteSector = 512
	// maxVoteName bounds a node id and a candidate, in bytes.
	maxVoteName = 192
)

// Keys of raft's stable store.
const (
	keyTerm     = "CurrentTerm"
	keyVoteTerm = "LastVoteTerm"
	keyVoteCand = "LastVoteCand"
)

// errNotFound has the text by which raft knows a missing key.
var errNotFound = errors.New("not found")

// vote is the content of a vote file.
type vote struct {
	seq      uint64 // counts records
	term     uint64 // 0 = never set
	voteTerm uint64
	cand     string // "" = never voted
	node     string
}

// VoteFile is the raft.StableStore of one replica: its term and its vote, for one node.
type VoteFile struct {
	path  string
	f     host.File
	fatal func(error)

	// turn holds one token: its owner may write.
	turn chan struct{}

	mu      sync.Mutex // guards what follows; never held across I/O
	now     vote
	pending *uint64 // a vote term whose candidate has not come yet: not readable
	poison  error
	closed  bool
}

var _ raft.StableStore = (*VoteFile)(nil)

// VoteOption changes how OpenVoteFile works.
type VoteOption func(*voteOptions)

type voteOptions struct {
	mustExist bool
	fatal     func(error)
}

// MustExist makes OpenVoteFile fail with ErrVoteMissing instead of making a new file: for a replica
// that is known to have been here before.
func MustExist() VoteOption { return func(o *voteOptions) { o.mustExist = true } }

// OnFatal is called once, when an I/O error poisons the file.
func OnFatal(f func(error)) VoteOption { return func(o *voteOptions) { o.fatal = f } }

// OpenVoteFile opens the vote file of a replica of the node, making it when there is none.
func OpenVoteFile(fs host.FS, name, nodeID string, opts ...VoteOption) (*VoteFile, error) {
	var o voteOptions
	for _, opt := range opts {
		opt(&o)
	}
	if len(nodeID) > maxVoteName {
		return nil, fmt.Errorf("%w: node id of %d bytes", ErrTooLarge, len(nodeID))
	}
	_, err := fs.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		if o.mustExist {
			return nil, fmt.Errorf("%w: %s", ErrVoteMissing, name)
		}
		err = createVoteFile(fs, name, nodeID)
	} else if err == nil {
		err = fs.SyncDir(path.Dir(name)) // its maker may have died before it did
	}
	if err != nil {
		return nil, fmt.Errorf("logstore: open vote file: %w", err)
	}
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("logstore: open vote file: %w", err)
	}
	v := &VoteFile{path: name, f: f, fatal: o.fatal, turn: make(chan struct{}, 1)}
	if err := v.load(nodeID); err != nil {
		_ = f.Close()
		return nil, err
	}
	return v, nil
}

// createVoteFile makes all four copies good under a name that counts only when complete.
func createVoteFile(fs host.FS, name, nodeID string) error {
	tmp := name + ".tmp"
	f, err := fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	first, second := vote{seq: 1, node: nodeID}, vote{seq: 2, node: nodeID}
	data := append(second.slot(), first.slot()...)
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, name)
	}
	if err == nil {
		err = fs.SyncDir(path.Dir(name))
	}
	return err
}

func (v *VoteFile) load(nodeID string) error {
	data := make([]byte, voteFileSize)
	if n, err := v.f.ReadAt(data, 0); errors.Is(err, io.EOF) {
		return damaged(v.path, "it ends after %d bytes", n)
	} else if err != nil {
		return fmt.Errorf("logstore: read vote file: %w", err)
	}
	var newest vote
	whole := true // every copy is as good as its twin
	for s := range 2 {
		a, aok := parseVote(data[s*voteSlot:])
		b, bok := parseVote(data[s*voteSlot+voteCopy:])
		if !aok && !bok {
			return damaged(v.path, "no copy of slot %d is readable, so the last vote may be lost", s)
		}
		whole = whole && aok && bok && a == b
		if aok && a.seq > newest.seq {
			newest = a
		}
		if bok && b.seq > newest.seq {
			newest = b
		}
	}
	if newest.node != nodeID {
		return fmt.Errorf("%w: %s was written by node %s, this is node %s", ErrOtherNode, v.path, newest.node, nodeID)
	}
	v.now = newest
	// A process that was killed, or met an error, may have left the record in the cache alone; it is acted
	// on from here. See rewrite.
	err := v.put(v.now)
	for range 2 {
		if whole || err != nil {
			break
		}
		v.now.seq++ // mends one slot, then the other
		err = v.put(v.now)
	}
	if err != nil {
		return fmt.Errorf("logstore: make vote file durable: %w", err)
	}
	return nil
}

// slot is the record as both copies.
func (r vote) slot() []byte {
	b := make([]byte, voteSlot)
	n := len(r.append(b[:0]))
	copy(b[voteCopy:], b[:n])
	return b
}

func (r vote) append(b []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, voteMagic)
	b = append(b, voteVersion)
	for _, u := range []uint64{r.seq, r.term, r.voteTerm} {
		b = binary.LittleEndian.AppendUint64(b, u)
	}
	for _, s := range []string{r.node, r.cand} {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

// parseVote reads one copy; src holds at least a sector.
func parseVote(src []byte) (r vote, ok bool) {
	const fixed = 4 + 1 + 3*8
	src = src[:voteSector]
	if binary.LittleEndian.Uint32(src) != voteMagic || src[4] != voteVersion {
		return vote{}, false
	}
	r.seq = binary.LittleEndian.Uint64(src[5:])
	r.term = binary.LittleEndian.Uint64(src[13:])
	r.voteTerm = binary.LittleEndian.Uint64(src[21:])
	at := fixed
	for _, s := range []*string{&r.node, &r.cand} {
		n := int(src[at])
		if n > maxVoteName {
			return vote{}, false
		}
		*s = string(src[at+1 : at+1+n])
		at += 1 + n
	}
	return r, crc32.Checksum(src[:at], castagnoli()) == binary.LittleEndian.Uint32(src[at:])
}

// put writes a record to its slot, durably.
func (v *VoteFile) put(r vote) error {
	if _, err := v.f.WriteAt(r.slot(), int64(r.seq%2)*voteSlot); err != nil {
		return err
	}
	return v.f.Sync()
}

// write stores a changed record; all that happens to the file goes through here. The space was
// taken when the file was made, so a full disk is no reason to fail.
func (v *VoteFile) write(change func(*vote) error) error {
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	v.mu.Lock()
	next, err := v.now, v.usable()
	if err == nil {
		next.seq++
		err = change(&next)
	}
	v.mu.Unlock()
	if err != nil {
		return err
	}
	if err := v.put(next); err != nil {
		return v.poisonWith(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = next
	return nil
}

func (v *VoteFile) poisonWith(cause error) error {
	v.mu.Lock()
	err := fmt.Errorf("%w: vote file %s: %w", ErrPoisoned, v.path, cause)
	first := v.poison == nil
	v.poison = err
	v.mu.Unlock()
	if first && v.fatal != nil {
		v.fatal(err)
	}
	return err
}

// usable needs mu.
func (v *VoteFile) usable() error {
	if v.closed {
		return ErrClosed
	}
	return v.poison
}

// SetUint64 stores the term; a vote term only waits in memory for its candidate.
func (v *VoteFile) SetUint64(key []byte, val uint64) error {
	switch string(key) {
	case keyTerm:
		return v.write(func(r *vote) error { r.term = val; return nil })
	case keyVoteTerm:
		v.mu.Lock()
		defer v.mu.Unlock()
		if err := v.usable(); err != nil {
			return err
		}
		v.pending = &val
		return nil
	}
	return fmt.Errorf("%w: %q", ErrUnknownKey, key)
}

// Set stores the candidate together with the vote term that came before it, as one record.
func (v *VoteFile) Set(key, val []byte) error {
	if string(key) != keyVoteCand {
		return fmt.Errorf("%w: %q", ErrUnknownKey, key)
	}
	if len(val) > maxVoteName {
		return fmt.Errorf("%w: candidate of %d bytes", ErrTooLarge, len(val))
	}
	return v.write(func(r *vote) error {
		if v.pending == nil {
			return ErrNoVoteTerm
		}
		r.voteTerm, r.cand = *v.pending, string(val)
		v.pending = nil
		return nil
	})
}

// GetUint64 implements raft.StableStore.
func (v *VoteFile) GetUint64(key []byte) (uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usable(); err != nil {
		return 0, err
	}
	var val uint64
	switch string(key) {
	case keyTerm:
		val = v.now.term
	case keyVoteTerm:
		val = v.now.voteTerm
	default:
		return 0, fmt.Errorf("%w: %q", ErrUnknownKey, key)
	}
	if val == 0 {
		return 0, errNotFound
	}
	return val, nil
}

// Get implements raft.StableStore.
func (v *VoteFile) Get(key []byte) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usable(); err != nil {
		return nil, err
	}
	if string(key) != keyVoteCand {
		return nil, fmt.Errorf("%w: %q", ErrUnknownKey, key)
	}
	if v.now.cand == "" {
		return nil, errNotFound
	}
	return []byte(v.now.cand), nil
}

// Close waits for a write under way.
func (v *VoteFile) Close() error {
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	v.mu.Lock()
	was := v.closed
	v.closed = true
	v.mu.Unlock()
	if was {
		return nil
	}
	return v.f.Close()
}
