// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
)

// forms runs a test on the real file system and on the in-memory one: what holds on one must hold
// on the other.
func forms(t *testing.T, f func(t *testing.T, fs host.FS, dir string)) {
	t.Run("real", func(t *testing.T) { f(t, host.Real().FS, t.TempDir()) })
	t.Run("memory", func(t *testing.T) {
		fs := host.NewMemFS(1).FS()
		if err := fs.MkdirAll("/data/t", 0o700); err != nil {
			t.Fatal(err)
		}
		f(t, fs, "/data/t")
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, fsys host.FS, name, content string) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	must(t, err)
	_, err = f.Write([]byte(content))
	must(t, err)
	must(t, f.Close())
}

func get(t testing.TB, fsys host.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	must(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	must(t, err)
	return string(b)
}

// TestFSErrors tables every failing call: both forms must fail with the same cause.
func TestFSErrors(t *testing.T) {
	open := func(fsys host.FS, name string, flag int) error {
		f, err := fsys.OpenFile(name, flag, 0o600)
		if err == nil {
			_ = f.Close()
		}
		return err
	}
	cases := []struct {
		name string
		call func(fsys host.FS, dir string) error
		want error // nil = must succeed
	}{
		{"open missing", func(f host.FS, d string) error { return open(f, d+"/no", os.O_RDWR) }, fs.ErrNotExist},
		{"open in missing folder", func(f host.FS, d string) error { return open(f, d+"/no/x", os.O_CREATE|os.O_RDWR) }, fs.ErrNotExist},
		{"open below a file", func(f host.FS, d string) error { return open(f, d+"/file/x", os.O_CREATE|os.O_RDWR) }, syscall.ENOTDIR},
		{"open exclusive", func(f host.FS, d string) error { return open(f, d+"/file", os.O_CREATE|os.O_EXCL|os.O_RDWR) }, fs.ErrExist},
		{"open folder to write", func(f host.FS, d string) error { return open(f, d+"/full", os.O_RDWR) }, syscall.EISDIR},
		{"remove missing", func(f host.FS, d string) error { return f.Remove(d + "/no") }, fs.ErrNotExist},
		{"remove full folder", func(f host.FS, d string) error { return f.Remove(d + "/full") }, syscall.ENOTEMPTY},
		{"remove empty folder", func(f host.FS, d string) error { return f.Remove(d + "/empty") }, nil},
		{"remove all", func(f host.FS, d string) error { return f.RemoveAll(d + "/full") }, nil},
		{"remove all missing", func(f host.FS, d string) error { return f.RemoveAll(d + "/no/no") }, nil},
		{"rename missing", func(f host.FS, d string) error { return f.Rename(d+"/no", d+"/x") }, fs.ErrNotExist},
		{"rename into missing folder", func(f host.FS, d string) error { return f.Rename(d+"/file", d+"/no/x") }, fs.ErrNotExist},
		{"rename file over folder", func(f host.FS, d string) error { return f.Rename(d+"/file", d+"/empty") }, syscall.EEXIST},
		{"rename folder over file", func(f host.FS, d string) error { return f.Rename(d+"/empty", d+"/file") }, syscall.ENOTDIR},
		{"rename folder into itself", func(f host.FS, d string) error { return f.Rename(d+"/empty", d+"/empty/x") }, syscall.EINVAL},
		{"rename to itself", func(f host.FS, d string) error { return f.Rename(d+"/file", d+"/file") }, nil},
		{"rename folder", func(f host.FS, d string) error { return f.Rename(d+"/full", d+"/other") }, nil},
		{"list missing", func(f host.FS, d string) error { _, err := f.ReadDir(d + "/no"); return err }, fs.ErrNotExist},
		{"list file", func(f host.FS, d string) error { _, err := f.ReadDir(d + "/file"); return err }, syscall.ENOTDIR},
		{"stat missing", func(f host.FS, d string) error { _, err := f.Stat(d + "/no"); return err }, fs.ErrNotExist},
		{"sync missing folder", func(f host.FS, d string) error { return f.SyncDir(d + "/no") }, fs.ErrNotExist},
		{"mkdir over file", func(f host.FS, d string) error { return f.MkdirAll(d+"/file", 0o700) }, syscall.ENOTDIR},
		{"mkdir below file", func(f host.FS, d string) error { return f.MkdirAll(d+"/file/a/b", 0o700) }, syscall.ENOTDIR},
		{"mkdir again", func(f host.FS, d string) error { return f.MkdirAll(d+"/full", 0o700) }, nil},
		{"mkdir deep", func(f host.FS, d string) error { return f.MkdirAll(d+"/a/b/c", 0o700) }, nil},
		{"free below missing", func(f host.FS, d string) error { _, err := f.Free(d + "/no"); return err }, fs.ErrNotExist},
		{"lock in missing folder", func(f host.FS, d string) error { _, err := f.Lock(d + "/no/lock"); return err }, fs.ErrNotExist},
		{"key-value file in missing folder", func(f host.FS, d string) error { _, err := f.OpenKV(d + "/no/kv"); return err }, fs.ErrNotExist},
	}
	forms(t, func(t *testing.T, fsys host.FS, root string) {
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				dir := path.Join(root, fmt.Sprint(i))
				must(t, fsys.MkdirAll(dir+"/full", 0o700))
				must(t, fsys.MkdirAll(dir+"/empty", 0o700))
				put(t, fsys, dir+"/file", "x")
				put(t, fsys, dir+"/full/file", "y")
				err := c.call(fsys, dir)
				if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
			})
		}
	})
}

