// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"
)

func (e *edge) live(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") }

func (e *edge) ready(w http.ResponseWriter, r *http.Request) {
	err := e.cfg.Node.Ready()
	switch {
	case err == nil:
		writeText(w, http.StatusOK, "ok\n")
	case r.URL.Query().Has("verbose"):
		writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
	default:
		writeText(w, http.StatusServiceUnavailable, "not ready\n")
	}
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// metrics prints what this edge and process know of themselves.
func (e *edge) metrics(w http.ResponseWriter, _ *http.Request) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	ready := 0
	if e.cfg.Node.Ready() == nil {
		ready = 1
	}
	var b strings.Builder
	metric := func(name, kind, help string, samples ...string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, s := range samples {
			fmt.Fprintf(&b, "%s%s\n", name, s)
		}
	}
	metric("kvorum_build_info", "gauge", "Version of this node.", fmt.Sprintf("{version=%q,node=%q} 1", e.cfg.Version, e.cfg.Node.ID()))
	metric("kvorum_ready", "gauge", "1 when every local replica has caught up.", fmt.Sprintf(" %d", ready))
	metric("kvorum_uptime_seconds", "gauge", "Time since the node started.", fmt.Sprintf(" %.3f", time.Since(e.start).Seconds()))
	var codes []string
	for i := range e.codes {
		if n := e.codes[i].Load(); n > 0 {
			codes = append(codes, fmt.Sprintf("{code=\"%dxx\"} %d", i, n))
		}
	}
	metric("kvorum_http_requests_total", "counter", "HTTP requests answered.", codes...)
	metric("kvorum_http_sent_bytes_total", "counter", "Bytes of HTTP bodies sent.", fmt.Sprintf(" %d", e.bytes.Load()))
	metric("go_goroutines", "gauge", "Goroutines.", fmt.Sprintf(" %d", runtime.NumGoroutine()))
	metric("go_memstats_heap_inuse_bytes", "gauge", "Heap in use.", fmt.Sprintf(" %d", mem.HeapInuse))
	metric("go_memstats_sys_bytes", "gauge", "Memory taken from the system.", fmt.Sprintf(" %d", mem.Sys))
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(b.String()))
}

// openapi describes the routes from their table.
func (e *edge) openapi(w http.ResponseWriter, _ *http.Request) {
	paths := map[string]map[string]any{}
	for _, r := range e.table() {
		path := strings.ReplaceAll(r.path, key, "{key}")
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		var params []any
		for _, name := range []string{"key", "node"} {
			if strings.Contains(path, "{"+name+"}") {
				params = append(params, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
			}
		}
		operation := map[string]any{"summary": r.summary, "responses": map[string]any{"default": map[string]any{"description": "see docs/HTTP.md"}}}
		if params != nil {
			operation["parameters"] = params
		}
		paths[path][strings.ToLower(r.method)] = operation
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "Kvorum", "version": e.cfg.Version}, "paths": paths,
	})
}
