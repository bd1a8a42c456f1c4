// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// do runs one command whose reply is small. ok false: an answer has been written.
func (e *edge) do(w http.ResponseWriter, r *http.Request, op fsm.Op, args ...[]byte) (res fsm.Result, ok bool) {
	token, err := tokenOf(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error(), "request", appliedNo)
		return res, false
	}
	caller, ok := e.caller(w, r)
	if !ok {
		return res, false
	}
	out := make([]shard.Reply, 1)
	e.cfg.Router.Do(r.Context(), caller, []fsm.Command{{Op: op, Args: args, Token: token}}, out)
	return out[0].Result, answered(w, &out[0])
}

// answered tells whether a command has a result that is no error; else it writes the answer.
func answered(w http.ResponseWriter, reply *shard.Reply) bool {
	if reply.Err != nil {
		writeFailure(w, reply.Err)
		return false
	}
	if reply.Result.IsError() {
		writeOutcome(w, &reply.Result)
		return false
	}
	return true
}

// stream runs one command whose reply may be large, and calls f with its result. The memory of the reply
// is the router's until f has returned: f writes it, and keeps nothing of it. Failures are answered.
func (e *edge) stream(w http.ResponseWriter, r *http.Request, op fsm.Op, args [][]byte, f func(res *fsm.Result)) {
	token, err := tokenOf(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error(), "request", appliedNo)
		return
	}
	caller, ok := e.caller(w, r)
	if !ok {
		return
	}
	cmds, out := []fsm.Command{{Op: op, Args: args, Token: token}}, make([]shard.Reply, 1)
	_ = e.cfg.Router.Stream(r.Context(), caller, cmds, out, func(out []shard.Reply) error { // hand never fails
		if answered(w, &out[0]) {
			f(&out[0].Result)
		}
		return nil
	})
}

// tokenOf reads the header Kvorum-Token: 32 hex digits of the client, a dash, the request's number, and
// "-again" in tries behind one of unknown outcome.
func tokenOf(r *http.Request) (t fsm.Token, err error) {
	text := r.Header.Get("Kvorum-Token")
	if text == "" {
		return t, nil
	}
	text, again := strings.CutSuffix(text, "-again")
	client, number, _ := strings.Cut(text, "-")
	id, err := hex.DecodeString(client)
	if err == nil && len(id) == len(t.Client) {
		copy(t.Client[:], id)
		t.Seq, err = strconv.ParseUint(number, 10, 64)
	}
	if err != nil || len(id) != len(t.Client) || t.Seq == 0 || t.Seq >= fsm.TokenAgain {
		return fsm.Token{}, errors.New("Kvorum-Token is no CLIENT-NUMBER of 32 hex digits and a positive number below 2^63")
	}
	if again {
		t.Seq |= fsm.TokenAgain
	}
	return t, nil
}

// entry is what KV.GET answers.
type entry struct {
	value   []byte
	version uint64
	flags   int64
	pttl    int64
	kind    string
}

func parseEntry(res *fsm.Result) (entry, bool) {
	if res.Kind != fsm.KindArray || len(res.Elems) != 5 {
		return entry{}, false
	}
	x := res.Elems
	return entry{value: x[0].Str, version: uint64(x[1].Int), flags: x[2].Int, pttl: x[3].Int, kind: string(x[4].Str)}, true
}

func (e *edge) getKey(w http.ResponseWriter, r *http.Request) {
	k, ok := keyOf(w, r)
	if !ok {
		return
	}
	e.stream(w, r, fsm.OpKVGet, [][]byte{k}, func(res *fsm.Result) { writeEntry(w, r, res) })
}

// writeEntry answers with the value in a result of KV.GET.
func writeEntry(w http.ResponseWriter, r *http.Request, res *fsm.Result) {
	x, found := parseEntry(res)
	if !found {
		writeError(w, http.StatusNotFound, "no such key", "no-such-key", appliedNo)
		return
	}
	if x.kind != "string" {
		writeError(w, http.StatusConflict, fsm.TextWrongType+"; the key holds a "+x.kind+": use /v1/exec", "wrong-type", appliedNo)
		return
	}
	h := w.Header()
	tag := etag(x.version)
	h.Set("ETag", tag)
	h.Set("Kvorum-Flags", strconv.FormatInt(x.flags, 10))
	if x.pttl >= 0 {
		h.Set("Kvorum-Ttl", time.Duration(x.pttl*int64(time.Millisecond)).String())
	}
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(x.value)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(x.value)
	}
}

func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// matches tells whether a list of entity tags, or *, names tag.
func matches(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part != "" && (part == "*" || part == tag) {
			return true
		}
	}
	return false
}

