// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"strings"
)

// The texts of errors, worded as Redis words them.
const (
	TextWrongType      = "WRONGTYPE Operation against a key holding the wrong kind of value"
	TextSyntax         = "ERR syntax error"
	TextNotInteger     = "ERR value is not an integer or out of range"
	TextNotPositive    = "ERR value is out of range, must be positive"
	TextOverflow       = "ERR increment or decrement would overflow"
	TextDecrOverflow   = "ERR decrement would overflow"
	TextHashNotInt     = "ERR hash value is not an integer"
	TextNoSuchKey      = "ERR no such key"
	TextSameKey        = "ERR source and destination objects are the same"
	TextDBIndex        = "ERR DB index is out of range"
	TextDBNumber       = "ERR value is out of range, value must between -2147483648 and 2147483647"
	TextNoFrequency    = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
	TextNoIdleTime     = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
	TextNotQueued      = "ERR not in a transaction: each replica knows its own"
	TextBitOffset      = "ERR bit offset is not an integer or out of range"
	TextBit            = "ERR bit is not an integer or out of range"
	TextBitArgument    = "ERR The bit argument must be 1 or 0."
	TextBitOpNot       = "ERR BITOP NOT must be called with a single source key."
	TextBitFieldType   = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
	TextBitFieldRO     = "ERR BITFIELD_RO only supports the GET subcommand"
	TextOverflowType   = "ERR Invalid OVERFLOW type specified"
	TextNotHLL         = "WRONGTYPE Key is not a valid HyperLogLog string value."
	TextDamagedHLL     = "INVALIDOBJ Corrupted HLL object detected"
	TextLCSTypes       = "ERR The specified keys must contain string values"
	TextLCSBoth        = "ERR If you want both the length and indexes, please just use IDX."
	TextLCSMemory      = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
	TextIndexRange     = "ERR index out of range"
	TextOffsetRange    = "ERR offset is out of range"
	TextStringTooBig   = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	TextKeyTooBig      = "ERR key exceeds maximum allowed size"
	TextCommandTooBig  = "ERR command exceeds maximum allowed size"
	TextReplyTooBig    = "ERR reply exceeds maximum allowed size"
	TextBusyKey        = "BUSYKEY Target key name already exists."
	TextInvalidTTL     = "ERR Invalid TTL value, must be >= 0"
	TextIdleTime       = "ERR Invalid IDLETIME value, must be >= 0"
	TextFrequency      = "ERR Invalid FREQ value, must be >= 0 and <= 255"
	TextPayload        = "ERR Bad data format"
	TextPayloadSum     = "ERR DUMP payload version or checksum are wrong"
	TextRestoreTooMany = "ERR too many elements to restore"
	TextSortBy         = "ERR BY option of SORT denied in cluster mode."
	TextSortGet        = "ERR GET option of SORT denied in cluster mode."
	TextSortScores     = "ERR One or more scores can't be converted into double"
	TextSortTooMany    = "ERR too many elements to sort"
	TextSortWork       = "ERR too much to sort"
	// TextBundleWork answers a command of a transaction whose others were too much work already.
	TextBundleWork    = "ERR too much work in one transaction"
	TextRepeated      = "ERR large keys are named again too often"
	TextReplyRoom     = "TRYAGAIN no room for the reply"
	TextTooManyArgs   = "ERR too many arguments"
	TextInvalidCursor = "ERR invalid cursor"
	TextOOM           = "OOM command not allowed when used memory > 'maxmemory'."
	TextExecOOM       = "EXECABORT Transaction discarded because of: " + TextOOM
	TextExpireNX      = "ERR NX and XX, GT or LT options at the same time are not compatible"
	TextExpireGTLT    = "ERR GT and LT options at the same time are not compatible"
	TextCrossSlot     = "CROSSSLOT Keys in request don't hash to the same slot"
	TextTokenExpired  = "TOKENEXPIRED a later request of this client is already recorded: outcome unknown"
	// TextTokenForgotten answers a repeated try whose record may have made room for others', or went with an import.
	TextTokenForgotten = "TOKENEXPIRED the slot had to forget requests since, perhaps this one: outcome unknown"
	TextReplyDropped   = "REPLYDROPPED applied, but the reply was too large to keep"
	TextSlotMoved      = "MOVED slot is not owned by this group"
	TextSlotFrozen     = "TRYAGAIN slot is being moved"
	TextVersion        = "VERSION current version is "
)

