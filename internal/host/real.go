// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	// kvOpenTimeout bounds the wait for the lock of a key-value file.
	kvOpenTimeout = time.Second
	kvFileMode    = 0o600
)

// Real is the outside world itself: package os, package net, crypto/rand and bbolt.
func Real() *Host {
	return &Host{FS: realFS{}, Net: realNet{}, Wall: realWall{}, Rand: rand.Reader, Memory: Mapped()}
}

type realWall struct{}

func (realWall) Now() time.Time { return time.Now() }

type realNet struct{}

func (realNet) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

func (realNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

type realFS struct{}

var _ FS = realFS{}

func (realFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(filepath.FromSlash(name), flag, perm)
	if err != nil {
		return nil, err
	}
	return realFile{f}, nil
}

func (realFS) Rename(oldName, newName string) error {
	return os.Rename(filepath.FromSlash(oldName), filepath.FromSlash(newName))
}

func (realFS) Remove(name string) error    { return os.Remove(filepath.FromSlash(name)) }
func (realFS) RemoveAll(name string) error { return os.RemoveAll(filepath.FromSlash(name)) }

func (fs realFS) MkdirAll(name string, perm os.FileMode) error {
	name = filepath.Clean(filepath.FromSlash(name))
	if info, err := os.Stat(name); err == nil {
		if !info.IsDir() {
			return &os.PathError{Op: "mkdir", Path: name, Err: errNotDir}
		}
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(name)
	if parent != name {
		if err := fs.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, perm); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return fs.SyncDir(parent)
}

func (realFS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (realFS) Stat(name string) (FileInfo, error) {
	info, err := os.Stat(filepath.FromSlash(name))
	if err != nil {
		return FileInfo{}, err
	}
	if info.IsDir() {
		return FileInfo{IsDir: true}, nil
	}
	return FileInfo{Size: info.Size()}, nil
}

func (realFS) SyncDir(name string) error {
	d, err := os.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (realFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.FromSlash(name), os.O_CREATE|os.O_RDWR, kvFileMode)
	if err != nil {
		return nil, err
	}
	if err := sysLock(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLockHeld) {
			return nil, fmt.Errorf("host: lock %s: %w", name, ErrLocked)
		}
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

func (realFS) Free(name string) (uint64, error) {
	n, err := sysFree(filepath.FromSlash(name))
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return n, nil
}

type realFile struct{ *os.File }

func (f realFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f realFile) Sync() error {
	if err := sysSync(f.File); err != nil {
		return &os.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

// writeOut: see WriteOut.
func (f realFile) writeOut() error {
	if err := sysWriteOut(f.File); err != nil {
		return &os.PathError{Op: "write out", Path: f.Name(), Err: err}
	}
	return nil
}

// WriteOut hands all bytes written to f so far to the disk, so that little is left for a later Sync. It promises
// nothing for a loss of power. An error is one of those after which the file must not be trusted.
func WriteOut(f File) error {
	if r, ok := f.(interface{ writeOut() error }); ok {
		return r.writeOut()
	}
	return f.Sync()
}

func (f realFile) Preallocate(size int64) error {
	have, err := f.Size()
	if err != nil {
		return err
	}
	if have >= size {
		return nil
	}
	if err := sysPreallocate(f.File, size); err != nil {
		return &os.PathError{Op: "preallocate", Path: f.Name(), Err: err}
	}
	return nil
}

// OpenKV syncs the folder too: bbolt syncs the file it creates but not its name.
func (fs realFS) OpenKV(name string) (KV, error) {
	db, err := bbolt.Open(filepath.FromSlash(name), kvFileMode, &bbolt.Options{Timeout: kvOpenTimeout, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("host: open %s: %w", name, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("host: open %s: %w", name, err)
	}
	kv := &boltKV{db: db}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(kvBucket())
		return err
	})
	if err == nil {
		err = fs.SyncDir(filepath.Dir(filepath.FromSlash(name)))
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("host: open %s: %w", name, err)
	}
	return kv, nil
}

func kvBucket() []byte { return []byte("kv") }

type boltKV struct{ db *bbolt.DB }

func (kv *boltKV) Get(key string) ([]byte, error) {
	var v []byte
	err := kv.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(kvBucket()).Get([]byte(key)); b != nil {
			v = append([]byte{}, b...)
		}
		return nil
	})
	return v, err
}

func (kv *boltKV) All(f func(key string, value []byte) error) error {
	return kv.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(kvBucket()).ForEach(func(k, v []byte) error { return f(string(k), v) })
	})
}

func (kv *boltKV) Update(set map[string][]byte) error {
	return kv.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(kvBucket())
		for k, v := range set {
			var err error
			if v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (kv *boltKV) Close() error { return kv.db.Close() }
