// SPDX-License-Identifier: Apache-2.0

package httpd

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// Copy is what one replica has under a key.
type Copy struct {
	// Node is the id of the replica's node, Name its name for people.
	Node, Name string
	Group      uint32
	// Leader: the replica leads its group.
	Leader bool
	// Applied is the index of the last log entry behind the answer.
	Applied uint64
	// Entry is what KV.GET answered there; null when the key is absent.
	Entry fsm.Result
	// Err is why there is no answer; nil when there is one.
	Err error
}

type copyJSON struct {
	Node    string `json:"node"`
	Name    string `json:"name,omitempty"`
	Group   uint32 `json:"group"`
	Leader  bool   `json:"leader"`
	Applied uint64 `json:"applied"`
	Found   bool   `json:"found"`
	Type    string `json:"type,omitempty"`
	Value   any    `json:"value,omitempty"`
	// Version is a string: it has more digits than a JSON number keeps.
	Version string `json:"version,omitempty"`
	Written string `json:"written,omitempty"`
	Error   string `json:"error,omitempty"`

	version uint64
}

// replicas answers every replica's copy, the newest version first, replicas without an answer last.
func (e *edge) replicas(w http.ResponseWriter, r *http.Request) {
	k, ok := keyOf(w, r)
	if !ok {
		return
	}
	copies, err := e.cfg.Replicas(r.Context(), k)
	if err != nil {
		writeAdmin(w, err)
		return
	}
	node := r.URL.Query().Get("node")
	list := []copyJSON{}
	for i := range copies {
		if c := &copies[i]; node == "" || c.Name == node || strings.HasPrefix(c.Node, node) {
			list = append(list, c.json())
		}
	}
	if node != "" && len(list) == 0 {
		writeError(w, http.StatusNotFound, "no replica of the key is on that node", "no-such-node", appliedNo)
		return
	}
	slices.SortStableFunc(list, func(a, b copyJSON) int {
		return cmp.Or(strings.Compare(a.Error, b.Error), cmp.Compare(b.version, a.version), cmp.Compare(b.Applied, a.Applied), cmp.Compare(a.Node, b.Node))
	})
	writeJSON(w, http.StatusOK, list)
}

func (c *Copy) json() copyJSON {
	out := copyJSON{Node: c.Node, Name: c.Name, Group: c.Group, Leader: c.Leader, Applied: c.Applied}
	if c.Err != nil {
		out.Error = c.Err.Error()
		return out
	}
	if c.Entry.IsError() {
		out.Error = string(c.Entry.Str)
		return out
	}
	x, found := parseEntry(&c.Entry)
	if !found {
		return out
	}
	out.Found, out.Type, out.version = true, x.kind, x.version
	if x.kind == "string" {
		out.Value = textJSON(x.value)
	}
	out.Version = strconv.FormatUint(x.version, 10)
	out.Written = time.UnixMilli(fsm.VersionTime(x.version)).UTC().Format(time.RFC3339Nano)
	return out
}
