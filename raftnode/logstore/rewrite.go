// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"fmt"
	"io"

	"github.com/kvorum/kvorum/internal/host"
)

// rewrite writes the bytes [from, to) of a file over themselves, so that the next sync writes them to
// the disk whatever the cache thinks of them. Recovery does so with the one write that may have been
// under way when the last process ended: when a sync fails, the kernel keeps the bytes for readers,
// takes them for clean, and a later sync that succeeds says nothing of them. What recovery reads it
// acts on, so it must not come from the cache alone. Everything older was synced without an error.
func rewrite(f host.File, from, to int64) error {
	if planted("trust-cache") {
		return nil
	}
	b := make([]byte, to-from)
	if _, err := io.ReadFull(io.NewSectionReader(f, from, to-from), b); err != nil {
		return err
	}
	_, err := f.WriteAt(b, from)
	if isSpace(err) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
