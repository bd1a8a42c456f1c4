// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// fsShutdown is FS_IOC_SHUTDOWN of the kernel's uapi/linux/fs.h; with fsNoLogFlush the file system
	// stops at once and its journal is not written out, as in a power cut.
	fsShutdown   = 0x8004587d
	fsNoLogFlush = 2
	untilCut     = 30 * time.Millisecond
	maxUntilCut  = 500 * time.Millisecond
	loopTries    = 16
)

// loopDisk is an ext4 file system in a file, mounted through a loop device that this test made. Each
// life has a device of its own, which goes with the mount: so nothing that the kernel kept of the disk
// in memory gets into the next. It is a logstoretest.Power.
type loopDisk struct {
	t       *testing.T
	image   string
	at      string // where it is mounted
	mounted bool
	until   time.Duration // bounds the time that a machine runs before its power is cut

	cut   *atomic.Bool
	timer *time.Timer
	done  chan error // one value once the power is cut
}

// reduced skips a test on a machine that cannot do what it needs, and says so in one word to look for.
func reduced(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Skipf("REDUCED: real disks are not tested: "+format, args...)
}

// newLoopDisk makes a file system of size bytes in a file of the folder, which another file system may
// limit. Whatever it makes is gone when the test ends.
func newLoopDisk(t *testing.T, folder string, size int64) *loopDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		reduced(t, "mounting needs root")
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		reduced(t, "%v", err)
	}
	d := &loopDisk{t: t, image: filepath.Join(folder, "image"), at: filepath.Join(t.TempDir(), "disk"), until: untilCut}
	f, err := os.OpenFile(d.image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close(), os.Mkdir(d.at, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	t.Cleanup(d.remove)
	if err := d.mount(); err != nil {
		reduced(t, "%v", err)
	}
	return d
}

// attachLoop finds a free loop device and gives it the file; another process may be quicker to take it.
func attachLoop(f *os.File) (*os.File, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	for range loopTries {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("LOOP_CTL_GET_FREE: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return dev, nil
		}
		_ = dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("LOOP_CONFIGURE: %w", err)
		}
	}
	return nil, unix.EBUSY
}

func (d *loopDisk) mount() error {
	f, err := os.OpenFile(d.image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	dev, err := attachLoop(f)
	if err != nil {
		return fmt.Errorf("no loop device: %w", err)
	}
	defer dev.Close()
	if err := unix.Mount(dev.Name(), d.at, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", dev.Name(), err)
	}
	d.mounted = true
	return nil
}

func (d *loopDisk) unmount() error {
	if err := unix.Unmount(d.at, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", d.at, err)
	}
	d.mounted = false
	return nil
}

// remove undoes what newLoopDisk did.
func (d *loopDisk) remove() {
	if d.timer != nil {
		_ = d.Cut()
	}
	if d.mounted {
		if err := unix.Unmount(d.at, unix.MNT_DETACH); err != nil {
			d.t.Errorf("unmount %s: %v", d.at, err)
		}
	}
}

// Arm implements logstoretest.Power.
func (d *loopDisk) Arm(rng *rand.Rand) *atomic.Bool {
	cut, done := new(atomic.Bool), make(chan error, 1)
	d.cut, d.done = cut, done
	d.timer = time.AfterFunc(time.Duration(rng.Int64N(int64(d.until))), func() {
		cut.Store(true)
		done <- d.shutdown()
	})
	return cut
}

// Later implements logstoretest.Power: a busy machine takes its time to open a log.
func (d *loopDisk) Later() { d.until = min(d.until*5/4, maxUntilCut) }

// Exact implements logstoretest.Power: the kernel stops one thing after the other, and a sync that is
// under way meanwhile may return without an error.
func (d *loopDisk) Exact() bool { return false }

// Cut implements logstoretest.Power.
func (d *loopDisk) Cut() error {
	if d.timer.Stop() {
		d.cut.Store(true)
		d.done <- d.shutdown()
	}
	d.timer = nil
	return <-d.done
}

func (d *loopDisk) shutdown() error {
	f, err := os.Open(d.at)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), fsShutdown, fsNoLogFlush); err != nil {
		return fmt.Errorf("FS_IOC_SHUTDOWN: %w", err)
	}
	return nil
}

// Restore implements logstoretest.Power: mounting plays the journal back.
func (d *loopDisk) Restore() error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount()
}
