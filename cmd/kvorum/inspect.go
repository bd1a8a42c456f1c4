// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/fsm"
)

func newInspect(io stdio) *cobra.Command {
	output := "table"
	c := &cobra.Command{
		Use: "inspect FILE", Short: "Check a save and print what is in it; needs no cluster", Args: cobra.ExactArgs(1),
		Long: "Reads the whole file, loads every slot and compares it with the digests in the file. Exit code 5 when the\n" +
			"file is damaged. 'content' is the same for two saves of the same data, however it is spread over groups.",
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if output != "table" && output != "json" {
			return &exitError{exitUsage, fmt.Errorf("-o %q is neither table nor json", output)}
		}
		f, size, err := openSave(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := checkSave(cmd.Context(), io, f, size, args[0])
		if err != nil {
			return err
		}
		d := describeSave(args[0], info)
		if output == "json" {
			return printJSON(io.out, d)
		}
		return printSave(io.out, d)
	}
	return c
}

// counts is SaveTotals in JSON.
type counts struct {
	Slots        int64 `json:"slots"` // that hold something
	Keys         int64 `json:"keys"`
	Timed        int64 `json:"keysWithTtl"`
	KeyBytes     int64 `json:"keyBytes"`
	ValueBytes   int64 `json:"valueBytes"`
	LogicalBytes int64 `json:"logicalBytes"`
}

func countsOf(t *fsm.SaveTotals) counts {
	return counts{t.Slots, t.Keys, t.Timed, t.KeyBytes, t.ValueBytes, t.LogicalBytes}
}

// description is what inspect prints; json tags are what its users rely on.
type description struct {
	File           string          `json:"file"`
	Bytes          int64           `json:"bytes"`
	Unpacked       uint64          `json:"unpackedBytes"`
	Cluster        string          `json:"cluster"`
	ClusterVersion uint32          `json:"clusterVersion"`
	Epoch          uint64          `json:"epoch"`
	Created        time.Time       `json:"created"`
	Program        string          `json:"program"`
	Settings       json.RawMessage `json:"settings"`
	Total          counts          `json:"total"`
	Groups         []groupCounts   `json:"groups"`
	Ranges         []rangeCounts   `json:"ranges"`
	Content        string          `json:"content"`
	SHA256         string          `json:"sha256"`
}

type groupCounts struct {
	Group   uint32    `json:"group"`
	Index   uint64    `json:"index"`
	Term    uint64    `json:"term"`
	Clock   time.Time `json:"clock"`
	Owned   int       `json:"ownedSlots"`
	Version uint64    `json:"version"`
	counts
}

type rangeCounts struct {
	First int `json:"first"`
	Last  int `json:"last"`
	counts
}

func describeSave(name string, info *fsm.SaveInfo) *description {
	h := &info.Head
	d := &description{
		File: name, Bytes: info.Stream.Size, Unpacked: info.Stream.Bytes,
		Cluster: h.Cluster, ClusterVersion: h.ClusterVersion, Epoch: h.Epoch,
		Created: time.UnixMilli(h.Created).UTC(), Program: h.Program, Settings: h.Settings, Total: countsOf(&info.Totals),
		Content: hex.EncodeToString(info.Content[:]), SHA256: hex.EncodeToString(info.Stream.Digest[:]),
	}
	if !json.Valid(d.Settings) {
		d.Settings = nil
	}
	for i := range info.Groups {
		g := &info.Groups[i]
		d.Groups = append(d.Groups, groupCounts{
			Group: g.Cut.Group, Index: g.Cut.Index, Term: g.Cut.Term, Clock: time.UnixMilli(g.Cut.Clock).UTC(),
			Owned: g.Cut.Slots.Len(), Version: g.Cut.Version, counts: countsOf(&g.Totals),
		})
	}
	const width = fsm.Slots / fsm.SaveRanges
	for i := range info.Ranges {
		d.Ranges = append(d.Ranges, rangeCounts{First: i * width, Last: (i+1)*width - 1, counts: countsOf(&info.Ranges[i])})
	}
	return d
}

func printSave(w io.Writer, d *description) error {
	fmt.Fprintf(w, "save of cluster %s at map epoch %d, made %s by kvorum %s\n", d.Cluster, d.Epoch, d.Created.Format(time.RFC3339), dash(d.Program))
	fmt.Fprintf(w, "file of %s, %s unpacked; sound to the last byte\n", human(uint64(d.Bytes)), human(d.Unpacked))
	fmt.Fprintf(w, "settings %s\ncontent %s\nsha256 %s\n\n", dash(string(d.Settings)), d.Content, d.SHA256)
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(head string, c *counts) {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", head, c.Slots, c.Keys, c.Timed, human(uint64(c.KeyBytes)), human(uint64(c.ValueBytes)), human(uint64(c.LogicalBytes)))
	}
	const columns = "\tIN USE\tKEYS\tWITH TTL\tKEY BYTES\tVALUE BYTES\tLOGICAL"
	fmt.Fprintln(tw, "GROUP\tINDEX\tSLOTS"+columns)
	for i := range d.Groups {
		g := &d.Groups[i]
		row(fmt.Sprintf("%d\t%d\t%d", g.Group, g.Index, g.Owned), &g.counts)
	}
	row("all\t\t"+fmt.Sprint(fsm.Slots), &d.Total)
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(tw, "\nSLOTS"+columns)
	for i := range d.Ranges {
		r := &d.Ranges[i]
		row(fmt.Sprintf("%d-%d", r.First, r.Last), &r.counts)
	}
	return tw.Flush()
}