func TestFSNames(t *testing.T) {
	forms(t, func(t *testing.T, fsys host.FS, dir string) {
		for _, n := range []string{"c", "a", "b"} {
			put(t, fsys, dir+"/"+n, n)
		}
		must(t, fsys.MkdirAll(dir+"/d/e", 0o700))
		must(t, fsys.Rename(dir+"/c", dir+"/a"))
		must(t, fsys.Rename(dir+"/b", dir+"/d/e/f"))
		names, err := fsys.ReadDir(dir)
		if err != nil || !slices.Equal(names, []string{"a", "d"}) {
			t.Errorf("names %v, %v", names, err)
		}
		if got := get(t, fsys, dir+"/a") + get(t, fsys, dir+"/d/e/f"); got != "cb" {
			t.Errorf("contents %q", got)
		}
		info, err := fsys.Stat(dir + "/d")
		if err != nil || !info.IsDir || info.Size != 0 {
			t.Errorf("stat folder %+v, %v", info, err)
		}
		info, err = fsys.Stat(dir + "/a")
		if err != nil || info.IsDir || info.Size != 1 {
			t.Errorf("stat file %+v, %v", info, err)
		}
	})
}

func TestFileContent(t *testing.T) {
	forms(t, func(t *testing.T, fsys host.FS, dir string) {
		name := dir + "/f"
		f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		big := bytes.Repeat([]byte("0123456789"), 2000) // several pages
		_, err = f.Write(big)
		must(t, err)
		_, err = f.WriteAt([]byte("beyond"), 50_000) // leaves a hole
		must(t, err)
		size, err := f.Size()
		if err != nil || size != 50_006 {
			t.Fatalf("size %d, %v", size, err)
		}
		buf := make([]byte, 10)
		if n, err := f.ReadAt(buf, 50_000); n != 6 || err != io.EOF || string(buf[:n]) != "beyond" {
			t.Errorf("read at the end: %d, %v, %q", n, err, buf[:n])
		}
		if n, err := f.ReadAt(buf, 30_000); n != 10 || err != nil || !bytes.Equal(buf, make([]byte, 10)) {
			t.Errorf("read in the hole: %d, %v, %q", n, err, buf)
		}
		if n, err := f.ReadAt(buf, 60_000); n != 0 || err != io.EOF {
			t.Errorf("read beyond the end: %d, %v", n, err)
		}
		if pos, err := f.Seek(-4, io.SeekEnd); err != nil || pos != 50_002 {
			t.Errorf("seek: %d, %v", pos, err)
		}
		if rest, err := io.ReadAll(f); err != nil || string(rest) != "yond" {
			t.Errorf("read on: %q, %v", rest, err)
		}
		// What a cut removed must read as zeros when the file grows again.
		must(t, f.Truncate(5))
		must(t, f.Truncate(9000))
		want := append([]byte("01234"), make([]byte, 8995)...)
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
			t.Errorf("after truncate: %d bytes, %v", len(got), err)
		}
		must(t, f.Sync())
		must(t, f.Close())
		for op, err := range map[string]error{"close": f.Close(), "sync": f.Sync(), "truncate": f.Truncate(0)} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s on a closed file: %v", op, err)
			}
		}
		if _, err := f.Write(nil); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("write on a closed file: %v", err)
		}
	})
}

