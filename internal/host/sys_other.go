// SPDX-License-Identifier: Apache-2.0

//go:build darwin || freebsd

package host

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	errNotDir   = unix.ENOTDIR
	errLockHeld = unix.EWOULDBLOCK
)

func sysLock(f *os.File) error {
	return retryEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
}

func sysSync(f *os.File) error { return f.Sync() }

func sysWriteOut(f *os.File) error { return f.Sync() }

func sysPreallocate(f *os.File, size int64) error { return f.Truncate(size) }

func sysFree(name string) (uint64, error) {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

func retryEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
