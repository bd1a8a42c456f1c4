// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the release build; docs and status show it.
var version = "0.1.0-dev"

// Exit codes; doc.go documents them.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitUnknown  = 3
	exitNotFound = 4
	exitDamaged  = 5
)

// exitError carries the exit code of a command that has said what it had to say in err.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// stdio is what a command reads, writes and is told by its surroundings.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

func main() {
	keepAwake()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr, os.Getenv})
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit code. It is the whole program: tests call it.
func run(ctx context.Context, args []string, io stdio) int {
	root := newRoot(io)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	printError(io.err, err)
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitUsage
}

func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "kvorum",
		Short: "A sharded, Raft-replicated, strongly consistent key-value store",
		Long: "Kvorum keeps keys on shard groups, each replicated by Raft: a reply means that the write is on the\n" +
			"disks of a majority. Try it: 'kvorum dev' starts three nodes here, 'kvorum status' shows them.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.AddGroup(
		&cobra.Group{ID: "node", Title: "Nodes:"},
		&cobra.Group{ID: "cluster", Title: "Cluster:"},
		&cobra.Group{ID: "data", Title: "Data:"},
		&cobra.Group{ID: "tool", Title: "Tools:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("node", newServe(io), newDev(io))
	add("cluster", newJoin(io), newLeave(io), newStatus(io), newSnapshot(io), newCheck(io))
	add("data", newGet(io), newSet(io), newDel(io), newExec(io))
	add("tool", newBench(io), newVersion(io))
	explainUsage(root)
	return root
}

func newVersion(io stdio) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(io.out, "kvorum %s\n", version)
			return nil
		},
	}
}
