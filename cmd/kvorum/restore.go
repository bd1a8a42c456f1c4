// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/shard"
)

func newRestore(io stdio) *cobra.Command {
	var e endpoint
	var settings, cancel bool
	c := e.command(io, &cobra.Command{
		Use: "restore FILE", Short: "Restore a save into this cluster, which must be empty", Args: cobra.MaximumNArgs(1),
		Long: "Checks the whole file, then fills the cluster that --addr belongs to, whatever its number of groups and nodes:\n" +
			"keys, values, deadlines, flags and versions as they were. All or nothing: until the end no key can be read or\n" +
			"written, and a restore that is stopped or fails leaves the cluster empty; then run it again. A cluster that\n" +
			"holds keys is refused. --cancel ends a restore whose node is gone, and needs no FILE.",
		Example: "  kvorum snapshot restore backup.kvsave --addr 10.0.1.1:7401",
	}, func(ctx context.Context, a *api, args []string) error {
		switch {
		case cancel && len(args) == 0:
			if _, _, err := a.do(ctx, http.MethodDelete, "/v1/cluster/restore", nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(io.out, "the restore was ended; the cluster will be empty in a moment")
			return nil
		case cancel || len(args) == 0:
			return &exitError{exitUsage, errors.New("give a FILE, or --cancel alone")}
		}
		return restore(ctx, io, a, e.output, args[0], settings)
	})
	c.Flags().BoolVar(&settings, "settings", false, "take the save's memory limit, eviction policy and default TTL too")
	c.Flags().BoolVar(&cancel, "cancel", false, "end a restore whose node is gone; the cluster will be empty")
	setTimeout(c, transferTime)
	return c
}

func restore(ctx context.Context, stdio stdio, a *api, output, name string, settings bool) error {
	f, size, err := openSave(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := checkSave(ctx, stdio, f, size, name)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return plainError{err}
	}
	began := time.Now()
	path := "/v1/cluster/restore"
	if settings {
		path += "?settings=1"
	}
	if err := upload(ctx, stdio, a, path, f, size, info.Totals.Keys); err != nil {
		return err
	}
	return printTransfer(stdio.out, output, "restored", name, size, info, time.Since(began))
}

// restoreLine is one line of the answer.
type restoreLine struct {
	shard.RestoreProgress
	Done bool `json:"done"`
	apiError
}

// upload sends a save and follows the news of it.
func upload(ctx context.Context, stdio stdio, a *api, path string, f host.File, size, keys int64) error {
	b := newBar(stdio.err, "restoring")
	defer b.end()
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp() // a body that is still being sent ends with it
	body := &meteredReader{ctx: ctx, r: f, told: func(n int64) {
		b.set(0.95*float64(n)/float64(max(size, 1)), human(uint64(n)))
	}}
	resp, err := a.stream(ctx, http.MethodPost, path, body)
	if err != nil {
		return stopped(ctx, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var l restoreLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return &exitError{exitUnknown, fmt.Errorf("%s: unreadable answer: %w", path, err)}
		}
		switch {
		case l.Done:
			return nil
		case l.Text != "":
			l.Addr = a.addr
			code := exitFailed
			if l.Applied == "unknown" {
				code = exitUnknown
			}
			return &exitError{code, &l.apiError}
		case l.Phase == shard.RestoreVerify, l.Phase == shard.RestoreEnd:
			b.set(0.97, fmt.Sprintf("%d keys, comparing digests", keys))
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return stopped(ctx, requestError(http.MethodPost, a.addr, err))
}

// stopped words the end of a restore that was stopped here; err otherwise.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return &exitError{exitUnknown, errors.New("stopped: the cluster will be empty in a moment, unless the restore had just ended; 'kvorum status' shows it, and it can be run again")}
}
