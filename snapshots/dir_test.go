// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
)

const folder = "data/snapshots"

func metaAt(index uint64) Meta {
	return Meta{Index: index, Term: 3, Group: 4, Cluster: "c0ffee", Configuration: []byte("who"), ConfigurationIndex: 2}
}

// save commits a snapshot of content and returns its id.
func save(t testing.TB, d *Dir, m Meta, content []byte) string {
	t.Helper()
	p, err := d.Create(m)
	if err != nil {
		t.Fatal(err)
	}
	for len(content) > 0 {
		n := min(len(content), 1000)
		if _, err := p.Write(content[:n]); err != nil {
			t.Fatal(err)
		}
		content = content[n:]
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	return p.ID()
}

func openDir(t testing.TB, fs host.FS, retain int) *Dir {
	t.Helper()
	d, err := OpenDir(fs, folder, retain)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ids(t testing.TB, d *Dir) (out []string) {
	t.Helper()
	list, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		out = append(out, m.ID)
	}
	return out
}

// Goal: a committed snapshot is listed and read as written, on a real disk and in memory. Method:
// the whole life of snapshots on both.
func TestDirLife(t *testing.T) {
	for _, tc := range []struct {
		name string
		fs   func(t *testing.T) host.FS
	}{
		{"memory", func(*testing.T) host.FS { return host.NewMemFS(1).FS() }},
		{"real", func(t *testing.T) host.FS {
			t.Chdir(t.TempDir())
			return host.Real().FS
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := tc.fs(t)
			d := openDir(t, fs, 0)
			if got := ids(t, d); got != nil {
				t.Fatal("an empty folder lists", got)
			}
			content := small(t)
			first := save(t, d, metaAt(10), content)
			m, r, err := d.Open(first)
			if err != nil {
				t.Fatal(err)
			}
			want := metaAt(10)
			want.ID, want.Size = first, int64(len(content))
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, content) || !reflect.DeepEqual(m, want) {
				t.Fatalf("read: %v, %+v", err, m)
			}
			if _, info, err := d.Inspect(first); err != nil || info.Header != fullHeader() {
				t.Fatalf("inspect: %v", err)
			}
			second, third := save(t, d, metaAt(30), nil), save(t, d, metaAt(200), content)
			if got := ids(t, d); !reflect.DeepEqual(got, []string{third, second}) {
				t.Fatalf("list %v, want %s, %s", got, third, second)
			}
			// The first is removed, and still readable for who has it open.
			if _, err := r.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("read after removal: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{first, "", "../x", strings.ToUpper(third)} {
				if _, _, err := d.Open(id); !errors.Is(err, ErrNotFound) {
					t.Errorf("open %q: %v", id, err)
				}
			}
			again := openDir(t, fs, 1)
			if got := ids(t, again); !reflect.DeepEqual(got, []string{third}) {
				t.Fatalf("list %v, want %s", got, third)
			}
			if same := save(t, again, metaAt(200), nil); same <= third {
				t.Errorf("second snapshot at one index has id %s, after %s", same, third)
			}
		})
	}
}

// Goal: no damage to a file passes, and List shows only what has a sound head and trailer. Method:
// every bit of a small file is flipped, and the file is cut at every byte.
func TestDirDamage(t *testing.T) {
	mem := host.NewMemFS(1)
	d := openDir(t, mem.FS(), 5)
	old := save(t, d, metaAt(1), nil)
	id := save(t, d, metaAt(2), stored(t))
	name := path.Join(folder, id+suffixFile)
	var good []byte
	edit := func(f func([]byte) []byte) {
		t.Helper()
		if err := mem.Edit(name, f); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(p []byte) []byte { good = bytes.Clone(p); return p })
	check := func(what string, i int) {
		t.Helper()
		if err := d.Verify(id); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatalf("%s %d: %v", what, i, err)
		}
		if list := ids(t, d); list[len(list)-1] != old {
			t.Fatalf("%s %d hides another snapshot: %v", what, i, list)
		}
	}
	for i := range len(good) * 8 {
		edit(func([]byte) []byte {
			p := bytes.Clone(good)
			p[i/8] ^= 1 << (i % 8)
			return p
		})
		check("flip of bit", i)
	}
	for n := range good {
		edit(func([]byte) []byte { return good[:n] })
		check("cut at", n)
		if len(ids(t, d)) != 1 {
			t.Fatalf("a file cut at %d is listed", n)
		}
	}
	edit(func([]byte) []byte { return append(bytes.Clone(good), 0) })
	check("tail", 0)
	edit(func([]byte) []byte { return good })
	if err := d.Verify(id); err != nil {
		t.Fatal(err)
	}
	// A sound file under another's name is damage too.
	other := formatID(3, 77, 9)
	if err := mem.FS().Rename(name, path.Join(folder, other+suffixFile)); err != nil {
		t.Fatal(err)
	}
	if err := d.Verify(other); !errors.Is(err, ErrCorrupt) {
		t.Errorf("renamed: %v", err)
	}
}

