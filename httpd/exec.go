// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// JSON forms. An argument is a string, a number, or {"base64":"…"} for bytes that are no text. A
// reply is null, a number, a boolean, a string, {"base64":"…"}, an array, an array of pairs for a map
// whose keys are no text, or an object for one whose keys are; an error is {"error","kind"}.

// bytesJSON is how bytes that are no valid UTF-8 travel.
type bytesJSON struct {
	Base64 []byte `json:"base64"`
}

type argument []byte

func (a *argument) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		*a = []byte(s)
		return nil
	case '{':
		var b bytesJSON
		if err := json.Unmarshal(text, &b); err != nil {
			return err
		}
		*a = b.Base64
		return nil
	}
	if c := text[0]; c != '-' && (c < '0' || c > '9') {
		return fmt.Errorf("an argument is a string, a number or {\"base64\":…}, not %s", text)
	}
	*a = append([]byte(nil), text...)
	return nil
}

func textJSON(b []byte) any {
	if utf8.Valid(b) {
		return string(b)
	}
	return bytesJSON{b}
}

// toJSON gives a value that encoding/json prints.
func toJSON(res *fsm.Result) any {
	switch res.Kind {
	case fsm.KindInt:
		return res.Int
	case fsm.KindDouble:
		if math.IsNaN(res.Dbl) || math.IsInf(res.Dbl, 0) {
			return strconv.FormatFloat(res.Dbl, 'g', -1, 64)
		}
		return res.Dbl
	case fsm.KindBool:
		return res.Int != 0
	case fsm.KindBulk, fsm.KindStatus, fsm.KindBigNumber:
		return textJSON(res.Str)
	case fsm.KindVerbatim:
		return textJSON(res.Str[min(4, len(res.Str)):])
	case fsm.KindError:
		return map[string]any{"error": string(res.Str), "kind": outcomeKind(res.Code)}
	case fsm.KindArray, fsm.KindSet, fsm.KindPush:
		list := make([]any, len(res.Elems))
		for i := range res.Elems {
			list[i] = toJSON(&res.Elems[i])
		}
		return list
	case fsm.KindMap:
		return mapJSON(res.Elems)
	default:
		return nil
	}
}

func mapJSON(elems []fsm.Result) any {
	object := make(map[string]any, len(elems)/2)
	pairs := make([][2]any, 0, len(elems)/2)
	for i := 0; i+1 < len(elems); i += 2 {
		if !utf8.Valid(elems[i].Str) {
			object = nil
		}
		value := toJSON(&elems[i+1])
		if object != nil {
			object[string(elems[i].Str)] = value
		}
		pairs = append(pairs, [2]any{toJSON(&elems[i]), value})
	}
	if object == nil {
		return pairs
	}
	return object
}

// commandOf finds the command that words name. The error is an outcome.
func (e *edge) commandOf(words []argument) (fsm.Command, *fsm.Result) {
	if len(words) == 0 {
		res := fsm.Error(fsm.CodeArity, "ERR empty command")
		return fsm.Command{}, &res
	}
	args := make([][]byte, 0, len(words)-1)
	for _, a := range words[1:] {
		args = append(args, a)
	}
	spec, ok := e.cfg.Router.Table().Lookup(words[0])
	if !ok || spec.Internal {
		res := fsm.UnknownCommand(words[0], args)
		return fsm.Command{}, &res
	}
	return fsm.Command{Op: spec.Op, Args: args}, nil
}

func (e *edge) readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	body, ok := readBody(w, r, jsonFactor*e.cfg.Limits.MaxCommand)
	if !ok {
		return false
	}
	if err := json.Unmarshal(body, into); err != nil {
		writeError(w, http.StatusBadRequest, "the body is not the JSON expected: "+err.Error(), "request", appliedNo)
		return false
	}
	return true
}

func (e *edge) exec(w http.ResponseWriter, r *http.Request) {
	var words []argument
	if !e.readJSON(w, r, &words) {
		return
	}
	cmd, bad := e.commandOf(words)
	if bad != nil {
		writeOutcome(w, bad)
		return
	}
	if res, ok := e.do(w, r, cmd.Op, cmd.Args...); ok {
		writeJSON(w, http.StatusOK, toJSON(&res))
	}
}

// pipeline runs many commands in one call; each has its own reply, failures included, so the answer
// is 200 whatever became of them.
func (e *edge) pipeline(w http.ResponseWriter, r *http.Request) {
	var lists [][]argument
	if !e.readJSON(w, r, &lists) {
		return
	}
	if len(lists) > maxPipeline {
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d commands", maxPipeline), "too-big", appliedNo)
		return
	}
	replies := make([]any, len(lists))
	var cmds []fsm.Command
	var at []int
	for i, words := range lists {
		cmd, bad := e.commandOf(words)
		if bad != nil {
			replies[i] = toJSON(bad)
			continue
		}
		cmds, at = append(cmds, cmd), append(at, i)
	}
	out := make([]shard.Reply, len(cmds))
	e.cfg.Router.Do(r.Context(), e.caller(r), cmds, out)
	for i := range out {
		if err := out[i].Err; err != nil {
			_, replies[at[i]] = failureStatus(err)
			continue
		}
		replies[at[i]] = toJSON(&out[i].Result)
	}
	writeJSON(w, http.StatusOK, replies)
}
