// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"os"
	"testing"
)

// TestRemoveGently: a file goes piece by piece, and at once when there is no more time.
func TestRemoveGently(t *testing.T) {
	for _, c := range []struct {
		name           string
		size, patience int
		pauses         int
	}{
		{"small", RemoveStep, 100, 0},
		{"large", 5*RemoveStep + 1, 100, 5},
		{"hurried", 5*RemoveStep + 1, 2, 3},
		{"empty", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys, name := Real().FS, t.TempDir()+"/f"
			f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(make([]byte, c.size)); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			pauses := 0
			left := int64(c.size)
			err = RemoveGently(fsys, name, func() bool {
				pauses++
				info, err := fsys.Stat(name)
				if err != nil || info.Size >= left || left-info.Size > RemoveStep {
					t.Errorf("pause %d: %d bytes after %d, %v", pauses, info.Size, left, err)
				}
				left = info.Size
				return pauses <= c.patience
			})
			if err != nil {
				t.Fatal(err)
			}
			if pauses != c.pauses {
				t.Errorf("%d pauses, want %d", pauses, c.pauses)
			}
			if _, err := fsys.Stat(name); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
			if err := RemoveGently(fsys, name, nil); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("again: %v", err)
			}
		})
	}
}
