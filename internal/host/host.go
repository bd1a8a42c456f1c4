// SPDX-License-Identifier: Apache-2.0

// Package host is the outside world of one node: wall clock, network, file system, key-value
// file, chance and named fault points, each as an interface with a real and an in-memory form.
//
// Invariant: no other package of Kvorum touches time of day, sockets, files or dice except
// through a Host, so a whole node runs unchanged in virtual time. Durations and timers come from
// package time, which a testing/synctest bubble fakes by itself.
//
// Everything here may be called from any goroutine unless a method says otherwise.
package host

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Host is handed to a node at construction and never changed afterwards. Every field is required
// but Memory and Faults.
type Host struct {
	FS   FS
	Net  Net
	Wall Wall
	// Rand yields bytes for identifiers and jitter: crypto/rand in the real form, a seeded stream
	// in the in-memory form. Reads never fail and may run concurrently.
	Rand io.Reader
	// Memory is where big pieces come from that the garbage collector is not to look at; nil means its
	// own heap.
	Memory Memory
	// Faults is the table of armed fault points; nil means none is armed.
	Faults *Faults
}

// Memory hands out and takes back big pieces of memory, of a multiple of 4 KiB; their content is undefined. Any
// goroutine.
type Memory interface {
	Alloc(size int) []byte
	Free(p []byte)
}

// Wall is the time of day. It may step and drift: nothing but dates may be derived from it.
type Wall interface {
	Now() time.Time
}

// Net opens stream connections. Addresses are host:port.
type Net interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Errors of FS. All other errors wrap those of package os (os.ErrNotExist, syscall.ENOSPC, …).
var (
	// ErrLocked is returned by FS.Lock when another process, or another holder in this one, has
	// the lock.
	ErrLocked = errors.New("host: file is locked by another process")
)

// FS is a file system. Names are slash paths. Creation, removal and renaming of a name are
// durable only after SyncDir of its folder; written bytes only after File.Sync.
type FS interface {
	// OpenFile takes the flags of package os.
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	Rename(oldName, newName string) error
	Remove(name string) error
	RemoveAll(name string) error
	// MkdirAll makes name and its missing parents, durably.
	MkdirAll(name string, perm os.FileMode) error
	// ReadDir lists the names in a folder, sorted.
	ReadDir(name string) ([]string, error)
	Stat(name string) (FileInfo, error)
	SyncDir(name string) error
	// Lock takes an exclusive advisory lock on the file name, creating it; the lock ends with the
	// process or with Close of the returned handle.
	Lock(name string) (io.Closer, error)
	// Free tells how many bytes may still be written below name.
	Free(name string) (uint64, error)
	// OpenKV opens or creates a small durable key-value file (bbolt in the real form).
	OpenKV(name string) (KV, error)
}

// FileInfo describes a file or folder.
type FileInfo struct {
	// Size is in bytes, 0 for a folder.
	Size  int64
	IsDir bool
}

// File is an open file. ReadAt and WriteAt may run concurrently on disjoint ranges; Read, Write
// and Seek share one offset and belong to one goroutine.
type File interface {
	io.Reader
	io.Writer
	io.Seeker
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes all bytes written so far durable. After an error the file must not be trusted:
	// the owner stops the process.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	// Preallocate reserves disk space for the first size bytes and grows the file to it,
	// best effort: an unsupported file system is no error, a full disk is.
	Preallocate(size int64) error
}

// KV is a small key-value file: every Update is atomic and durable when it returns.
type KV interface {
	// Get returns a copy of the value, nil when absent.
	Get(key string) ([]byte, error)
	// All calls f for every pair in key order; the slices are valid during the call only.
	All(f func(key string, value []byte) error) error
	// Update stores all pairs of set in one transaction; a nil value deletes the key.
	Update(set map[string][]byte) error
	Close() error
}
