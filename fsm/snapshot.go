// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"errors"
	"io"
)

// ErrRestoreBroken is returned by Restore when the load of a verified snapshot failed: the state is
// unusable and the process must stop.
var ErrRestoreBroken = errors.New("fsm: restore failed after the old state was given up")

// WriteTo writes the view as a snapshot stream.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	return 0, errors.ErrUnsupported
}

// Restore replaces the machine's state by a snapshot, on the applying goroutine. It reads and verifies
// the whole stream before anything changes: any error but ErrRestoreBroken leaves the machine as it was.
// Readers meanwhile are told that the slots moved. A reader that is an io.ReadSeeker is read twice; any
// other is first copied to memory.
func (m *Machine) Restore(r io.Reader) error {
	return errors.ErrUnsupported
}
