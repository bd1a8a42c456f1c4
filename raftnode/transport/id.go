// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"
)

// ServerID names a replica: "<node id>/<replica number>". Its address is the same text.
func ServerID(node string, replica uint64) raft.ServerID {
	return raft.ServerID(node + "/" + strconv.FormatUint(replica, 10))
}

// ParseServerID undoes ServerID.
func ParseServerID(id raft.ServerID) (node string, replica uint64, err error) {
	node, number, ok := strings.Cut(string(id), "/")
	if ok && node != "" {
		if replica, err = strconv.ParseUint(number, 10, 64); err == nil && ServerID(node, replica) == id {
			return node, replica, nil
		}
	}
	return "", 0, fmt.Errorf("transport: %q is no replica id", id)
}
