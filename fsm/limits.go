// SPDX-License-Identifier: Apache-2.0

package fsm

// Limits of one command, in bytes where nothing else is said. Edges refuse what is over them; Apply
// itself obeys only what is replicated: the hard limits below and the group's maxvalue.
type Limits struct {
	MaxKey     int
	MaxValue   int // one argument, and a string or element after it grew
	MaxArgs    int // a count
	MaxCommand int // all arguments together
}

// The default limits. MaxKeyBytes is also what Apply enforces; the default of the replicated maxvalue
// is DefaultMaxValue.
const (
	MaxKeyBytes     = 64 << 10
	DefaultMaxValue = 16 << 20
	MaxArgCount     = 1 << 20
	// commandSlack is room in a command for what is not its largest value.
	commandSlack = 1 << 20
)

// DefaultLimits gives the limits used when nothing else is configured.
func DefaultLimits() Limits {
	return Limits{MaxKey: MaxKeyBytes, MaxValue: DefaultMaxValue, MaxArgs: MaxArgCount, MaxCommand: DefaultMaxValue + commandSlack}
}

// WithMaxValue gives l for another largest value.
func (l Limits) WithMaxValue(n int) Limits {
	l.MaxValue, l.MaxCommand = n, n+commandSlack
	return l
}

func (l *Limits) check(s *Spec, args [][]byte) (Result, bool) {
	if len(args) > l.MaxArgs {
		return fail(TextTooManyArgs)
	}
	total := 0
	bundle := s.Op == OpExec || s.Op == OpEffect // whose arguments are commands, and are checked as such
	for _, a := range args {
		if len(a) > l.MaxValue && !bundle {
			return fail(TextStringTooBig)
		}
		total += len(a)
	}
	first, end, step := s.KeyRange(len(args))
	for i := first; i < end; i += step {
		if len(args[i]) > l.MaxKey {
			return fail(TextKeyTooBig)
		}
	}
	first, end = s.CountedKeys(args)
	for i := first; i < end; i++ {
		if len(args[i]) > l.MaxKey {
			return fail(TextKeyTooBig)
		}
	}
	if i := s.announcedKey(args); i > 0 && len(args[i]) > l.MaxKey {
		return fail(TextKeyTooBig)
	}
	if total > l.MaxCommand {
		return fail(TextCommandTooBig)
	}
	return Result{}, true
}
