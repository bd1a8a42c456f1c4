// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kvorum/kvorum/internal/host"
	"pgregory.net/rapid"
)

// diskModel is the plain statement of what a strict power cut leaves: for each file its seen and
// its durable bytes, for each folder its seen and its durable names.
type diskModel struct {
	cur, dur map[string]*fileModel // by full path; the folders /a and /b are fixed
}

type fileModel struct{ cur, dur []byte }

func (m *diskModel) syncDir(dir string) {
	in := func(name string) bool { return path.Dir(name) == dir }
	maps.DeleteFunc(m.dur, func(name string, _ *fileModel) bool { return in(name) })
	for name, f := range m.cur {
		if in(name) {
			m.dur[name] = f
		}
	}
}

func (m *diskModel) crash() {
	m.cur = maps.Clone(m.dur)
	for _, f := range m.cur {
		f.cur = bytes.Clone(f.dur)
	}
}

// TestMemFSCrashModel drives a disk with random steps and crashes that keep nothing un-synced, and
// compares names and bytes with the model after each step.
func TestMemFSCrashModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &diskRig{disk: host.NewMemFS(7), m: &diskModel{cur: map[string]*fileModel{}, dur: map[string]*fileModel{}}}
		d.fsys = d.disk.FS()
		for _, dir := range []string{"/a", "/b"} {
			if err := d.fsys.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": d.write, "truncate": d.truncate, "sync": d.sync, "remove": d.remove, "rename": d.rename,
			"syncdir": d.syncDir, "crash": d.crash,
			"": func(t *rapid.T) { d.m.compare(t, d.fsys) },
		})
	})
}

// diskRig is a disk beside its model.
type diskRig struct {
	disk *host.MemFS
	fsys host.FS
	m    *diskModel
}

func drawName(t *rapid.T) string {
	return rapid.SampledFrom([]string{"/a/x", "/a/y", "/b/x", "/b/z"}).Draw(t, "name")
}

// open is nil when the file is rightly missing.
func (d *diskRig) open(t *rapid.T, name string, flag int) host.File {
	f, err := d.fsys.OpenFile(name, flag, 0o600)
	if d.m.cur[name] == nil && flag&os.O_CREATE == 0 {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open %s: %v", name, err)
		}
		return nil
	}
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	return f
}

func (d *diskRig) write(t *rapid.T) {
	name, off := drawName(t), rapid.IntRange(0, 10_000).Draw(t, "off")
	data := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(1, 9000).Draw(t, "len"))
	f := d.open(t, name, os.O_RDWR|os.O_CREATE)
	if d.m.cur[name] == nil {
		d.m.cur[name] = &fileModel{}
	}
	if _, err := f.WriteAt(data, int64(off)); err != nil {
		t.Fatal(err)
	}
	c := resized(d.m.cur[name].cur, max(len(d.m.cur[name].cur), off+len(data)))
	copy(c[off:], data)
	d.m.cur[name].cur = c
	_ = f.Close()
}

// resized is a copy of b with that length.
func resized(b []byte, size int) []byte {
	c := make([]byte, size)
	copy(c, b)
	return c
}

func (d *diskRig) truncate(t *rapid.T) {
	name, size := drawName(t), rapid.IntRange(0, 12_000).Draw(t, "size")
	if f := d.open(t, name, os.O_RDWR); f != nil {
		if err := f.Truncate(int64(size)); err != nil {
			t.Fatal(err)
		}
		d.m.cur[name].cur = resized(d.m.cur[name].cur, size)
		_ = f.Close()
	}
}

func (d *diskRig) sync(t *rapid.T) {
	name := drawName(t)
	if f := d.open(t, name, os.O_RDWR); f != nil {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		d.m.cur[name].dur = bytes.Clone(d.m.cur[name].cur)
		_ = f.Close()
	}
}

func (d *diskRig) remove(t *rapid.T) {
	name := drawName(t)
	err := d.fsys.Remove(name)
	if _, ok := d.m.cur[name]; ok != (err == nil) {
		t.Fatalf("remove %s: %v", name, err)
	}
	delete(d.m.cur, name)
}

