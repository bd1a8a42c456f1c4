// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/kvorum/kvorum/snapshots"
)

// ErrRestoreBroken is returned by Restore when the load of a verified snapshot failed: the state is
// unusable and the process must stop.
var ErrRestoreBroken = errors.New("fsm: restore failed after the old state was given up")

// ErrOtherGroup is returned by Restore for a snapshot of another cluster or group.
var ErrOtherGroup = errors.New("fsm: snapshot of another cluster or group")

// WriteTo writes the view as a snapshot stream and tells how many bytes it wrote.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	cw := &countingWriter{w: w}
	sw, err := snapshots.NewWriter(cw, snapshots.Header{
		ClusterVersion: v.clusterVersion,
		Cluster:        v.opts.Cluster,
		Group:          v.opts.Group,
		Epoch:          v.frozen.Epoch(),
		Index:          v.index,
		Term:           v.term,
	})
	if err != nil {
		return cw.n, err
	}
	if err := sw.Section(SectionShell, 0, v.shell); err != nil {
		return cw.n, err
	}
	if err := v.frozen.Sections(sw.Section); err != nil {
		return cw.n, err
	}
	return cw.n, sw.Close()
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Restore replaces the machine's state by a snapshot, on the applying goroutine. It reads and verifies
// the whole stream before anything changes: any error but ErrRestoreBroken leaves the machine as it was.
// Readers meanwhile are told that the slots moved. A reader that is an io.ReadSeeker is read twice, from
// its beginning; any other is first copied to memory.
func (m *Machine) Restore(r io.Reader) error {
	if m.stopped != nil {
		return ErrStopped
	}
	rs, ok := r.(io.ReadSeeker)
	if !ok {
		data, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("fsm: restore: %w", err)
		}
		rs = bytes.NewReader(data)
	}
	shell, h, err := m.verify(rs)
	if err != nil {
		return fmt.Errorf("fsm: restore: verify: %w", err)
	}
	if _, err := rs.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("fsm: restore: %w", err)
	}
	if err := m.load(rs, shell); err != nil {
		m.stopped = fmt.Errorf("%w: %w", ErrRestoreBroken, err)
		return m.stopped
	}
	m.term.Store(h.Term)
	m.index.Store(h.Index)
	return nil
}

// verify reads a stream to its end and changes nothing.
func (m *Machine) verify(r io.ReadSeeker) (*shellState, snapshots.Header, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, snapshots.Header{}, err
	}
	sr, err := snapshots.NewReader(r)
	if err != nil {
		return nil, snapshots.Header{}, err
	}
	h := sr.Header()
	if h.Cluster != m.opts.Cluster || h.Group != m.opts.Group {
		return nil, h, fmt.Errorf("cluster %q group %d: %w", h.Cluster, h.Group, ErrOtherGroup)
	}
	if h.ClusterVersion > MaxClusterVersion {
		return nil, h, fmt.Errorf("cluster version %d: %w", h.ClusterVersion, ErrUnknown)
	}
	var shell *shellState
	for {
		s, err := sr.Skim(func(kind uint8) bool { return kind == SectionShell })
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, h, err
		}
		if first := shell == nil; first != (s.Kind == SectionShell) || !first && s.Kind < SectionState {
			return nil, h, fmt.Errorf("section kind %d: %w", s.Kind, ErrUnknown)
		}
		if shell == nil {
			if shell, err = parseShell(s.Data); err != nil {
				return nil, h, err
			}
		}
	}
	if shell == nil {
		return nil, h, fmt.Errorf("no shell section: %w", ErrMalformed)
	}
	return shell, h, nil
}

// load takes the state over from a verified stream. The clock is set before readers are let in.
func (m *Machine) load(r io.Reader, shell *shellState) error {
	sr, err := snapshots.NewVerifiedReader(r)
	if err != nil {
		return err
	}
	m.state.BeginLoad()
	for {
		s, err := sr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if s.Kind == SectionShell {
			continue
		}
		if err := m.state.Load(s.Kind, s.ID, s.Data); err != nil {
			return err
		}
	}
	if !planted("restore-clock") {
		m.clock.Store(shell.clock)
	}
	m.age = shell.age
	m.version.Store(shell.version)
	m.clusterVersion.Store(shell.clusterVersion)
	m.sessions.adopt(&shell.sessions)
	return m.state.EndLoad()
}
