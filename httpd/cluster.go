// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gorilla/mux"
)

func (e *edge) clusterStatus(w http.ResponseWriter, r *http.Request) {
	s, err := e.cfg.Node.Status(r.Context())
	if err != nil {
		writeAdmin(w, err)
		return
	}
	writeJSON(w, http.StatusOK, &s)
}

func (e *edge) clusterNodes(w http.ResponseWriter, r *http.Request) {
	s, err := e.cfg.Node.Status(r.Context())
	if err != nil {
		writeAdmin(w, err)
		return
	}
	writeJSON(w, http.StatusOK, s.Nodes)
}

// admin runs a call that may take long, as long as the client waits and no longer than adminTime.
func (e *edge) admin(w http.ResponseWriter, r *http.Request, f func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), adminTime)
	defer cancel()
	if err := f(ctx); err != nil {
		writeAdmin(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"ok": true})
}

func (e *edge) clusterJoin(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Members []string `json:"members"`
	}
	if !e.readJSON(w, r, &body) {
		return
	}
	if len(body.Members) == 0 {
		writeError(w, http.StatusBadRequest, "members is empty", "request", appliedNo)
		return
	}
	e.admin(w, r, func(ctx context.Context) error { return e.cfg.Node.Join(ctx, body.Members) })
}

func (e *edge) clusterLeave(w http.ResponseWriter, r *http.Request) {
	node, err := url.PathUnescape(mux.Vars(r)["node"])
	if err != nil {
		writeError(w, http.StatusBadRequest, "the node in the path is not well escaped", "request", appliedNo)
		return
	}
	if node == "self" {
		node = e.cfg.Node.ID()
	}
	e.admin(w, r, func(ctx context.Context) error { return e.cfg.Node.Leave(ctx, node) })
}

func (e *edge) clusterLeader(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Group uint32 `json:"group"`
		Node  string `json:"node"`
	}
	if !e.readJSON(w, r, &body) {
		return
	}
	e.admin(w, r, func(ctx context.Context) error { return e.cfg.Node.TransferLeader(ctx, body.Group, body.Node) })
}

func (e *edge) clusterSnapshot(w http.ResponseWriter, r *http.Request) {
	e.admin(w, r, e.cfg.Node.Snapshot)
}

func (e *edge) clusterDigest(w http.ResponseWriter, r *http.Request) {
	d, err := e.cfg.Node.Digest(r.Context())
	if err != nil {
		writeAdmin(w, err)
		return
	}
	writeJSON(w, http.StatusOK, d)
}
