// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
)

func names(t *testing.T, fs host.FS, dir string) []string {
	t.Helper()
	list, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func contentOf(t *testing.T, fs host.FS, name string) string {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func newFile(t *testing.T, fs host.FS, replace bool, content string) *File {
	t.Helper()
	w, err := CreateFile(fs, bytes.NewReader([]byte("random")), "/out/save", replace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	return w
}

// Goal: a file appears whole or not at all, and nothing is left beside it.
func TestFile(t *testing.T) {
	m := host.NewMemFS(1)
	fs := m.FS()
	if err := fs.MkdirAll("/out", 0o700); err != nil {
		t.Fatal(err)
	}
	w := newFile(t, fs, false, "first")
	if got := contentOf(t, fs, "/out/save"); got != "" {
		t.Errorf("before the end: %q", got)
	}
	if data, err := io.ReadAll(w.Content()); err != nil || string(data) != "first" || w.Size() != 5 {
		t.Errorf("content %q, %v", data, err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := w.Write([]byte("more")); !errors.Is(err, ErrFinished) {
		t.Errorf("a write behind the end: %v", err)
	}
	if _, err := CreateFile(fs, bytes.NewReader([]byte("random")), "/out/save", false); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if err := newFile(t, fs, true, "second").Commit(); err != nil {
		t.Fatal(err)
	}
	if err := newFile(t, fs, true, "third").Abort(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, fs, "/out"); len(got) != 1 || contentOf(t, fs, "/out/save") != "second" {
		t.Errorf("in the end %v", got)
	}
	// A name that was taken meanwhile stays whose it is.
	if err := fs.Remove("/out/save"); err != nil {
		t.Fatal(err)
	}
	late := newFile(t, fs, false, "late")
	if err := newFile2(t, fs).Commit(); err != nil {
		t.Fatal(err)
	}
	if err := late.Commit(); !errors.Is(err, os.ErrExist) || contentOf(t, fs, "/out/save") != "other" {
		t.Errorf("taken meanwhile: %v", err)
	}
	if got := names(t, fs, "/out"); len(got) != 1 {
		t.Errorf("left over: %v", got)
	}
	if _, err := CreateFile(fs, bytes.NewReader(make([]byte, 9)), "/nowhere/save", false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
}

func newFile2(t *testing.T, fs host.FS) *File {
	t.Helper()
	w, err := CreateFile(fs, bytes.NewReader([]byte("another")), "/out/save", false)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("other"))
	return w
}

// Goal: after a power cut at any step the name holds the whole old content or the whole new one. Method:
// a crash before each step of a commit that replaces a file.
func TestFileCrash(t *testing.T) {
	for step := 0; ; step++ {
		m := host.NewMemFS(uint64(step))
		fs := m.FS()
		if err := fs.MkdirAll("/out", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := newFile(t, fs, false, "old").Commit(); err != nil {
			t.Fatal(err)
		}
		at, crashed := 0, false
		m.OnStep(func(string, string) error {
			if at++; at-1 == step {
				crashed = true
				m.Crash(host.CrashPolicy{Survive: float64(step%3) / 2})
				return host.ErrCrashed
			}
			return nil
		})
		w, err := CreateFile(fs, bytes.NewReader([]byte("random")), "/out/save", true)
		if err == nil {
			_, _ = w.Write([]byte("new content"))
			err = w.Commit()
		}
		m.OnStep(nil)
		got := contentOf(t, m.FS(), "/out/save")
		if got != "old" && got != "new content" || err == nil && got != "new content" {
			t.Fatalf("crash before step %d: %q, %v", step, got, err)
		}
		if !crashed {
			return
		}
	}
}

// Goal: a full or failing disk leaves nothing.
func TestFileErrors(t *testing.T) {
	m := host.NewMemFS(1)
	fs := m.FS()
	if err := fs.MkdirAll("/out", 0o700); err != nil {
		t.Fatal(err)
	}
	bad := errors.New("platter on fire")
	w := newFile(t, fs, false, "x")
	m.FailNextSync(bad)
	if err := w.Commit(); !errors.Is(err, bad) {
		t.Errorf("a sync that failed: %v", err)
	}
	w = newFile(t, fs, false, "x")
	m.FailNextSync(bad)
	if _, err := w.Write(make([]byte, WriteOutEvery)); !errors.Is(err, bad) || !errors.Is(w.Err(), bad) {
		t.Errorf("a sync on the way that failed: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, bad) {
		t.Errorf("commit behind an error: %v", err)
	}
	if got := names(t, fs, "/out"); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}
