// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// What a failed request says about its effect.
const (
	appliedNo      = "no"
	appliedUnknown = "unknown"
	appliedYes     = "yes"
)

// failure is the body of every answer of 400 and above.
type failure struct {
	Error string `json:"error"`
	// Kind is a short stable word for the cause.
	Kind string `json:"kind"`
	// Applied is "no", "unknown" or, for a reply that was not kept, "yes".
	Applied string `json:"applied"`
	// Leader is the id of the node that leads the key's group, when known.
	Leader string `json:"leader,omitempty"`
}

// unprintable stands for a reply that JSON has no form for.
const unprintable = `{"error":"unprintable reply","kind":"internal","applied":"unknown"}`

func writeError(w http.ResponseWriter, status int, text, kind, applied string) {
	writeJSON(w, status, failure{Error: text, Kind: kind, Applied: applied})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(unprintable)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// writeOutcome maps an outcome that is an error to its status. It is the only place that does.
func writeOutcome(w http.ResponseWriter, res *fsm.Result) {
	status, applied := http.StatusBadRequest, appliedNo
	switch res.Code {
	case fsm.CodeWrongType:
		status = http.StatusConflict
	case fsm.CodeNoSuchKey:
		status = http.StatusNotFound
	case fsm.CodeTooBig:
		status = http.StatusRequestEntityTooLarge
	case fsm.CodeVersion:
		status = http.StatusPreconditionFailed
	case fsm.CodeOOM:
		status = http.StatusInsufficientStorage
	case fsm.CodeSlotMoved, fsm.CodeSlotFrozen:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case fsm.CodeTokenExpired:
		status, applied = http.StatusGatewayTimeout, appliedUnknown
	case fsm.CodeReplyDropped:
		status, applied = http.StatusOK, appliedYes
	}
	writeError(w, status, string(res.Str), outcomeKind(res.Code), applied)
}

// outcomeKind names an outcome in JSON.
func outcomeKind(c fsm.Code) string {
	names := map[fsm.Code]string{
		fsm.CodeWrongType: "wrong-type", fsm.CodeSyntax: "syntax", fsm.CodeNotInteger: "not-integer", fsm.CodeOverflow: "overflow",
		fsm.CodeNoSuchKey: "no-such-key", fsm.CodeOutOfRange: "out-of-range", fsm.CodeTooBig: "too-big", fsm.CodeVersion: "version",
		fsm.CodeOOM: "out-of-memory", fsm.CodeSlotMoved: "slot-moved", fsm.CodeSlotFrozen: "slot-frozen", fsm.CodeArity: "arity",
		fsm.CodeUnknown: "unknown-command", fsm.CodeCrossSlot: "cross-slot", fsm.CodeTokenExpired: "token-expired",
		fsm.CodeReplyDropped: "reply-dropped",
	}
	if n := names[c]; n != "" {
		return n
	}
	return "error"
}

// failureStatus maps a delivery failure to its status and body. It is the only place that does.
func failureStatus(err error) (int, failure) {
	e, ok := errors.AsType[*shard.Error](err)
	if !ok {
		return http.StatusGatewayTimeout, failure{Error: err.Error(), Kind: "unknown", Applied: appliedUnknown}
	}
	f := failure{Error: e.Error(), Kind: strings.ReplaceAll(e.Kind.String(), " ", "-"), Applied: appliedNo, Leader: e.Leader}
	if !e.NotApplied() {
		f.Applied = appliedUnknown
		return http.StatusGatewayTimeout, f
	}
	switch e.Kind {
	case shard.KindNoSpace:
		return http.StatusInsufficientStorage, f
	case shard.KindDenied:
		return http.StatusForbidden, f
	case shard.KindInvalid:
		return http.StatusBadRequest, f
	default:
		return http.StatusServiceUnavailable, f
	}
}

func writeFailure(w http.ResponseWriter, err error) {
	status, f := failureStatus(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, f)
}

// writeAdmin answers with an error of an administrative call.
func writeAdmin(w http.ResponseWriter, err error) {
	status, applied := adminStatus(err)
	writeError(w, status, err.Error(), "admin", applied)
}

// adminStatus maps an error of an administrative call. It is the only place that does.
func adminStatus(err error) (status int, applied string) {
	for _, row := range []struct {
		err    error
		status int
	}{
		{shard.ErrUninitialised, http.StatusServiceUnavailable},
		{shard.ErrBehind, http.StatusServiceUnavailable},
		{shard.ErrClosing, http.StatusServiceUnavailable},
		{shard.ErrInitialised, http.StatusConflict},
		{shard.ErrHasData, http.StatusConflict},
		{shard.ErrLeft, http.StatusConflict},
		{shard.ErrBusy, http.StatusConflict},
		{shard.ErrRefused, http.StatusConflict},
		{shard.ErrLastNode, http.StatusConflict},
		{shard.ErrMemberUninitialised, http.StatusConflict},
		{shard.ErrNotEmpty, http.StatusConflict},
		{shard.ErrNotRestoring, http.StatusConflict},
		{shard.ErrHoldLost, http.StatusConflict},
		{shard.ErrRestoreDigest, http.StatusConflict},
		{fsm.ErrSaveMoved, http.StatusConflict},
		{shard.ErrBadSave, http.StatusBadRequest},
		{shard.ErrUnreachable, http.StatusBadGateway},
		{shard.ErrNoSuchNode, http.StatusNotFound},
		{shard.ErrNoSuchGroup, http.StatusNotFound},
	} {
		if errors.Is(err, row.err) {
			return row.status, appliedNo
		}
	}
	if errors.Is(err, shard.ErrUndecided) {
		return http.StatusGatewayTimeout, appliedUnknown
	}
	return http.StatusInternalServerError, appliedUnknown
}