// OK is the status reply of a write that has nothing else to say.
func OK() Result { return Status("OK") }

// Status is a one-line reply.
func Status(s string) Result { return Result{Kind: KindStatus, Str: []byte(s)} }

// Int is an integer reply.
func Int(n int64) Result { return Result{Kind: KindInt, Int: n} }

// Bulk is a binary-safe reply. It takes b over: b must not alias the store or a log entry.
func Bulk(b []byte) Result { return Result{Kind: KindBulk, Str: b} }

// Null is the reply for what is not there.
func Null() Result { return Result{Kind: KindNull} }

// Array is a sequence of replies; it takes elems over.
func Array(elems []Result) Result { return Result{Kind: KindArray, Elems: elems} }

// Map is a sequence of pairs; it takes elems over.
func Map(elems []Result) Result { return Result{Kind: KindMap, Elems: elems} }

// Error is an outcome other than CodeOK with its whole text, prefix included.
func Error(code Code, text string) Result {
	return Result{Kind: KindError, Code: code, Str: []byte(text)}
}

// Errorf is Error with a format.
func Errorf(code Code, format string, args ...any) Result {
	return Result{Kind: KindError, Code: code, Str: fmt.Appendf(nil, format, args...)}
}

// IsError tells whether r is an outcome other than CodeOK.
func (r Result) IsError() bool { return r.Kind == KindError }

// Clone returns r with bytes of its own.
func (r Result) Clone() Result {
	if r.Str != nil {
		r.Str = append([]byte{}, r.Str...)
	}
	if r.Elems != nil {
		elems := make([]Result, len(r.Elems))
		for i, e := range r.Elems {
			elems[i] = e.Clone()
		}
		r.Elems = elems
	}
	return r
}

// WrongArity is the error for a number of arguments that s does not take.
func (s *Spec) WrongArity() Result {
	return Errorf(CodeArity, "ERR wrong number of arguments for '%s' command", strings.ToLower(s.Name))
}

// invalidExpire is the error for a deadline that is not positive or overflows.
func (s *Spec) invalidExpire() Result {
	return Errorf(CodeError, "ERR invalid expire time in '%s' command", strings.ToLower(s.Name))
}

// maxUnknownText bounds how much of an unknown command is repeated in its error, in bytes.
const maxUnknownText = 128

// UnknownCommand is the error for a name that no table knows.
func UnknownCommand(name []byte, args [][]byte) Result {
	var list strings.Builder
	for _, a := range args {
		if list.Len() >= maxUnknownText {
			break
		}
		fmt.Fprintf(&list, "'%.*s' ", maxUnknownText-list.Len(), printable(a))
	}
	return Errorf(CodeUnknown, "ERR unknown command '%.*s', with args beginning with: %s", maxUnknownText, printable(name), list.String())
}

// printable makes input fit for an error's one line, as Redis does: it ends at a zero byte, and line
// breaks become spaces.
func printable(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	out := bytes.ReplaceAll(b, []byte("\r"), []byte(" "))
	return bytes.ReplaceAll(out, []byte("\n"), []byte(" "))
}

// fail gives the error with a text of Redis, under the code that goes with it.
func fail(text string) (Result, bool) {
	code := CodeError
	switch text {
	case TextWrongType:
		code = CodeWrongType
	case TextSyntax, TextExpireNX, TextExpireGTLT, TextZAddNXXX, TextZAddGTLTNX, TextZAddIncr, TextRangeLimit, TextRangeLexScores:
		code = CodeSyntax
	case TextNotInteger, TextHashNotInt, TextNotPositive:
		code = CodeNotInteger
	case TextOverflow, TextDecrOverflow:
		code = CodeOverflow
	case TextNoSuchKey:
		code = CodeNoSuchKey
	case TextIndexRange, TextOffsetRange:
		code = CodeOutOfRange
	case TextStringTooBig, TextKeyTooBig, TextCommandTooBig, TextTooManyArgs, TextReplyTooBig, TextRepeated, TextSortTooMany, TextSortWork, TextBundleWork, TextRestoreTooMany:
		code = CodeTooBig
	}
	return Error(code, text), false
}
