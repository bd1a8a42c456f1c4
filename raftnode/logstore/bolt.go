// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
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
	// sealSize is what seal adds to an entry, in bytes.
	sealSize = 4
)

var errBoltPanic = errors.New("bbolt gave up over it")

// boltLog is a raft-boltdb file: slower than a wal, and older.
type boltLog struct {
	path   string
	bounds boltBounds // when it was opened

	mu sync.RWMutex // reads beside Close
	db *raftboltdb.BoltStore
}

var _ backend = (*boltLog)(nil)

// OpenBolt opens the log in the folder dir of the real file system, making both when there is
// none: one raft-boltdb file. bbolt takes care of torn writes: it writes pages to free places and puts
// them in force by one of two meta pages. What is damaged otherwise is refused with a DamageError.
func OpenBolt(dir string, opts Options) (Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	fs := host.Real().FS
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("logstore: open log: %w", err)
	}
	b := &boltLog{path: filepath.Join(dir, boltName)}
	_, err = fs.Stat(b.path)
	switch {
	case errors.Is(err, os.ErrNotExist) && opts.MustExist:
		return nil, damaged(b.path, "it is missing")
	case errors.Is(err, os.ErrNotExist):
		err = makeBolt(fs, b.path)
	case err == nil:
		b.bounds, err = mendBolt(fs, b.path)
	}
	if err == nil {
		err = fs.SyncDir(dir) // whoever made the file may have died before it did
	}
	if err == nil {
		err = b.guard(func() (err error) { b.db, err = openBolt(b.path); return err })
	}
	if errors.Is(err, errBoltPanic) {
		err = damaged(b.path, "%v", err)
	}
	if err != nil {
		return nil, boltOpenError(b.path, err)
	}
	s, err := newStore(b, opts)
	if err != nil {
		_ = b.close()
		return nil, err
	}
	return s, nil
}

func boltOpenError(name string, err error) error {
	if _, ok := errors.AsType[*DamageError](err); ok {
		return err
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("logstore: open %s: %w", name, host.ErrLocked)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return damaged(name, "%v", err)
	}
	return fmt.Errorf("logstore: open %s: %w", name, boltError(err))
}

func openBolt(name string) (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{
		Path:                    name,
		MsgpackUseNewTimeFormat: true,
		BoltOptions: &bbolt.Options{
			Timeout: boltOpenTimeout,
			// The list of free pages is made anew at open instead of written with every append.
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
}

// makeBolt makes an empty log under a name that counts only when it is complete: bbolt takes a file
// that a crash left half made for damaged.
func makeBolt(fs host.FS, name string) error {
	tmp := name + ".tmp"
	if err := fs.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openBolt(tmp)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	return fs.Rename(tmp, name)
}

// mendBolt checks a file before bbolt believes it, and makes durable what it may show from the cache
// alone, see rewrite: of the last transaction the meta page is written last, behind a sync that went
// well.
func mendBolt(fs host.FS, name string) (bounds boltBounds, err error) {
	lock, err := fs.Lock(name)
	if err != nil {
		return bounds, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return bounds, err
	}
	defer func() { _ = f.Close() }()
	bounds, err = checkBolt(f)
	switch {
	case errors.Is(err, errBoltRead):
		return bounds, err
	case err != nil:
		return bounds, damaged(name, "%v", err)
	}
	size, err := f.Size()
	if err == nil {
		err = rewrite(f, 0, min(size, boltMetaArea))
	}
	if err == nil {
		err = f.Sync()
	}
	return bounds, err
}

// guard turns a panic of bbolt over a bad page, and a fault over a page that cannot be read, into an
// error.
func (b *boltLog) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBoltPanic, r)
		}
	}()
	return f()
}

// load reads the whole log once: its entries are checked, and bbolt does not tell their sizes
// otherwise.
func (b *boltLog) load() (first, last uint64, sizes []uint32, err error) {
	first, last = b.bounds.first, b.bounds.last
	if last == 0 {
		return 0, 0, nil, nil
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := b.get(i, &l); err != nil || l.Index != i {
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
	if err := b.guard(func() error { return b.db.GetLog(index, l) }); err != nil {
		return b.named(err)
	}
	return b.named(unseal(l))
}

func (b *boltLog) append(logs []*raft.Log) error {
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		sealed[i] = seal(l)
	}
	return b.named(b.guard(func() error { return boltError(b.db.StoreLogs(sealed)) }))
}

func (b *boltLog) remove(lo, hi uint64) error {
	return b.named(b.guard(func() error { return boltError(b.db.DeleteRange(lo, hi)) }))
}

// named says which file an error is about; bbolt does not always.
func (b *boltLog) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", b.path, err)
}

// seal is the entry as bbolt keeps it: its checksum is the end of its extensions.
func seal(l *raft.Log) *raft.Log {
	s := *l
	s.Extensions = make([]byte, 0, len(l.Extensions)+sealSize)
	s.Extensions = append(s.Extensions, l.Extensions...)
	s.Extensions = binary.LittleEndian.AppendUint32(s.Extensions, codec{}.sum(l))
	return &s
}

// unseal undoes seal.
func unseal(l *raft.Log) error {
	n := len(l.Extensions) - sealSize
	if n < 0 {
		return errEntryDamaged
	}
	sum := binary.LittleEndian.Uint32(l.Extensions[n:])
	if l.Extensions = l.Extensions[:n:n]; n == 0 {
		l.Extensions = nil
	}
	if (codec{}).sum(l) != sum {
		return errEntryDamaged
	}
	return nil
}

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
	return b.guard(db.Close)
}
