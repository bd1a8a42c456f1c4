// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"net/http"
	"net/http/pprof"
	"net/url"

	"github.com/gorilla/mux"
)

// route is one row of the edge's table; /v1/openapi.json is made from it.
type route struct {
	method, path, summary string
	serve                 http.HandlerFunc
}

// key matches everything behind the prefix, slashes included.
const key = "{key:.*}"

func (e *edge) table() []route {
	list := e.always()
	if e.cfg.Replicas != nil {
		list = append(list, route{"GET", "/v1/replicas/" + key, "Every replica's copy of a key, newest first; node= picks one.", e.replicas})
	}
	return list
}

func (e *edge) always() []route {
	return []route{
		{"GET", "/v1/kv/" + key, "A key's value; its version is the ETag.", e.getKey},
		{"HEAD", "/v1/kv/" + key, "A key's version and lifetime.", e.getKey},
		{"PUT", "/v1/kv/" + key, "Store the body. ttl=, keepttl=1, flags=; If-Match and If-None-Match make it conditional.", e.putKey},
		{"DELETE", "/v1/kv/" + key, "Delete a key; If-Match makes it conditional.", e.deleteKey},
		{"GET", "/v1/keys", "Keys, a page at a time: match=, count=, cursor=.", e.listKeys},
		{"POST", "/v1/exec", "One command as a JSON array.", e.exec},
		{"POST", "/v1/pipeline", "Commands as a JSON array of arrays, answered in order.", e.pipeline},
		{"GET", "/v1/cache/" + key, "A key's value, or 404.", e.cacheGet},
		{"PUT", "/v1/cache/" + key, "Store the body for the seconds in the header Ttl.", e.cachePut},
		{"DELETE", "/v1/cache/" + key, "Delete a key.", e.cacheDelete},
		{"GET", "/v1/status", "Entries, key bytes and value bytes of the whole cluster.", e.cacheStatus},
		{"GET", "/v1/nodes", "The members' native addresses.", e.cacheNodes},
		{"GET", "/v1/cluster", "Health, nodes, groups, warnings.", e.clusterStatus},
		{"GET", "/v1/cluster/nodes", "The members.", e.clusterNodes},
		{"POST", "/v1/cluster/nodes", "The same as /v1/cluster/join.", e.clusterJoin},
		{"POST", "/v1/cluster/join", `Let the asked node join: {"members":["host:port"]}.`, e.clusterJoin},
		{"DELETE", "/v1/cluster/nodes/{node}", "Take a node out of the cluster, its data first.", e.clusterLeave},
		{"POST", "/v1/cluster/leader", `Hand a group's leadership over: {"group":1,"node":"name or id"}.`, e.clusterLeader},
		{"POST", "/v1/cluster/snapshot", "Let every replica of the asked node take a snapshot.", e.clusterSnapshot},
		{"GET", "/v1/cluster/digest", "Every replica's digest with its applied index.", e.clusterDigest},
		{"GET", "/v1/cluster/check", "All replicas compared, with the first slots that differ; timeout= bounds it.", e.clusterCheck},
		{"GET", "/v1/cluster/save", "The whole cluster's data as one file; trailer Kvorum-Error when it broke off.", e.clusterSave},
		{"POST", "/v1/cluster/restore", "Restore the body, a save, into this cluster, which is empty. Answers lines of JSON. settings=1 takes the settings too.", e.clusterRestore},
		{"DELETE", "/v1/cluster/restore", "End a restore whose node is gone: the cluster will be empty.", e.clusterRestoreCancel},
		{"GET", "/v1/openapi.json", "This table.", e.openapi},
		{"GET", "/livez", "200 while the process lives.", e.live},
		{"GET", "/readyz", "200 when the node has caught up; verbose says what is missing.", e.ready},
		{"GET", "/metrics", "Prometheus text.", e.metrics},
	}
}

func (e *edge) routes() http.Handler {
	m := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, r := range e.table() {
		// Path first: a method that fits another path must not hide a mismatch (gorilla/mux 1.8.1).
		m.Path(r.path).Methods(r.method).HandlerFunc(r.serve)
	}
	m.Path("/debug/pprof/cmdline").HandlerFunc(pprof.Cmdline)
	m.Path("/debug/pprof/profile").HandlerFunc(pprof.Profile)
	m.Path("/debug/pprof/symbol").HandlerFunc(pprof.Symbol)
	m.Path("/debug/pprof/trace").HandlerFunc(pprof.Trace)
	m.PathPrefix("/debug/pprof/").HandlerFunc(pprof.Index)
	m.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "no such route; GET /v1/openapi.json lists them", "route", appliedNo)
	})
	m.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusMethodNotAllowed, "the route does not take this method", "route", appliedNo)
	})
	return m
}

// keyOf unescapes the key in the path; every byte may be in it.
func keyOf(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	k, err := url.PathUnescape(mux.Vars(r)["key"])
	if err != nil {
		writeError(w, http.StatusBadRequest, "the key in the path is not well escaped: "+err.Error(), "request", appliedNo)
		return nil, false
	}
	return []byte(k), true
}