func TestFileModes(t *testing.T) {
	forms(t, func(t *testing.T, fsys host.FS, dir string) {
		put(t, fsys, dir+"/f", "abc")
		ro, err := fsys.OpenFile(dir+"/f", os.O_RDONLY, 0)
		must(t, err)
		defer ro.Close()
		if _, err := ro.Write([]byte("x")); !errors.Is(err, syscall.EBADF) {
			t.Errorf("write to a file open for reading: %v", err)
		}
		if err := ro.Truncate(0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("truncate of a file open for reading: %v", err)
		}
		wo, err := fsys.OpenFile(dir+"/f", os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		defer wo.Close()
		if _, err := wo.Read(make([]byte, 1)); !errors.Is(err, syscall.EBADF) {
			t.Errorf("read from a file open for writing: %v", err)
		}
		for _, s := range []string{"d", "e"} {
			if _, err := wo.Write([]byte(s)); err != nil {
				t.Error(err)
			}
		}
		if got := get(t, fsys, dir+"/f"); got != "abcde" {
			t.Errorf("content %q", got)
		}
		// An open file lives on after its name went.
		must(t, fsys.Remove(dir+"/f"))
		if b, err := io.ReadAll(ro); err != nil || string(b) != "abcde" {
			t.Errorf("removed file reads %q, %v", b, err)
		}
	})
}

// TestWriteOut: it changes nothing of what is read, and a file that is closed is an error.
func TestWriteOut(t *testing.T) {
	forms(t, func(t *testing.T, fs host.FS, dir string) {
		name := path.Join(dir, "f")
		f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		must(t, host.WriteOut(f))
		for range 3 {
			_, err = f.Write(bytes.Repeat([]byte("x"), 5000))
			must(t, err)
			must(t, host.WriteOut(f))
		}
		must(t, f.Sync())
		must(t, f.Close())
		if got := get(t, fs, name); len(got) != 15_000 {
			t.Errorf("%d bytes", len(got))
		}
		if err := host.WriteOut(f); !errors.Is(err, os.ErrClosed) {
			t.Errorf("of a closed file: %v", err)
		}
	})
}

func TestFilePreallocate(t *testing.T) {
	forms(t, func(t *testing.T, fsys host.FS, dir string) {
		f, err := fsys.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("abc"), 0)
		must(t, err)
		must(t, f.Preallocate(10_000))
		must(t, f.Preallocate(10)) // less than there is: no change
		if size, err := f.Size(); err != nil || size != 10_000 {
			t.Errorf("size %d, %v", size, err)
		}
		buf := make([]byte, 4)
		if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "abc\x00" {
			t.Errorf("content %q, %v", buf, err)
		}
	})
}

func TestLock(t *testing.T) {
	forms(t, func(t *testing.T, fsys host.FS, dir string) {
		l, err := fsys.Lock(dir + "/lock")
		must(t, err)
		if _, err := fsys.Lock(dir + "/lock"); !errors.Is(err, host.ErrLocked) {
			t.Errorf("second lock: %v", err)
		}
		must(t, l.Close())
		if err := l.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second close: %v", err)
		}
		l, err = fsys.Lock(dir + "/lock")
		must(t, err)
		must(t, l.Close())
	})
}

func TestFree(t *testing.T) {
	forms(t, func(t *testing.T, fsys host.FS, dir string) {
		if n, err := fsys.Free(dir); err != nil || n == 0 {
			t.Errorf("free %d, %v", n, err)
		}
	})
}

func TestKV(t *testing.T) {
	forms(t, func(t *testing.T, fsys host.FS, dir string) {
		name := dir + "/kv"
		kv, err := fsys.OpenKV(name)
		must(t, err)
		if _, err := fsys.OpenKV(name); !errors.Is(err, host.ErrLocked) {
			t.Errorf("second open: %v", err)
		}
		must(t, kv.Update(map[string][]byte{"b": []byte("2"), "a": []byte("1"), "empty": {}}))
		must(t, kv.Update(map[string][]byte{"b": nil, "never": nil, "c": []byte("3")}))
		must(t, kv.Update(nil))
		if err := kv.Update(map[string][]byte{"x": []byte("y"), "": []byte("z")}); err == nil {
			t.Error("the empty key was taken")
		}
		if v, err := kv.Get("x"); v != nil || err != nil {
			t.Errorf("half a failed update is there: %q, %v", v, err)
		}
		v, err := kv.Get("a")
		if err != nil || string(v) != "1" {
			t.Errorf("get: %q, %v", v, err)
		}
		v[0] = 'X' // the caller's own copy
		must(t, kv.Close())
		kv, err = fsys.OpenKV(name)
		must(t, err)
		var all []string
		must(t, kv.All(func(k string, v []byte) error { all = append(all, k+"="+string(v)); return nil }))
		if !slices.Equal(all, []string{"a=1", "c=3", "empty="}) {
			t.Errorf("pairs %q", all)
		}
		if v, err := kv.Get("b"); v != nil || err != nil {
			t.Errorf("deleted: %q, %v", v, err)
		}
		if v, err := kv.Get("empty"); v == nil || len(v) != 0 || err != nil {
			t.Errorf("empty value: %v, %v", v, err)
		}
		stop := errors.New("stop")
		if err := kv.All(func(string, []byte) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("all: %v", err)
		}
		must(t, kv.Close())
		if _, err := kv.Get("a"); err == nil {
			t.Error("get on a closed file succeeded")
		}
		if err := kv.Update(map[string][]byte{"a": nil}); err == nil {
			t.Error("update on a closed file succeeded")
		}
	})
}
