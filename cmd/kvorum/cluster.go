// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/shard"
)

const membershipTime = 3 * time.Minute

func newJoin(io stdio) *cobra.Command {
	var e endpoint
	c := e.command(io, &cobra.Command{
		Use: "join MEMBER…", Short: "Let the node at --addr join the cluster of MEMBER (host:port)", Args: cobra.MinimumNArgs(1),
		Long:    "Tells the node at --addr, which runs on an empty data folder, to join the cluster that one of the members\nbelongs to. A member is named by its peer address or its HTTP address.",
		Example: "  kvorum join 10.0.0.1:7400 --addr 10.0.0.4:7401",
	}, func(ctx context.Context, a *api, members []string) error {
		for _, m := range members {
			if err := checkMember(m); err != nil {
				return err
			}
		}
		body, err := json.Marshal(map[string]any{"members": members})
		if err != nil {
			return err
		}
		if _, _, err := a.do(ctx, http.MethodPost, "/v1/cluster/join", nil, body); err != nil {
			return err
		}
		fmt.Fprintf(io.out, "the node at %s has joined; 'kvorum status' shows its replicas arrive\n", a.addr)
		return nil
	})
	setTimeout(c, membershipTime)
	c.Flags().Lookup("addr").Usage = "HTTP address of the node that is to join, host:port [$KVORUM_ADDR]"
	return c
}

func newLeave(io stdio) *cobra.Command {
	var e endpoint
	c := e.command(io, &cobra.Command{
		Use: "leave [NODE]", Short: "Take a node out of the cluster, its data first; default: the node at --addr", Args: cobra.MaximumNArgs(1),
		Long: "Hands the node's leaderships over, rebuilds its replicas on other nodes, and removes it. NODE is a name, an\n" +
			"id or the start of one. The node's process ends by itself when nothing is left on it.",
	}, func(ctx context.Context, a *api, args []string) error {
		node := "self"
		if len(args) == 1 {
			node = args[0]
		}
		if _, _, err := a.do(ctx, http.MethodDelete, "/v1/cluster/nodes/"+url.PathEscape(node), nil, nil); err != nil {
			return err
		}
		if node == "self" {
			node = "the node at " + a.addr
		}
		fmt.Fprintf(io.out, "%s has left the cluster\n", node)
		return nil
	})
	setTimeout(c, membershipTime)
	c.Flags().Lookup("addr").Usage = "HTTP address of any member, and of the node that leaves when NODE is not given [$KVORUM_ADDR]"
	return c
}

// setTimeout gives a command another default than the endpoint's.
func setTimeout(c *cobra.Command, d time.Duration) {
	f := c.Flags().Lookup("timeout")
	f.DefValue = d.String()
	_ = f.Value.Set(f.DefValue)
}

// member is a node that can be asked.
type member struct {
	name string
	api  *api
}

// members lists the nodes that are up, by the address they advertise.
func members(ctx context.Context, a *api) ([]member, error) {
	var s shard.Status
	if err := a.get(ctx, "/v1/cluster", &s); err != nil {
		return nil, err
	}
	if !s.Cluster.Initialised {
		return nil, &exitError{exitFailed, plainError{shard.ErrUninitialised}}
	}
	var list []member
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Alive && n.Addrs["http"] != "" {
			list = append(list, member{n.Name, &api{addr: n.Addrs["http"], client: a.client}})
		}
	}
	return list, nil
}
