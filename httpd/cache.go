// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/kvorum/kvorum/fsm"
)

// The cache routes: bytes in, bytes out, as a plain cache server answers them. Only their successes
// differ from /v1/kv.

func (e *edge) cacheGet(w http.ResponseWriter, r *http.Request) {
	k, ok := keyOf(w, r)
	if !ok {
		return
	}
	e.stream(w, r, fsm.OpGet, [][]byte{k}, func(res *fsm.Result) {
		if res.Kind == fsm.KindNull {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(res.Str)
	})
}

func (e *edge) cachePut(w http.ResponseWriter, r *http.Request) {
	k, ok := keyOf(w, r)
	if !ok {
		return
	}
	body, ok := e.readBody(w, r, e.cfg.Limits.MaxValue)
	defer body.release()
	if !ok {
		return
	}
	args := [][]byte{k, body.bytes}
	if text := r.Header.Get("Ttl"); text != "" && text != "0" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 0 {
			writeError(w, http.StatusBadRequest, "the header Ttl is no number of seconds", "request", appliedNo)
			return
		}
		args = append(args, []byte("EX"), []byte(text))
	}
	if _, ok := e.do(w, r, fsm.OpSet, args...); ok {
		w.WriteHeader(http.StatusCreated)
	}
}

func (e *edge) cacheDelete(w http.ResponseWriter, r *http.Request) {
	k, ok := keyOf(w, r)
	if !ok {
		return
	}
	if _, ok := e.do(w, r, fsm.OpDel, k); ok {
		w.WriteHeader(http.StatusOK)
	}
}

// cacheStats is the cluster's contents in three numbers.
type cacheStats struct {
	Count     int64 `json:"count"`
	KeySize   int64 `json:"keySize"`
	ValueSize int64 `json:"valueSize"`
}

func (e *edge) cacheStatus(w http.ResponseWriter, r *http.Request) {
	res, ok := e.do(w, r, fsm.OpKVStats)
	if !ok {
		return
	}
	if res.Kind != fsm.KindArray || len(res.Elems) < 3 {
		writeError(w, http.StatusInternalServerError, "unexpected reply of KV.STATS", "internal", appliedNo)
		return
	}
	writeJSON(w, http.StatusOK, cacheStats{res.Elems[0].Int, res.Elems[1].Int, res.Elems[2].Int})
}

func (e *edge) cacheNodes(w http.ResponseWriter, _ *http.Request) {
	nodes := []string{}
	if m := e.cfg.Router.SlotMap(); m != nil {
		for _, n := range m.Nodes {
			if addr := n.Addrs["native"]; addr != "" {
				nodes = append(nodes, addr)
			}
		}
	}
	slices.Sort(nodes)
	writeJSON(w, http.StatusOK, nodes)
}