// Goal: damaged files are kept, and do not push sound ones out.
func TestDirKeepsDamaged(t *testing.T) {
	mem := host.NewMemFS(1)
	d := openDir(t, mem.FS(), 2)
	a := save(t, d, metaAt(1), nil)
	bad := save(t, d, metaAt(2), nil)
	if err := mem.Edit(path.Join(folder, bad+suffixFile), func(p []byte) []byte { return p[:20] }); err != nil {
		t.Fatal(err)
	}
	c := save(t, d, metaAt(3), nil)
	if got := ids(t, d); !reflect.DeepEqual(got, []string{c, a}) {
		t.Errorf("list %v, want %s, %s", got, c, a)
	}
	names, _ := mem.FS().ReadDir(folder)
	if len(names) != 3 {
		t.Errorf("names %v: the damaged file is gone", names)
	}
}

// stepFS fails, or crashes the disk, at the n-th change that reaches it.
type stepFS struct {
	host.FS
	left int
	fail func() error
}

var errStep = errors.New("step")

func (s *stepFS) step() error {
	if s.left--; s.left == 0 {
		return s.fail()
	}
	return nil
}

func (s *stepFS) OpenFile(name string, flag int, perm os.FileMode) (host.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	f, err := s.FS.OpenFile(name, flag, perm)
	return &stepFile{f, s}, err
}

func (s *stepFS) Rename(a, b string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.FS.Rename(a, b)
}

func (s *stepFS) Remove(name string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.FS.Remove(name)
}

func (s *stepFS) SyncDir(name string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.FS.SyncDir(name)
}

type stepFile struct {
	host.File
	s *stepFS
}

func (f *stepFile) Write(p []byte) (int, error) {
	if err := f.s.step(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *stepFile) Sync() error {
	if err := f.s.step(); err != nil {
		return err
	}
	return f.File.Sync()
}

// Goal: whatever fails or crashes at any step of a write, acknowledged snapshots stay, complete, and
// leftovers go. Method: the n-th change of the disk fails, or crashes it with all, none or some of
// the un-synced bytes lost, for every n until a write passes; then the folder is opened again.
func TestDirStepFailures(t *testing.T) {
	for _, tc := range []struct {
		name    string
		survive float64
		crash   bool
	}{{"error", 0, false}, {"crash, nothing survives", 0, true}, {"crash, all survives", 1, true}, {"crash, some survives", .5, true}} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(4) {
				for n := 1; ; n++ {
					if stepFailure(t, seed, n, tc.survive, tc.crash) {
						break // n is past the last step
					}
				}
			}
		})
	}
}

func stepFailure(t *testing.T, seed uint64, n int, survive float64, crash bool) (passed bool) {
	t.Helper()
	mem := host.NewMemFS(seed)
	d := openDir(t, mem.FS(), 2)
	content := map[string][]byte{}
	var acked []string
	for i := range uint64(2) {
		data := noise(3000, i)
		id := save(t, d, metaAt(i+1), data)
		content[id] = data
		acked = append([]string{id}, acked...)
	}
	fs := &stepFS{FS: mem.FS(), left: n}
	fs.fail = func() error {
		if crash {
			mem.Crash(host.CrashPolicy{Survive: survive})
		}
		return errStep
	}
	d = openDir(t, fs, 2)
	data := noise(3000, 9)
	id, err := writeOne(d, data)
	if err == nil {
		acked = []string{id, acked[0]}
	}
	content[id] = data
	passed = fs.left > 0
	// A crash ends the process that saw the error, and so does this test's restart.
	again := openDir(t, mem.FS(), 2)
	got := ids(t, again)
	if len(got) < 2 || !containsAll(got, acked[:1]) || err == nil && !reflect.DeepEqual(got, acked) {
		t.Fatalf("step %d: %v; list %v, acknowledged %v", n, err, got, acked)
	}
	for _, id := range got {
		_, r, err := again.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(data, content[id]) {
			t.Fatalf("step %d: %s: %v", n, id, err)
		}
		_ = r.Close()
	}
	names, _ := mem.FS().ReadDir(folder)
	if len(names) != len(got) {
		t.Fatalf("step %d: leftovers in %v", n, names)
	}
	return passed
}

func writeOne(d *Dir, data []byte) (id string, err error) {
	p, err := d.Create(metaAt(3))
	if err != nil {
		return "", err
	}
	if _, err := p.Write(data); err != nil {
		_ = p.Abort()
		return p.ID(), err
	}
	return p.ID(), p.Commit()
}

func containsAll(list, want []string) bool {
	have := fmt.Sprint(list)
	for _, w := range want {
		if !strings.Contains(have, w) {
			return false
		}
	}
	return true
}

// Goal: a full disk is an error that says so and leaves nothing behind. Method: a quota too small.
func TestDirFullDisk(t *testing.T) {
	mem := host.NewMemFS(1)
	d := openDir(t, mem.FS(), 2)
	used := mem.Used()
	mem.SetQuota(used + 2000)
	if _, err := writeOne(d, noise(10_000, 1)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("full disk: %v", err)
	}
	if mem.Used() != used {
		t.Errorf("%d bytes left behind", mem.Used()-used)
	}
	mem.SetQuota(0)
	if _, err := writeOne(d, noise(10_000, 1)); err != nil {
		t.Fatal(err)
	}
}

