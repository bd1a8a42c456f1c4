// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
)

// RemoveStep is how many bytes RemoveGently frees at a time.
const RemoveStep = 2 << 20

// RemoveGently removes a file that may be large and that nobody has open. A file system that frees
// many blocks at once, and tells the disk to discard them, holds up everybody's syncs meanwhile: 30 ms for
// 100 MB on ext4. So the file is cut off piece by piece, with a pause behind each; once pause returns false
// the rest goes at once. A crash may leave a part of the file.
func RemoveGently(fs FS, name string, pause func() bool) error {
	if err := shrink(fs, name, pause); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("host: shrink: %w", err)
	}
	return fs.Remove(name)
}

func shrink(fs FS, name string, pause func() bool) error {
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size, err := f.Size()
	for err == nil && size > RemoveStep {
		size -= RemoveStep
		if err = f.Truncate(size); err == nil && !pause() {
			break
		}
	}
	return errors.Join(err, f.Close())
}
