// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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
	e.stream(w, r, cmd.Op, cmd.Args, func(res *fsm.Result) {
		w.Header().Set("Content-Type", "application/json")
		j := jsonWriter{w: w}
		j.result(res)
		j.raw("\n")
		_ = j.flush() // the client is gone
	})
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
	j := jsonWriter{w: w}
	separator := "["
	for part := range slices.Chunk(lists, pipelineStep) {
		if err := e.step(r, caller, part, &j, &separator); err != nil {
			return // the client is gone
		}
	}
	if len(lists) == 0 {
		j.raw("[")
	}
	j.raw("]\n")
	_ = j.flush()
}

// step runs one router call's share of a pipeline and writes its replies, each behind the separator. The
// error is the client's connection's.
func (e *edge) step(r *http.Request, caller *shard.Caller, lists [][]argument, j *jsonWriter, separator *string) error {
	bad := make([]*fsm.Result, len(lists))
	cmds := make([]fsm.Command, 0, len(lists))
	for i, list := range lists {
		cmd, res := e.commandOf(list)
		if bad[i] = res; res == nil {
			cmds = append(cmds, cmd)
		}
	}
	next := 0
	// wrong writes the replies of commands that there are none of, up to the next that there is.
	wrong := func() {
		for ; next < len(bad) && bad[next] != nil; next++ {
			j.raw(*separator)
			j.result(bad[next])
			*separator = ","
		}
	}
	err := e.cfg.Router.Stream(r.Context(), caller, cmds, make([]shard.Reply, len(cmds)), func(out []shard.Reply) error {
		for i := range out {
			wrong()
			j.raw(*separator)
			*separator = ","
			if err := out[i].Err; err != nil {
				_, f := failureStatus(err)
				j.value(f)
			} else {
				j.result(&out[i].Result)
			}
			next++
		}
		return j.flush()
	})
	wrong()
	return err
}
