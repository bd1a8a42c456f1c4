// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/kvorum/kvorum/shard"
)

const (
	// SaveErrorTrailer is the trailer of a save that broke off; it has the reason.
	SaveErrorTrailer = "Kvorum-Error"
	// drainTime is how long a client may take to notice that its restore was refused in the middle.
	drainTime = 10 * time.Second
	// checkTime bounds a comparison of replicas when the request does not.
	checkTime = time.Minute
)

// begun notes that an answer has begun.
type begun struct {
	http.ResponseWriter
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.ResponseWriter.Write(p)
}

// clusterSave streams a save. One that breaks off has no end, and a trailer that says why.
func (e *edge) clusterSave(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", SaveErrorTrailer)
	out := &begun{ResponseWriter: w}
	err := e.cfg.Node.Save(r.Context(), out)
	switch {
	case err == nil:
	case out.yes:
		w.Header().Set(SaveErrorTrailer, strings.Join(strings.Fields(err.Error()), " "))
	default:
		w.Header().Del("Trailer")
		writeAdmin(w, err)
	}
}

// restoreNews is one line of the answer to a restore.
type restoreNews struct {
	*shard.RestoreProgress
	Done bool `json:"done,omitempty"`
	*failure
}

// slowBody gives a client bodyTime for each read, however long the whole takes.
type slowBody struct {
	io.Reader
	rc *http.ResponseController
}

func (b slowBody) Read(p []byte) (int, error) {
	// A reader without deadlines, as in tests, has no slow client either.
	_ = b.rc.SetReadDeadline(time.Now().Add(bodyTime))
	return b.Reader.Read(p)
}

// clusterRestore reads a save from the body. The answer is a line of JSON for each piece of news while the
// body still comes, and a last one with "done" or an error; refusals before any have a status of their own.
func (e *edge) clusterRestore(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/1 only; others are
	yes := false
	say := func(n restoreNews) {
		line, err := json.Marshal(n)
		if err != nil {
			line = []byte(unprintable)
		}
		if !yes {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
			yes = true
		}
		_, _ = w.Write(append(line, '\n'))
		_ = rc.Flush()
	}
	o := shard.RestoreOptions{
		Settings: r.URL.Query().Get("settings") == "1",
		News: func(p shard.RestoreProgress) {
			if p.Phase != shard.RestoreBegin { // until then it may be refused with a status
				say(restoreNews{RestoreProgress: &p})
			}
		},
	}
	err := e.cfg.Node.Restore(r.Context(), slowBody{r.Body, rc}, o)
	switch {
	case err == nil:
		say(restoreNews{Done: true})
		return
	case yes:
		_, applied := adminStatus(err)
		say(restoreNews{failure: &failure{Error: err.Error(), Kind: "admin", Applied: applied}})
	default:
		writeAdmin(w, err)
		_ = rc.Flush()
	}
	// A connection that is closed under a client that sends would take the answer with it.
	_ = rc.SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.Copy(io.Discard, r.Body)
}

func (e *edge) clusterRestoreCancel(w http.ResponseWriter, r *http.Request) {
	e.admin(w, r, e.cfg.Node.CancelRestore)
}

// clusterCheck compares all replicas, for as long as timeout= says.
func (e *edge) clusterCheck(w http.ResponseWriter, r *http.Request) {
	limit := checkTime
	if text := r.URL.Query().Get("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d > adminTime {
			writeError(w, http.StatusBadRequest, "timeout is no duration up to "+adminTime.String(), "request", appliedNo)
			return
		}
		limit = d
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	c, err := e.cfg.Node.Compare(ctx)
	if err != nil {
		writeAdmin(w, err)
		return
	}
	writeJSON(w, http.StatusOK, &c)
}
