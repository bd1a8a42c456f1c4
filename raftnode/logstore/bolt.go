// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/kvorum/kvorum/internal/host"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	boltName = "log.bolt"
	// boltOpenTimeout bounds the wait for the lock of the file.
	boltOpenTimeout = time.Second
)

// boltLog is a raft-boltdb file: slower than a wal, and older.
type boltLog struct {
	path string

	mu sync.RWMutex // reads beside Close
	db *raftboltdb.BoltStore
}

var _ backend = (*boltLog)(nil)

// OpenBolt opens the log in the folder dir of the real file system, making both when there is
// none: one raft-boltdb file. bbolt takes care of torn writes; a file it cannot read is refused
// with a DamageError.
func OpenBolt(dir string, opts Options) (Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	fs := host.Real().FS
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("logstore: open log: %w", err)
	}
	name := filepath.Join(dir, boltName)
	db, err := raftboltdb.New(raftboltdb.Options{
		Path:                    name,
		MsgpackUseNewTimeFormat: true,
		BoltOptions: &bbolt.Options{
			Timeout: boltOpenTimeout,
			// The list of free pages is made anew at open instead of written with every append.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("logstore: open %s: %w", name, host.ErrLocked)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, damaged(name, "%v", err)
	case err != nil:
		return nil, fmt.Errorf("logstore: open %s: %w", name, err)
	}
	b := &boltLog{path: name, db: db}
	s, err := newStore(b, opts)
	if err == nil {
		err = fs.SyncDir(dir)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// load reads the whole log once: bbolt does not tell the sizes of entries otherwise.
func (b *boltLog) load() (first, last uint64, sizes []uint32, err error) {
	if first, err = b.db.FirstIndex(); err == nil {
		last, err = b.db.LastIndex()
	}
	if err != nil {
		return 0, 0, nil, fmt.Errorf("logstore: read %s: %w", b.path, err)
	}
	if last == 0 {
		return 0, 0, nil, nil
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := b.db.GetLog(i, &l); err != nil || l.Index != i {
			return 0, 0, nil, damaged(b.path, "entry %d of %d..%d is not readable: %v", i, first, last, err)
		}
		sizes = append(sizes, uint32(b.entrySize(&l)))
	}
	return first, last, sizes, nil
}

func (b *boltLog) entrySize(l *raft.Log) int { return encodedSize(l) }

func (b *boltLog) get(index uint64, l *raft.Log) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.db == nil {
		return ErrClosed
	}
	// raft-boltdb decodes over what it is given, so it is given nothing.
	*l = raft.Log{}
	return b.db.GetLog(index, l)
}

func (b *boltLog) append(logs []*raft.Log) error { return boltError(b.db.StoreLogs(logs)) }

func (b *boltLog) remove(lo, hi uint64) error { return boltError(b.db.DeleteRange(lo, hi)) }

// boltError tells a transaction that found no room from worse. bbolt writes pages in free places
// and the meta page last, over itself: running out of space while writing pages or growing the
// file leaves the old tree in force. From a sync it means what any other error there does.
func boltError(err error) error {
	var pe *os.PathError
	if isSpace(err) && errors.As(err, &pe) && (pe.Op == "write" || pe.Op == "truncate") {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

func (b *boltLog) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	db := b.db
	b.db = nil
	return db.Close()
}
