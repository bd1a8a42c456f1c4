// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
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

func newSnapshot(io stdio) *cobra.Command {
	var e endpoint
	c := &cobra.Command{
		Use: "snapshot", Short: "Snapshots of the replicated state", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }, // without it any word would pass
	}
	take := e.command(io, &cobra.Command{
		Use: "take", Short: "Let every replica on every node take a snapshot now", Args: cobra.NoArgs,
	}, func(ctx context.Context, a *api, _ []string) error {
		nodes, err := members(ctx, a)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if _, _, err := n.api.do(ctx, http.MethodPost, "/v1/cluster/snapshot", nil, nil); err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			fmt.Fprintf(io.out, "%s: done\n", n.name)
		}
		return nil
	})
	setTimeout(take, membershipTime)
	c.AddCommand(take)
	return c
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

func newCheck(io stdio) *cobra.Command {
	var e endpoint
	c := e.command(io, &cobra.Command{
		Use: "check", Short: "Check the cluster: health, the same answer from every node, equal replicas", Args: cobra.NoArgs,
		Long: "Writes one key of its own and reads it back through every node, and compares the digests of all replicas of\n" +
			"each group at equal applied index. Exit code 5 when replicas differ.",
	}, func(ctx context.Context, a *api, _ []string) error {
		if err := checkRoundTrip(ctx, io.out, a); err != nil {
			return err
		}
		return checkDigests(ctx, io.out, a)
	})
	setTimeout(c, time.Minute)
	return c
}

// checkRoundTrip writes through the asked node and reads through all.
func checkRoundTrip(ctx context.Context, out io.Writer, a *api) error {
	nodes, err := members(ctx, a)
	if err != nil {
		return err
	}
	key := keyPath("kvorum:check")
	for _, n := range nodes {
		want := fmt.Sprintf("written through %s", n.name)
		if _, _, err := n.api.do(ctx, http.MethodPut, key, url.Values{"ttl": {"1h"}}, []byte(want)); err != nil {
			return fmt.Errorf("write through %s: %w", n.name, err)
		}
		for _, m := range nodes {
			got, _, err := m.api.do(ctx, http.MethodGet, key, nil, nil)
			if err != nil {
				return fmt.Errorf("read through %s: %w", m.name, err)
			}
			if string(got) != want {
				return &exitError{exitDamaged, fmt.Errorf("%s answered %q to a read that began after %q was acknowledged", m.name, got, want)}
			}
		}
	}
	fmt.Fprintf(out, "%d nodes answer alike\n", len(nodes))
	return nil
}

// checkDigests asks until every group's replicas were seen at one applied index, or time is up.
func checkDigests(ctx context.Context, out io.Writer, a *api) error {
	equal := map[uint32]string{}
	for {
		var all []shard.ReplicaDigest
		if err := a.get(ctx, "/v1/cluster/digest", &all); err != nil {
			return err
		}
		byGroup := map[uint32][]shard.ReplicaDigest{}
		for _, d := range all {
			byGroup[d.Group] = append(byGroup[d.Group], d)
		}
		for group, list := range byGroup {
			if text, same, err := sameDigests(group, list); err != nil {
				return &exitError{exitDamaged, err}
			} else if same {
				equal[group] = text
			}
		}
		if len(equal) == len(byGroup) && len(byGroup) > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return &exitError{exitFailed, fmt.Errorf("replicas of %d of %d groups never stood at one index; try when fewer writes arrive", len(byGroup)-len(equal), len(byGroup))}
		case <-time.After(200 * time.Millisecond):
		}
	}
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	groups := make([]uint32, 0, len(equal))
	for g := range equal {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	for _, g := range groups {
		fmt.Fprintf(tw, "group %d\t%s\n", g, equal[g])
	}
	return tw.Flush()
}

// sameDigests judges one group's replicas: different at one index is damage.
func sameDigests(group uint32, list []shard.ReplicaDigest) (text string, same bool, err error) {
	byIndex := map[uint64]shard.ReplicaDigest{}
	for _, d := range list {
		if o, ok := byIndex[d.Applied]; ok && o.Digest != d.Digest {
			return "", false, fmt.Errorf("group %d: at index %d node %s has digest %s and node %s has %s", group, d.Applied, short(o.Node), o.Digest, short(d.Node), d.Digest)
		}
		byIndex[d.Applied] = d
	}
	if len(byIndex) != 1 {
		return "", false, nil
	}
	return fmt.Sprintf("%d replicas equal at index %d: %s", len(list), list[0].Applied, list[0].Digest), true, nil
}