func (d *diskRig) rename(t *rapid.T) {
	dir := rapid.SampledFrom([]string{"/a/", "/b/"}).Draw(t, "dir")
	base := rapid.SampledFrom([]string{"x", "y", "z"})
	from, to := dir+base.Draw(t, "from"), dir+base.Draw(t, "to")
	err := d.fsys.Rename(from, to)
	f, ok := d.m.cur[from]
	if ok != (err == nil) {
		t.Fatalf("rename %s %s: %v", from, to, err)
	}
	if ok {
		delete(d.m.cur, from)
		d.m.cur[to] = f
	}
}

func (d *diskRig) syncDir(t *rapid.T) {
	dir := rapid.SampledFrom([]string{"/a", "/b"}).Draw(t, "dir")
	if err := d.fsys.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	d.m.syncDir(dir)
}

func (d *diskRig) crash(t *rapid.T) {
	old := d.fsys
	d.disk.Crash(host.CrashPolicy{})
	d.fsys = d.disk.FS()
	d.m.crash()
	if _, err := old.Stat("/a"); !errors.Is(err, host.ErrCrashed) {
		t.Fatalf("the dead process still reads: %v", err)
	}
}

func (m *diskModel) compare(t *rapid.T, fsys host.FS) {
	var seen []string
	for _, d := range []string{"/a", "/b"} {
		names, err := fsys.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			seen = append(seen, d+"/"+n)
		}
	}
	if want := slices.Sorted(maps.Keys(m.cur)); !slices.Equal(seen, want) {
		t.Fatalf("names %v, want %v", seen, want)
	}
	for name, f := range m.cur {
		if err := sameContent(fsys, name, f.cur); err != nil {
			t.Fatal(err)
		}
	}
}

func sameContent(fsys host.FS, name string, want []byte) error {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	got := make([]byte, size)
	if _, err := f.ReadAt(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: %d bytes, want %d; first difference counts", name, len(got), len(want))
	}
	return nil
}

// TestMemFSPartialSurvival writes over synced bytes and crashes with a coin per sector: each
// sector must be wholly old or wholly new, and both must occur.
func TestMemFSPartialSurvival(t *testing.T) {
	const sector, sectors = 512, 64
	var old, fresh int
	for seed := range uint64(20) {
		disk := host.NewMemFS(seed)
		f, err := disk.FS().OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		_, err = f.Write(bytes.Repeat([]byte{'o'}, sector*sectors))
		must(t, err)
		must(t, f.Sync())
		must(t, disk.FS().SyncDir("/"))
		_, err = f.WriteAt(bytes.Repeat([]byte{'n'}, sector*sectors), 0)
		must(t, err)
		disk.Crash(host.CrashPolicy{Survive: 0.5})
		content := get(t, disk.FS(), "/f")
		for i := range sectors {
			switch s := content[i*sector : (i+1)*sector]; s {
			case strings.Repeat("o", sector):
				old++
			case strings.Repeat("n", sector):
				fresh++
			default:
				t.Fatalf("seed %d: sector %d is torn inside", seed, i)
			}
		}
	}
	if old < 400 || fresh < 400 {
		t.Errorf("%d old and %d new sectors of 1280: no fair coin", old, fresh)
	}
}

func TestMemFSEverythingSurvives(t *testing.T) {
	disk := host.NewMemFS(1)
	put(t, disk.FS(), "/f", "never synced")
	for _, p := range []host.CrashPolicy{{Survive: 1}, {}} {
		disk.Crash(p)
		if got := get(t, disk.FS(), "/f"); got != "never synced" {
			t.Errorf("content %q", got)
		}
	}
}