// Goal: a Pending ends once; an aborted one leaves nothing; long writes are synced on the way.
// Goal: old snapshots go piece by piece, readers keep what they read, and a crash on the way brings nothing
// back. Method: a large old snapshot, read or not, and a look at the folder from within the pauses.
func TestOldOnesGoGently(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*host.RemoveStep/16)
	for _, read := range []bool{false, true} {
		t.Run(fmt.Sprint("read=", read), func(t *testing.T) {
			mem := host.NewMemFS(1)
			fs := mem.FS()
			d := openDir(t, fs, 1)
			old := save(t, d, metaAt(1), content)
			pauses := 0
			d.Pause(func() bool {
				pauses++
				if got := ids(t, d); len(got) != 1 || got[0] == old {
					t.Errorf("pause %d: %v", pauses, got)
				}
				if pauses == 2 {
					mem.Crash(host.CrashPolicy{})
				}
				return true
			})
			var r io.ReadCloser
			if read {
				var err error
				if _, r, err = d.Open(old); err != nil {
					t.Fatal(err)
				}
			}
			next := save(t, d, metaAt(2), nil)
			if pauses != 0 {
				t.Errorf("the commit paused %d times", pauses)
			}
			if err := d.Sweep(); err != nil && read {
				t.Error(err)
			}
			if read {
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) || pauses != 0 {
					t.Errorf("%d bytes, %v, %d pauses", len(got), err, pauses)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if pauses != 2 {
				t.Errorf("%d pauses", pauses)
			}
			again := openDir(t, mem.FS(), 2)
			if got := ids(t, again); len(got) != 1 || got[0] != next {
				t.Errorf("after a crash: %v", got)
			}
			if names, _ := mem.FS().ReadDir(folder); len(names) != 1 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

func TestPending(t *testing.T) {
	mem := host.NewMemFS(1)
	d := openDir(t, mem.FS(), 2)
	p, err := d.Create(metaAt(1))
	if err != nil {
		t.Fatal(err)
	}
	before := mem.Syncs()
	for range 2 * WriteOutEvery / BlockSize {
		if _, err := p.Write(make([]byte, BlockSize)); err != nil {
			t.Fatal(err)
		}
	}
	if n := mem.Syncs() - before; n != 2 {
		t.Errorf("%d syncs while writing, want 2", n)
	}
	if err := p.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := p.Abort(); err != nil {
		t.Errorf("second abort: %v", err)
	}
	if _, err := p.Write(nil); !errors.Is(err, ErrFinished) {
		t.Errorf("write after the end: %v", err)
	}
	if err := p.Commit(); !errors.Is(err, ErrFinished) {
		t.Errorf("commit after the end: %v", err)
	}
	if names, _ := mem.FS().ReadDir(folder); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	id := save(t, d, metaAt(1), nil)
	if id != formatID(3, 1, 2) {
		t.Errorf("id %s", id)
	}
}

// Goal: meta data holds at its limit and is refused one past it.
func TestMetaLimit(t *testing.T) {
	d := openDir(t, host.NewMemFS(1).FS(), 2)
	m := Meta{Index: 1, Term: 1, Configuration: make([]byte, MaxMeta-metaFixed)}
	id := save(t, d, m, nil)
	if got, _, err := d.Open(id); err != nil || len(got.Configuration) != len(m.Configuration) {
		t.Errorf("at the limit: %v", err)
	}
	m.Configuration = append(m.Configuration, 0)
	if _, err := d.Create(m); !errors.Is(err, ErrTooLarge) {
		t.Errorf("past the limit: %v", err)
	}
}

// FuzzEnvelope: any file gives an error or the meta data that is written again byte for byte.
func FuzzEnvelope(f *testing.F) {
	good, _ := (&Meta{Index: 1, Term: 2, Group: 3, Cluster: "c", Configuration: []byte("who"), ConfigurationIndex: 1}).append(nil)
	f.Add(appendTrailer(append(good, "stream"...), 6, crc([]byte("stream"))))
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := host.NewMemFS(1).FS()
		file, err := fs.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(data); err != nil {
			t.Fatal(err)
		}
		m, start, _, err := readEnvelope(file)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("error without a cause: %v", err)
			}
			return
		}
		if head, err := m.append(nil); err != nil || !bytes.Equal(head, data[:start]) || m.Size != int64(len(data))-start-trailerSize {
			t.Fatalf("written again it differs: %v", err)
		}
	})
}

// TestCommitErrorIsKept: the error that made a commit fail is the one that is returned, so that an operator
// learns of the disk.
func TestCommitErrorIsKept(t *testing.T) {
	m := host.NewMemFS(1)
	d, err := OpenDir(m.FS(), "/snapshots", 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Create(Meta{Index: 1, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	bad := errors.New("platter on fire")
	m.FailNextSync(bad)
	if err := p.Commit(); !errors.Is(err, bad) {
		t.Errorf("commit: %v", err)
	}
}
