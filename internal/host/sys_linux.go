// SPDX-License-Identifier: Apache-2.0

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

// sysSync leaves out the times of the file, which nothing here reads: a log that writes into
// preallocated space then costs no journal commit for them.
func sysSync(f *os.File) error { return onFile(f, unix.Fdatasync) }

// sysWriteOut waits for the disk, but asks for no commit of the file system's journal and no flush of the disk's
// cache, behind which the sync of another file would queue.
func sysWriteOut(f *os.File) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	err := onFile(f, func(fd int) error { return unix.SyncFileRange(fd, 0, 0, all) })
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESPIPE) {
		return sysSync(f)
	}
	return err
}

func sysPreallocate(f *os.File, size int64) error {
	err := onFile(f, func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// onFile keeps the descriptor open for the time of the call.
func onFile(f *os.File, call func(fd int) error) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	if rc.Control(func(fd uintptr) { cerr = retryEINTR(func() error { return call(int(fd)) }) }) != nil {
		return os.ErrClosed // the one reason for which Control refuses
	}
	return cerr
}

func sysFree(name string) (uint64, error) {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

func retryEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