// TestMemFSProcessDeath keeps everything seen, as the page cache does, and makes nothing durable:
// the next power cut takes it.
func TestMemFSProcessDeath(t *testing.T) {
	disk := host.NewMemFS(1)
	fsys := disk.FS()
	put(t, fsys, "/f", strings.Repeat("n", 10_000))
	gone, err := fsys.OpenFile("/gone", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = gone.Write(make([]byte, 5000))
	must(t, err)
	must(t, fsys.Remove("/gone"))
	disk.Crash(host.CrashPolicy{ProcessOnly: true})
	if _, err := gone.Size(); !errors.Is(err, host.ErrCrashed) {
		t.Errorf("a handle of the dead process: %v", err)
	}
	if got := get(t, disk.FS(), "/f"); len(got) != 10_000 || disk.Used() != 12<<10 {
		t.Errorf("%d bytes seen, %d used", len(got), disk.Used())
	}
	disk.Crash(host.CrashPolicy{})
	if names, err := disk.FS().ReadDir("/"); len(names) != 0 || err != nil {
		t.Errorf("after the power cut: %v, %v", names, err)
	}
}

// TestMemFSNamesSurviveInOrder makes changes of names without syncing and crashes with a coin: the
// names that survive are those of a prefix of the changes, and a rename is all or nothing.
func TestMemFSNamesSurviveInOrder(t *testing.T) {
	states := map[string]bool{"": true, "a": true, "ab": true, "bc": true, "c": true}
	seen := map[string]bool{}
	for seed := range uint64(200) {
		disk := host.NewMemFS(seed)
		fsys := disk.FS()
		put(t, fsys, "/a", "")
		put(t, fsys, "/b", "")
		must(t, fsys.Rename("/a", "/c"))
		must(t, fsys.Remove("/b"))
		disk.Crash(host.CrashPolicy{Survive: 0.6})
		names, err := disk.FS().ReadDir("/")
		must(t, err)
		got := strings.Join(names, "")
		if !states[got] {
			t.Fatalf("seed %d: names %q are no prefix of the changes", seed, names)
		}
		seen[got] = true
	}
	if len(seen) != len(states) {
		t.Errorf("states met: %v", seen)
	}
}

// TestMemFSRenameOverTwoFolders syncs one of the folders: the file must be in exactly one of them.
func TestMemFSRenameOverTwoFolders(t *testing.T) {
	for _, synced := range []string{"/a", "/b"} {
		disk := host.NewMemFS(1)
		fsys := disk.FS()
		must(t, fsys.MkdirAll("/a", 0o700))
		must(t, fsys.MkdirAll("/b", 0o700))
		put(t, fsys, "/a/f", "")
		must(t, fsys.SyncDir("/a"))
		must(t, fsys.Rename("/a/f", "/b/f"))
		must(t, fsys.SyncDir(synced))
		disk.Crash(host.CrashPolicy{})
		a, err := disk.FS().ReadDir("/a")
		must(t, err)
		b, err := disk.FS().ReadDir("/b")
		must(t, err)
		if len(a)+len(b) != 1 {
			t.Errorf("synced %s: %v and %v", synced, a, b)
		}
	}
}

func TestMemFSRemovedFileComesBack(t *testing.T) {
	disk := host.NewMemFS(1)
	fsys := disk.FS()
	put(t, fsys, "/f", "kept")
	f, err := fsys.OpenFile("/f", os.O_RDWR, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, fsys.SyncDir("/"))
	must(t, f.Close())
	must(t, fsys.Remove("/f"))
	disk.Crash(host.CrashPolicy{})
	if got := get(t, disk.FS(), "/f"); got != "kept" {
		t.Errorf("content %q", got)
	}
}

func TestMemFSQuota(t *testing.T) {
	disk := host.NewMemFS(1)
	fsys := disk.FS()
	disk.SetQuota(40 << 10)
	f, err := fsys.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	n, err := f.Write(make([]byte, 50<<10))
	if n != 40<<10 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write = %d, %v", n, err)
	}
	if free, err := fsys.Free("/"); free != 0 || err != nil {
		t.Errorf("free %d, %v", free, err)
	}
	_, err = f.WriteAt([]byte("in place"), 100) // needs no more space
	must(t, err)
	must(t, f.Truncate(10<<10))
	g, err := fsys.OpenFile("/g", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	if err := g.Preallocate(33 << 10); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("preallocate too much: %v", err)
	}
	must(t, g.Preallocate(28<<10))
	if _, err := g.Write(make([]byte, 28<<10)); err != nil {
		t.Errorf("write to preallocated space: %v", err)
	}
	if _, err := f.WriteAt([]byte("x"), 12<<10); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write on a full disk: %v", err)
	}
	// An open file holds its space until the last handle goes.
	must(t, fsys.Remove("/g"))
	if _, err := f.WriteAt([]byte("x"), 12<<10); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write while a removed file is open: %v", err)
	}
	must(t, g.Close())
	_, err = f.WriteAt([]byte("x"), 12<<10)
	must(t, err)
	if used := disk.Used(); used != 16<<10 {
		t.Errorf("used %d", used)
	}
	disk.Crash(host.CrashPolicy{})
	if used := disk.Used(); used != 0 {
		t.Errorf("used %d after nothing survived", used)
	}
}

