// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kvorum/kvorum/integration/history"
)

type registerInput struct {
	f           history.Func
	arg, expect string
}

type registerOutput struct {
	unknown bool
	found   bool
	value   string
	number  int64
}

type registerState struct {
	present bool
	value   string
}

// registerModel is a single key under GET, SET, DEL and compare-and-set by value; INCR is the same
// register read as a decimal. An unknown answer fits any state.
func registerModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return registerState{} },
		Step: func(state, input, output any) (bool, any) {
			return registerStep(state.(registerState), input.(registerInput), output.(registerOutput))
		},
		DescribeOperation: func(input, output any) string {
			in, out := input.(registerInput), output.(registerOutput)
			if out.unknown {
				return fmt.Sprintf("%s(%s) → ?", in.f, in.arg)
			}
			return fmt.Sprintf("%s(%s) → %q %t", in.f, in.arg, out.value, out.found)
		},
		DescribeState: func(state any) string {
			s := state.(registerState)
			if !s.present {
				return "absent"
			}
			return s.value
		},
	}
}

func registerStep(s registerState, in registerInput, out registerOutput) (bool, any) {
	switch in.f {
	case history.Read:
		return out.found == s.present && (!s.present || out.value == s.value), s
	case history.Write:
		return true, registerState{present: true, value: in.arg}
	case history.Delete:
		return out.unknown || out.found == s.present, registerState{}
	case history.CAS:
		match := s.present && s.value == in.expect
		next := s
		if match {
			next = registerState{present: true, value: in.arg}
		}
		return out.unknown || out.found == match, next
	case history.Incr:
		var n int64
		if s.present {
			if _, err := fmt.Sscanf(s.value, "%d", &n); err != nil {
				return false, s
			}
		}
		n++
		return out.unknown || out.number == n, registerState{present: true, value: fmt.Sprint(n)}
	default:
		return false, s
	}
}

// Registers checks the histories of all keys with porcupine, each with its own time limit. An
// undecided key is an anomaly of kind "undecided".
func Registers(ops []history.Op, limit time.Duration) []Anomaly {
	var found []Anomaly
	byKey := history.ByKey(ops)
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		pops := porcupineOps(byKey[key])
		switch porcupine.CheckOperationsTimeout(registerModel(), pops, limit) {
		case porcupine.Ok:
		case porcupine.Illegal:
			found = append(found, Anomaly{"not-linearizable", key, fmt.Sprintf("no order of its %d operations explains the answers", len(pops))})
		case porcupine.Unknown:
			found = append(found, Anomaly{"undecided", key, fmt.Sprintf("%d operations not decided within %v", len(pops), limit)})
		}
	}
	return found
}

// porcupineOps drops failed operations and unknown reads, and closes the interval of an unknown
// write whose unique value was seen: it took effect before the first successful read that returned
// it had ended. An unknown write whose value nobody ever saw stays open for ever.
func porcupineOps(ops []history.Op) []porcupine.Operation {
	seen := map[string]int64{}
	for _, op := range ops {
		if op.Func == history.Read && op.Out == history.OK && op.Found {
			if at, ok := seen[op.Value]; !ok || op.Return < at {
				seen[op.Value] = op.Return
			}
		}
	}
	var out []porcupine.Operation
	for _, op := range ops {
		unknown := op.Out == history.Unknown
		if op.Out == history.Fail || unknown && op.Func == history.Read {
			continue
		}
		ret := op.Return
		if unknown {
			ret = math.MaxInt64
			if at, ok := seen[op.Arg]; ok && op.Func == history.Write && at > op.Call {
				ret = at
			}
		}
		out = append(out, porcupine.Operation{
			ClientId: op.Client,
			Input:    registerInput{f: op.Func, arg: op.Arg, expect: op.Expect},
			Output:   registerOutput{unknown: unknown, found: op.Found, value: op.Value, number: op.Len},
			Call:     op.Call,
			Return:   ret,
		})
	}
	return out
}
