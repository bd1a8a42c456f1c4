// SPDX-License-Identifier: Apache-2.0

package script

import (
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Limits of a script.
const (
	// MaxSource bounds a script's text, in bytes.
	MaxSource = 256 << 10
	// DefaultTime is how long a script may run.
	DefaultTime = 5 * time.Second
	// MaxTrial bounds what the copies of the keys that a script writes may take, in logical bytes.
	MaxTrial = 64 << 20
	// maxHeap is by how much the process' heap may have grown since a script began, in bytes, when the script itself may
	// have taken as much.
	maxHeap = 192 << 20
	// maxString bounds a string that a script builds, in bytes.
	maxString = 16 << 20
	// maxArray bounds the elements of a table's array; higher indexes are kept as keys.
	maxArray = 1 << 20
	// maxUnpack bounds the values that unpack gives.
	maxUnpack = 1 << 15
	// maxNesting bounds the depth of a script's syntax.
	maxNesting = 200
	// maxDepth bounds the depth of calls, maxThreadDepth that in a coroutine, maxThreads the coroutines of a run.
	maxDepth       = 4096
	maxThreadDepth = 200
	maxThreads     = 64
	// maxValues bounds the values on the stack.
	maxValues = 1 << 17
	// maxReplyDepth bounds the depth of a reply.
	maxReplyDepth = 64
	// maxMatches bounds the steps of one match of a pattern, maxMatchDepth its recursion.
	maxMatches    = 10_000_000
	maxMatchDepth = 200
	// matchesEvery is how many steps pass between two looks at the meter.
	matchesEvery = 1 << 16
	// maxPublished bounds the messages of a script, in bytes.
	maxPublished = 1 << 20
	// maxLogs bounds the lines that a script logs.
	maxLogs = 64
	// maxLog bounds one such line, in bytes.
	maxLog = 1 << 10
	// maxConstants bounds the constants of a function, maxLookups what the compiler compares to find them and the local
	// names: it walks over all that there are.
	maxConstants = 8192
	maxLookups   = 1 << 26
)

// The meter's own measures.
const (
	// lookEvery is how many instructions pass between two looks at the clock.
	lookEvery = 1 << 10
	// stepBytes is what an instruction takes of the heap at most, but for what is charged, in bytes.
	stepBytes = 256
	// nextBytes is what a step of a walk over a table may look at: the keys that are gone are walked over.
	nextBytes = 16 << 10
	// heapEvery is how many bytes a script may have taken between two looks at the heap.
	heapEvery = 8 << 20
	// doubt is by how much a script may have taken more than was charged.
	doubt = 8
	// collectEvery is how long garbage may lie when a script is suspected.
	collectEvery = time.Second
)

// arrays is the interpreter's own setting for maxArray, made once, before anything runs.
var _ = limitArrays()

func limitArrays() int {
	lua.MaxArrayIndex = maxArray
	return maxArray
}