// TestMemFSFailedSync is fsync-gate: the failure is reported once, later syncs succeed, and the
// bytes are gone after a crash though they were seen all the time.
func TestMemFSFailedSync(t *testing.T) {
	disk := host.NewMemFS(1)
	fsys := disk.FS()
	f, err := fsys.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.Write([]byte("first."))
	must(t, err)
	must(t, f.Sync())
	must(t, fsys.SyncDir("/"))
	_, err = f.Write([]byte("second"))
	must(t, err)
	disk.FailNextSync(syscall.EIO)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	must(t, f.Sync())
	if got := get(t, fsys, "/f"); got != "first.second" {
		t.Errorf("seen %q", got)
	}
	disk.Crash(host.CrashPolicy{})
	if got := get(t, disk.FS(), "/f"); strings.Contains(got, "second") || !strings.HasPrefix(got, "first.") {
		t.Errorf("durable %q", got)
	}
}

// TestMemFSLargeFile appends 100 MB in small synced steps: the work must stay linear.
func TestMemFSLargeFile(t *testing.T) {
	disk := host.NewMemFS(1)
	f, err := disk.FS().OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	start := time.Now()
	buf := make([]byte, 10<<10)
	for range 10 << 10 {
		if _, err := f.Write(buf); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("100 MB took %v", d)
	}
}

func TestMemFSCrashReleasesLocks(t *testing.T) {
	disk := host.NewMemFS(1)
	old := disk.FS()
	l, err := old.Lock("/lock")
	must(t, err)
	_, err = old.OpenKV("/kv")
	must(t, err)
	disk.Crash(host.CrashPolicy{})
	fsys := disk.FS()
	if _, err := fsys.Lock("/lock"); err != nil {
		t.Errorf("lock after the crash: %v", err)
	}
	if _, err := fsys.OpenKV("/kv"); err != nil {
		t.Errorf("key-value file after the crash: %v", err)
	}
	if err := l.Close(); !errors.Is(err, host.ErrCrashed) {
		t.Errorf("unlock by the dead: %v", err)
	}
	if _, err := fsys.Lock("/lock"); !errors.Is(err, host.ErrLocked) {
		t.Errorf("the dead released the lock of the living: %v", err)
	}
}

func TestMemFSEdit(t *testing.T) {
	disk := host.NewMemFS(1)
	put(t, disk.FS(), "/f", "good")
	must(t, disk.FS().SyncDir("/"))
	must(t, disk.Edit("/f", func(b []byte) []byte { b[0] ^= 1; return b[:3] }))
	disk.Crash(host.CrashPolicy{})
	if got := get(t, disk.FS(), "/f"); got != "foo" {
		t.Errorf("content %q", got)
	}
}

// TestMemFSSteps lists the steps of a file's life as the hook sees them, and fails one of them.
func TestMemFSSteps(t *testing.T) {
	disk := host.NewMemFS(1)
	fsys := disk.FS()
	var steps []string
	disk.OnStep(func(op, name string) error {
		steps = append(steps, op+" "+name)
		if op == "rename" {
			return syscall.EIO
		}
		return nil
	})
	f, err := fsys.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.Write([]byte("x"))
	must(t, err)
	must(t, f.Truncate(0))
	must(t, f.Preallocate(10))
	must(t, f.Sync())
	must(t, f.Close())
	if err := fsys.Rename("/f", "/g"); !errors.Is(err, syscall.EIO) {
		t.Errorf("rename: %v", err)
	}
	if got := get(t, fsys, "/f"); len(got) != 10 {
		t.Errorf("the failed rename was done: %q", got)
	}
	must(t, fsys.SyncDir("/"))
	must(t, fsys.Remove("/f"))
	want := []string{"create /f", "write /f", "truncate /f", "preallocate /f", "sync /f", "rename /f", "syncdir /", "remove /f"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %q", steps)
	}
}
