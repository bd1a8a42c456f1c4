// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
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
		var b struct {
			Base64 *[]byte `json:"base64"`
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&b); err != nil || b.Base64 == nil {
			return errors.New("an object stands for bytes: {\"base64\":\"…\"}")
		}
		*a = *b.Base64
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

// readJSON reads a small body of an administrative request.
func (e *edge) readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	body, ok := e.readBody(w, r, freeBody)
	defer body.release()
	if !ok {
		return false
	}
	if err := json.Unmarshal(body.bytes, into); err != nil {
		writeError(w, http.StatusBadRequest, "the body is not the JSON expected: "+err.Error(), "request", appliedNo)
		return false
	}
	return true
}

// errTooMany is returned for more arguments or commands than the limit.
var errTooMany = errors.New("too many arguments or commands in one request")

// words reads a JSON array of arguments, element by element so that its size is known before it is
// there. left is how many arguments there may be; what they took is gone from it.
func words(dec *json.Decoder, left *int) ([]argument, error) {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.Join(errors.New("a command is an array"), err)
	}
	var list []argument
	for dec.More() {
		if *left--; *left < 0 {
			return nil, errTooMany
		}
		var a argument
		if err := dec.Decode(&a); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	_, err := dec.Token()
	return list, err
}

// commands reads the body of a pipeline: an array of commands.
func commands(dec *json.Decoder, left int) (lists [][]argument, err error) {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.Join(errors.New("a pipeline is an array of arrays"), err)
	}
	for dec.More() {
		if len(lists) == maxPipeline {
			return nil, errTooMany
		}
		list, err := words(dec, &left)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	_, err = dec.Token()
	return lists, err
}

// decode reads the body as JSON through f and wants nothing behind it.
func (e *edge) decode(w http.ResponseWriter, r *http.Request, f func(dec *json.Decoder, left int) error) bool {
	body, ok := e.readBody(w, r, jsonFactor*e.cfg.Limits.MaxCommand)
	defer body.release()
	if !ok {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(body.bytes))
	err := f(dec, e.cfg.Limits.MaxArgs)
	if err == nil {
		if _, err = dec.Token(); err == nil {
			err = errors.New("something stands behind it")
		} else if errors.Is(err, io.EOF) {
			return true
		}
	}
	if errors.Is(err, errTooMany) {
		writeError(w, http.StatusRequestEntityTooLarge, err.Error(), "too-big", appliedNo)
		return false
	}
	writeError(w, http.StatusBadRequest, "the body is not the JSON expected: "+err.Error(), "request", appliedNo)
	return false
}

func (e *edge) exec(w http.ResponseWriter, r *http.Request) {
	var list []argument
	if !e.decode(w, r, func(dec *json.Decoder, left int) (err error) { list, err = words(dec, &left); return err }) {
		return
	}
	cmd, bad := e.commandOf(list)
	if bad != nil {
		writeOutcome(w, bad)
		return
	}
	if res, ok := e.do(w, r, cmd.Op, cmd.Args...); ok {
		writeJSON(w, http.StatusOK, toJSON(&res))
	}
}

// pipeline runs many commands in order; each has its own reply, failures included, so the answer is
// 200 whatever became of them. Replies are sent as they come, so that few are held at one time.
func (e *edge) pipeline(w http.ResponseWriter, r *http.Request) {
	var lists [][]argument
	if !e.decode(w, r, func(dec *json.Decoder, left int) (err error) { lists, err = commands(dec, left); return err }) {
		return
	}
	caller, ok := e.caller(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	separator := "["
	for part := range slices.Chunk(lists, pipelineStep) {
		for _, reply := range e.step(r, caller, part) {
			text, err := json.Marshal(reply)
			if err != nil {
				text = []byte(unprintable)
			}
			if _, err := w.Write(append([]byte(separator), text...)); err != nil {
				return // the client is gone
			}
			separator = ","
		}
	}
	if len(lists) == 0 {
		_, _ = w.Write([]byte("["))
	}
	_, _ = w.Write([]byte("]\n"))
}

// step runs one router call's share of a pipeline.
func (e *edge) step(r *http.Request, caller *shard.Caller, lists [][]argument) []any {
	replies := make([]any, len(lists))
	var cmds []fsm.Command
	var at []int
	for i, list := range lists {
		cmd, bad := e.commandOf(list)
		if bad != nil {
			replies[i] = toJSON(bad)
			continue
		}
		cmds, at = append(cmds, cmd), append(at, i)
	}
	out := make([]shard.Reply, len(cmds))
	e.cfg.Router.Do(r.Context(), caller, cmds, out)
	for i := range out {
		if err := out[i].Err; err != nil {
			_, replies[at[i]] = failureStatus(err)
			continue
		}
		replies[at[i]] = toJSON(&out[i].Result)
	}
	return replies
}
