// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/shard"
)

func newStatus(io stdio) *cobra.Command {
	var e endpoint
	return e.command(io, &cobra.Command{
		Use: "status", Short: "Show the cluster: health, nodes, groups, warnings", Args: cobra.NoArgs,
		Example: "  kvorum status\n  kvorum status -o json --addr 127.0.0.1:7411",
	}, func(ctx context.Context, a *api, _ []string) error {
		var s shard.Status
		if err := a.get(ctx, "/v1/cluster", &s); err != nil {
			return err
		}
		if e.output == "json" {
			return printJSON(io.out, &s)
		}
		return printStatus(io.out, &s)
	})
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printStatus(w io.Writer, s *shard.Status) error {
	c := &s.Cluster
	if !c.Initialised {
		fmt.Fprintf(w, "node %s is in no cluster\n", short(c.Self))
		printWarnings(w, s.Warnings)
		return nil
	}
	fmt.Fprintf(w, "cluster %s  health %s  %s  replicas %d  map epoch %d\n\n", short(c.ID), c.Health, tolerance(c.Tolerates), c.Replicas, c.Epoch)
	names := map[string]string{}
	for i := range s.Nodes {
		names[s.Nodes[i].ID] = s.Nodes[i].Name
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "NODE\tID\tSTATE\tPEER\tHTTP\tNATIVE\tLEADS\tREPLICAS\tKEYS\tBYTES\tVERSION")
	nodes := slices.SortedStableFunc(slices.Values(s.Nodes), func(a, b shard.NodeStatus) int { return cmp.Compare(a.Name, b.Name) })
	for i := range nodes {
		n := &nodes[i]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", n.Name, short(n.ID), nodeState(n),
			dash(n.Addrs["peer"]), dash(n.Addrs["http"]), dash(n.Addrs["native"]), n.Leaders, n.Replicas, n.Keys, human(n.Bytes), dash(n.Version))
	}
	fmt.Fprintln(tw)
	fmt.Fprintln(tw, "GROUP\tLEADER\tTERM\tVOTERS\tLEARNERS\tLAG\tSLOTS\tKEYS\tBYTES")
	for i := range s.Groups {
		g := &s.Groups[i]
		id := fmt.Sprint(g.ID)
		if g.ID == 0 {
			id = "control"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", id, dash(nameOf(names, g.Leader)), g.Term,
			replicas(names, g.Voters), replicas(names, g.Learners), g.Lag, g.Slots, g.Keys, human(g.Bytes))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	printWarnings(w, s.Warnings)
	return nil
}

func printWarnings(w io.Writer, list []shard.Warning) {
	for _, warn := range list {
		fmt.Fprintf(w, "\nwarning: %s\n", warn.Text)
		if warn.Mend != "" {
			fmt.Fprintf(w, "    mend: %s\n", warn.Mend)
		}
	}
}

func tolerance(n int) string {
	switch {
	case n < 0:
		return "has no majority somewhere"
	case n == 0:
		return "can take no failure"
	case n == 1:
		return "can take 1 failure"
	default:
		return fmt.Sprintf("can take %d failures", n)
	}
}

func nodeState(n *shard.NodeStatus) string {
	switch {
	case n.Leaving:
		return "leaving"
	case n.Alive:
		return "up"
	default:
		return "down"
	}
}

func replicas(names map[string]string, rs []shard.ReplicaStatus) string {
	var parts []string
	for _, r := range rs {
		name := nameOf(names, r.Node)
		if !r.Alive {
			name += "!"
		}
		parts = append(parts, name)
	}
	sort.Strings(parts)
	return dash(strings.Join(parts, ","))
}

func nameOf(names map[string]string, id string) string {
	if n := names[id]; n != "" {
		return n
	}
	return short(id)
}

// short is enough of an id to tell it from its neighbours.
func short(id string) string { return id[:min(8, len(id))] }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func human(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1fGiB", float64(n)/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%.1fKiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%dB", n)
	}
}
