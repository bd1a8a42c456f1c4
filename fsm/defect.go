// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"runtime/debug"
)

// DefectError tells of a panic: a defect of this program, met while an entry was applied or a read ran. A write that
// met one may be half done, and its slots stay locked so that nobody sees that half: who reads
// them waits until the process has ended, which Options.Fatal must see to. A read that met one has let its slots go.
type DefectError struct {
	// Doing says what was under way: an entry by its index, or a read by its command.
	Doing string
	// Panic is the value of the panic.
	Panic any
	// Stack is the goroutine's when it panicked, as runtime/debug writes it.
	Stack []byte
}

func (e *DefectError) Error() string { return fmt.Sprintf("fsm: %s: defect: %v", e.Doing, e.Panic) }

// defectOf is called by the deferred function that recovered p.
func defectOf(doing string, p any) *DefectError {
	return &DefectError{Doing: doing, Panic: p, Stack: debug.Stack()}
}
