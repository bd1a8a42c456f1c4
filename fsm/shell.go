// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"math"
)

// firstStateOp is the lowest number that goes to the state; the ones below are the shell's.
const firstStateOp Op = 16

// shellSpecs are the commands of every table.
func shellSpecs() []Spec {
	return []Spec{
		{Op: OpOpenSession, Name: "OPENSESSION", Arity: 1, Write: true, Internal: true, Categories: CatAdmin, Since: 1},
		{Op: OpClusterVersion, Name: "CLUSTERVERSION", Arity: 2, Write: true, Internal: true, Categories: CatAdmin, Since: 1},
	}
}

// OpenSession makes the command that opens a session.
func OpenSession() Command { return Command{Op: OpOpenSession} }

// RaiseClusterVersion makes the command that lets leaders propose up to version.
func RaiseClusterVersion(version uint32) Command {
	return Command{Op: OpClusterVersion, Args: [][]byte{formatInt(int64(version))}}
}

func (m *Machine) runShell(s *Spec, cmd *Command) (Result, error) {
	if !s.arityFits(len(cmd.Args)) {
		return s.WrongArity(), nil
	}
	if s.Op == OpOpenSession {
		id, ok := m.sessions.open()
		if !ok {
			return Error(CodeError, "ERR too many sessions"), nil
		}
		return Int(int64(id)), nil
	}
	v, ok := parseUint(cmd.Args[0], math.MaxUint32)
	if !ok {
		return Error(CodeNotInteger, TextNotInteger), nil
	}
	if v > MaxClusterVersion {
		return Result{}, fmt.Errorf("cluster version %d: %w", v, ErrUnknown)
	}
	m.clusterVersion.Store(max(m.clusterVersion.Load(), uint32(v)))
	return OK(), nil
}
