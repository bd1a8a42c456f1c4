// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/shard"
)

// checkSlack is kept of the time of a check for its answer to travel.
const checkSlack = time.Second

func newCheck(io stdio) *cobra.Command {
	var e endpoint
	var digest bool
	c := e.command(io, &cobra.Command{
		Use: "check", Short: "Check the cluster: the same answer from every node, equal replicas", Args: cobra.NoArgs,
		Long: "Writes one key of its own and reads it back through every node, and compares the digests of all replicas of\n" +
			"each group at equal applied index; --digest does only that, and writes no key. Exit code 5 when replicas differ,\n" +
			"with the first slots that do; 1 when some replica could not be seen, such as that of a node that is down.",
	}, func(ctx context.Context, a *api, _ []string) error {
		if !digest {
			out := io.out
			if e.output == "json" {
				out = io.err
			}
			if err := checkRoundTrip(ctx, out, a); err != nil {
				return err
			}
		}
		return checkDigests(ctx, io.out, a, e.output)
	})
	c.Flags().BoolVar(&digest, "digest", false, "only compare the digests of all replicas")
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

// checkDigests lets the asked node compare all replicas and prints what it found.
func checkDigests(ctx context.Context, out io.Writer, a *api, output string) error {
	q := url.Values{}
	if d, ok := ctx.Deadline(); ok {
		q.Set("timeout", max(time.Until(d)-checkSlack, checkSlack).Round(time.Millisecond).String())
	}
	var c shard.Comparison
	if err := a.get(ctx, "/v1/cluster/check?"+q.Encode(), &c); err != nil {
		return err
	}
	var s shard.Status
	names := map[string]string{}
	if err := a.get(ctx, "/v1/cluster", &s); err == nil { // names are a courtesy
		for i := range s.Nodes {
			names[s.Nodes[i].ID] = s.Nodes[i].Name
		}
	}
	var err error
	if output == "json" {
		err = printJSON(out, &c)
	} else {
		err = printComparison(out, &c, names)
	}
	switch {
	case err != nil:
		return err
	case c.Verdict == shard.VerdictDifferent:
		return &exitError{exitDamaged, errors.New("replicas differ: keep all data folders, and replace the nodes whose replica is alone in being different")}
	case c.Verdict == shard.VerdictIncomplete:
		return &exitError{exitFailed, errors.New("some replicas were not compared: start the nodes that are down, or give a longer --timeout")}
	}
	return nil
}

func printComparison(out io.Writer, c *shard.Comparison, names map[string]string) error {
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "GROUP\tREPLICAS\tVERDICT\tINDEX\tDIGEST")
	for i := range c.Groups {
		g := &c.Groups[i]
		id := fmt.Sprint(g.Group)
		if g.Group == 0 {
			id = "control"
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%d\t%s\n", id, len(g.Replicas), g.Verdict, g.Applied, dash(g.Digest))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for i := range c.Groups {
		printGroupFaults(out, &c.Groups[i], names)
	}
	return nil
}

func printGroupFaults(out io.Writer, g *shard.GroupComparison, names map[string]string) {
	for _, node := range g.Missing {
		fmt.Fprintf(out, "\ngroup %d: the replica on %s was not seen at index %d\n", g.Group, nameOf(names, node), g.Applied)
	}
	if g.Verdict != shard.VerdictDifferent {
		return
	}
	fmt.Fprintf(out, "\ngroup %d differs at index %d:\n", g.Group, g.Applied)
	for _, r := range g.Replicas {
		fmt.Fprintf(out, "    %s  index %d  digest %s\n", nameOf(names, r.Node), r.Applied, r.Digest)
	}
	if g.Differing == 0 {
		fmt.Fprintln(out, "  in no slot: in its clock, versions or sessions")
	}
	for _, d := range g.Differences {
		fmt.Fprintf(out, "  %s\n", d.Part)
		for _, r := range g.Replicas {
			if sum, ok := d.Digests[r.Node]; ok {
				fmt.Fprintf(out, "    %s  %s\n", nameOf(names, r.Node), sum)
			}
		}
	}
	if more := g.Differing - len(g.Differences); more > 0 {
		fmt.Fprintf(out, "  and %d more\n", more)
	}
}
