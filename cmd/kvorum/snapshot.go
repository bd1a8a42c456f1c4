// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/httpd"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/snapshots"
)

// transferTime is the default time that a save or restore may take.
const transferTime = 24 * time.Hour

func newSnapshot(io stdio) *cobra.Command {
	c := &cobra.Command{
		Use: "snapshot", Short: "Save, inspect and restore the whole cluster's data", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }, // without it any word would pass
	}
	c.AddCommand(newSave(io), newInspect(io), newRestore(io), newTake(io))
	return c
}

func newTake(io stdio) *cobra.Command {
	var e endpoint
	c := e.command(io, &cobra.Command{
		Use: "take", Short: "Let every replica on every node take a snapshot of its own now", Args: cobra.NoArgs,
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
	setTimeout(c, membershipTime)
	return c
}

func newSave(io stdio) *cobra.Command {
	var e endpoint
	var force bool
	c := e.command(io, &cobra.Command{
		Use: "save FILE", Short: "Save the whole cluster's data into one file", Args: cobra.ExactArgs(1),
		Long: "Writes every key of every group, as it is after all writes acknowledged before the command began, into one\n" +
			"file. Everything is checked as it comes; the file appears whole or not at all. Reads and writes go on meanwhile.",
		Example: "  kvorum snapshot save backup.kvsave --addr 10.0.0.1:7401",
	}, func(ctx context.Context, a *api, args []string) error {
		return save(ctx, io, a, e.output, args[0], force)
	})
	c.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	setTimeout(c, transferTime)
	return c
}

// save streams a save into a file.
func save(ctx context.Context, io stdio, a *api, output, name string, force bool) error {
	h := host.Real()
	out, err := snapshots.CreateFile(h.FS, h.Rand, filepath.ToSlash(name), force)
	if errors.Is(err, os.ErrExist) {
		return &exitError{exitUsage, fmt.Errorf("%s exists: give --force to replace it", name)}
	}
	if err != nil {
		return plainError{err}
	}
	came := out
	defer func() { _ = came.Abort() }() // the reason is on its way already
	began := time.Now()
	info, err := receive(ctx, io, a, came)
	if err != nil {
		return err
	}
	if len(info.Voids) > 0 {
		if out, info, err = withoutVoids(h, came, info, name, force); err != nil {
			return plainError{err}
		}
	}
	if err := out.Commit(); err != nil {
		return plainError{err}
	}
	return printTransfer(io.out, output, "saved", name, out.Size(), info, time.Since(began))
}

// receive reads a save from a node into out, and checks all of it.
func receive(ctx context.Context, stdio stdio, a *api, out *snapshots.File) (*fsm.SaveInfo, error) {
	resp, err := a.stream(ctx, http.MethodGet, "/v1/cluster/save", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b := newBar(stdio.err, "saving")
	defer b.end()
	info, err := walkSave(io.TeeReader(resp.Body, out), b, func() int64 { return out.Size() })
	if err == nil {
		return info, nil
	}
	if ctx.Err() == nil && out.Err() == nil {
		_, _ = io.Copy(io.Discard, resp.Body) // the trailer comes last
	}
	switch why := resp.Trailer.Get(httpd.SaveErrorTrailer); {
	case out.Err() != nil:
		return nil, plainError{out.Err()}
	case why != "":
		return nil, &exitError{exitFailed, errors.New(plain(why))}
	case fsm.SaveDamaged(err) && ctx.Err() == nil:
		return nil, &exitError{exitFailed, fmt.Errorf("%s broke the save off: %w", a.addr, plainError{err})}
	}
	return nil, requestError(http.MethodGet, a.addr, err)
}

// walkSave reads a save to its end with all checks, and draws how far it is by the slots it has seen.
func walkSave(r io.Reader, b *bar, bytes func() int64) (*fsm.SaveInfo, error) {
	sr, err := fsm.NewSaveReader(r, true)
	if err != nil {
		return nil, err
	}
	var before, within, keys int64
	for {
		step, err := sr.Next()
		if errors.Is(err, io.EOF) {
			return sr.Info(), nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case step.Cut != nil:
			within = int64(step.Cut.Slots.Len())
		case step.Done != nil:
			before += within
			keys += step.Done.Totals.Keys
			within = 0
		case step.Void:
			within = 0
		default:
			seen := float64(before) + float64(within)*float64(step.Slot)/fsm.Slots
			b.set(seen/fsm.Slots, fmt.Sprintf("%d keys, %s", keys, human(uint64(bytes()))))
		}
	}
}

// withoutVoids makes a file anew without the parts that broke off.
func withoutVoids(h *host.Host, with *snapshots.File, info *fsm.SaveInfo, name string, force bool) (*snapshots.File, *fsm.SaveInfo, error) {
	out, err := snapshots.CreateFile(h.FS, h.Rand, filepath.ToSlash(name), force)
	if err != nil {
		return nil, nil, err
	}
	err = fsm.CopySave(out, with.Content(), info.Voids)
	var again *fsm.SaveInfo
	if err == nil {
		again, err = walkSave(out.Content(), newBar(nil, ""), out.Size)
	}
	if err == nil && again.Content != info.Content {
		err = fsm.ErrSaveDigest
	}
	if err != nil {
		return nil, nil, errors.Join(err, out.Abort())
	}
	return out, again, nil
}

// openSave opens a file to read.
func openSave(name string) (host.File, int64, error) {
	f, err := host.Real().FS.OpenFile(filepath.ToSlash(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, &exitError{exitUsage, err}
	}
	size, err := f.Size()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// checkSave reads a whole file and proves that it is a save.
func checkSave(ctx context.Context, stdio stdio, f host.File, size int64, name string) (*fsm.SaveInfo, error) {
	b := newBar(stdio.err, "checking")
	defer b.end()
	r := &meteredReader{ctx: ctx, r: f, told: func(n int64) { b.set(float64(n)/float64(max(size, 1)), human(uint64(n))) }}
	info, err := walkSave(r, newBar(nil, ""), func() int64 { return 0 })
	switch {
	case err == nil:
		return info, nil
	case ctx.Err() != nil:
		return nil, &exitError{exitFailed, errors.New("stopped")}
	case fsm.SaveDamaged(err):
		return nil, &exitError{exitDamaged, fmt.Errorf("%s: %w", name, plainError{err})}
	}
	return nil, &exitError{exitFailed, fmt.Errorf("%s: %w", name, plainError{err})}
}

// meteredReader tells how much was read, and ends with a context.
type meteredReader struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	told func(n int64)
}

func (m *meteredReader) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.told(m.n)
	return n, err
}

// printTransfer says what a save or restore moved.
func printTransfer(w io.Writer, output, what, name string, size int64, info *fsm.SaveInfo, took time.Duration) error {
	seconds := max(took.Seconds(), 0.001)
	if output == "json" {
		return printJSON(w, map[string]any{
			"file": name, "fileBytes": size, "groups": len(info.Groups), "keys": info.Totals.Keys, "epoch": info.Head.Epoch,
			"cluster": info.Head.Cluster, "content": hex.EncodeToString(info.Content[:]), "seconds": seconds,
			"keysPerSecond": float64(info.Totals.Keys) / seconds,
		})
	}
	_, err := fmt.Fprintf(w, "%s %d keys of %d groups in %.1f s (%.0f keys/s), file %s of %s\ncontent %s\n", what, info.Totals.Keys, len(info.Groups),
		seconds, float64(info.Totals.Keys)/seconds, name, human(uint64(size)), hex.EncodeToString(info.Content[:]))
	return err
}
