// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"math"
)

// shellSectionVersion is the first byte of the shell's section.
const shellSectionVersion = 2

// View is a machine as it was at one entry. Its methods belong to one goroutine, which need not be the
// applying one. It must be closed.
type View struct {
	index, term    uint64
	clusterVersion uint32
	opts           Options
	shell          []byte
	frozen         Frozen
}

// View freezes the machine, on the applying goroutine and in time that does not depend on the size of
// the state. It fails while an earlier view is open, and with ErrStopped once the machine stopped.
func (m *Machine) View() (*View, error) {
	if m.stopped != nil {
		return nil, ErrStopped
	}
	f, err := m.state.Freeze()
	if err != nil {
		return nil, err
	}
	index, term := m.Applied()
	return &View{
		index: index, term: term, clusterVersion: m.clusterVersion.Load(),
		opts: m.opts, shell: m.appendShell(nil), frozen: f,
	}, nil
}

// Applied gives the entry that the view stands behind.
func (v *View) Applied() (index, term uint64) { return v.index, v.term }

// Close lets the view go; more than once is harmless.
func (v *View) Close() { v.frozen.Close() }

// appendShell encodes what the machine itself knows: the first section of a snapshot, and what the
// machine's digest is taken of.
func (m *Machine) appendShell(dst []byte) []byte {
	dst = append(dst, shellSectionVersion)
	dst = binary.AppendUvarint(dst, uint64(m.clock.Load()))
	dst = binary.AppendUvarint(dst, uint64(m.age))
	dst = binary.AppendUvarint(dst, m.version.Load())
	dst = binary.AppendUvarint(dst, uint64(m.clusterVersion.Load()))
	if planted("snapshot-without-sessions") {
		return append(dst, 0, 0)
	}
	dst = m.sessions.append(dst)
	return append(dst, 0) // extension area
}

// shellState is a parsed shell section.
type shellState struct {
	clock, age     int64
	version        uint64
	clusterVersion uint32
	sessions       sessionTable
}

func parseShell(data []byte) (*shellState, error) {
	r := reader{src: data}
	if v := r.byte("shell section version"); r.err == nil && v != shellSectionVersion {
		r.fail(ErrUnknown, "shell section version")
	}
	s := &shellState{
		clock:          int64(r.uint(MaxClock, "clock")),
		age:            int64(r.uint(math.MaxInt64, "age")),
		version:        r.uvarint("version"),
		clusterVersion: uint32(r.uint(MaxClusterVersion, "cluster version")),
	}
	s.sessions.load(&r)
	r.extensions("shell extensions", func(uint64, *reader) bool { return false })
	if r.err == nil && r.rest() != 0 {
		r.fail(ErrMalformed, "shell section")
	}
	return s, r.err
}