func (e *edge) putKey(w http.ResponseWriter, r *http.Request) {
	k, ok := keyOf(w, r)
	if !ok {
		return
	}
	options, err := setOptions(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error(), "request", appliedNo)
		return
	}
	body, ok := e.readBody(w, r, e.cfg.Limits.MaxValue)
	defer body.release()
	if !ok {
		return
	}
	res, ok := e.do(w, r, fsm.OpSet, append([][]byte{k, body.bytes}, options...)...)
	switch {
	case !ok:
	case res.Kind == fsm.KindNull:
		writeError(w, http.StatusPreconditionFailed, "the condition on the key does not hold", "condition", appliedNo)
	default:
		w.Header().Set("ETag", etag(uint64(res.Int)))
		w.WriteHeader(http.StatusNoContent)
	}
}

// setOptions turns query and conditions into options of SET.
func setOptions(r *http.Request) ([][]byte, error) {
	options := [][]byte{[]byte("WITHVERSION")}
	q := r.URL.Query()
	if ttl := q.Get("ttl"); ttl != "" {
		ms, err := parseTTL(ttl)
		if err != nil {
			return nil, err
		}
		options = append(options, []byte("PX"), strconv.AppendInt(nil, ms, 10))
	}
	if keep := q.Get("keepttl"); keep == "1" || keep == "true" {
		options = append(options, []byte("KEEPTTL"))
	}
	if flags := q.Get("flags"); flags != "" {
		options = append(options, []byte("FLAGS"), []byte(flags))
	}
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case match != "" && none != "":
		return nil, errors.New("give If-Match or If-None-Match, not both")
	case none == "*":
		options = append(options, []byte("NX"))
	case none != "":
		return nil, errors.New("If-None-Match of a write can only be *")
	case match == "*":
		options = append(options, []byte("XX"))
	case match != "":
		version, err := parseTag(match)
		if err != nil {
			return nil, err
		}
		options = append(options, []byte("IFVERSION"), version)
	}
	return options, nil
}

// parseTTL takes seconds or a duration with a unit and gives whole milliseconds.
func parseTTL(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 && n <= math.MaxInt64/1000 {
		return n * 1000, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond {
		return 0, errors.New("ttl is no positive number of seconds or duration such as 1500ms: " + strconv.Quote(text))
	}
	return d.Milliseconds(), nil
}

// parseTag takes one strong entity tag and gives the version in it.
func parseTag(tag string) ([]byte, error) {
	v := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(tag), `"`), `"`)
	if _, err := strconv.ParseUint(v, 10, 64); err != nil {
		return nil, errors.New("If-Match is no version in quotes: " + strconv.Quote(tag))
	}
	return []byte(v), nil
}

func (e *edge) deleteKey(w http.ResponseWriter, r *http.Request) {
	k, ok := keyOf(w, r)
	if !ok {
		return
	}
	args := [][]byte{k}
	if match := r.Header.Get("If-Match"); match != "" && match != "*" {
		version, err := parseTag(match)
		if err != nil {
			writeError(w, http.StatusBadRequest, err.Error(), "request", appliedNo)
			return
		}
		args = append(args, []byte("IFVERSION"), version)
	}
	res, ok := e.do(w, r, fsm.OpKVDel, args...)
	switch {
	case !ok:
	case res.Int == 0:
		writeError(w, http.StatusNotFound, "no such key", "no-such-key", appliedNo)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// listKeys answers one page of SCAN. The page after the last has the cursor "0".
func (e *edge) listKeys(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	cursor := q.Get("cursor")
	if cursor == "" {
		cursor = "0"
	}
	args := [][]byte{[]byte(cursor)}
	if match := q.Get("match"); match != "" {
		args = append(args, []byte("MATCH"), []byte(match))
	}
	if kind := q.Get("type"); kind != "" {
		args = append(args, []byte("TYPE"), []byte(kind))
	}
	if count := q.Get("count"); count != "" {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || n > maxScanCount {
			writeError(w, http.StatusBadRequest, "count is not between 1 and "+strconv.Itoa(maxScanCount), "request", appliedNo)
			return
		}
		args = append(args, []byte("COUNT"), []byte(count))
	}
	res, ok := e.do(w, r, fsm.OpScan, args...)
	if !ok {
		return
	}
	if res.Kind != fsm.KindArray || len(res.Elems) != 2 {
		writeError(w, http.StatusInternalServerError, "unexpected reply of SCAN", "internal", appliedNo)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	j := jsonWriter{w: w}
	j.raw(`{"cursor":`)
	j.text(res.Elems[0].Str)
	j.raw(`,"keys":`)
	j.result(&res.Elems[1])
	j.raw("}\n")
	_ = j.flush() // the client is gone
}
