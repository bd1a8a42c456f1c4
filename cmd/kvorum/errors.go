// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/raftnode"
)

// plain leaves the names of packages out of a text: they help who reads code, in logs, and nobody else.
func plain(text string) string {
	for _, pkg := range []string{"shard", "raftnode", "logstore", "snapshots", "fsm", "link", "host"} {
		text = strings.ReplaceAll(" "+text, " "+pkg+": ", " ")[1:]
	}
	return text
}

// plainError words err for people and stays err.
type plainError struct{ error }

func (e plainError) Error() string { return plain(e.error.Error()) }
func (e plainError) Unwrap() error { return e.error }

// printError says what went wrong, a line for each fault.
func printError(w io.Writer, err error) {
	text := err.Error()
	if strings.HasPrefix(text, "unknown command ") {
		head, similar, found := strings.Cut(text, "\n\nDid you mean this?\n")
		text = head + "; 'kvorum --help' lists the commands"
		if found {
			text = head + "; did you mean " + strings.Join(slices.Sorted(strings.FieldsSeq(similar)), " or ") + "?"
		}
	}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		fmt.Fprintf(w, "kvorum: %s\n", line)
	}
}

// explainUsage lets every command that refuses its words or flags say what it takes.
func explainUsage(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if strings.HasPrefix(err.Error(), "unknown ") {
			return fmt.Errorf("%w; '%s --help' lists the flags; -- goes before a word that begins with -", err, c.CommandPath())
		}
		return fmt.Errorf("%w; '%s --help' says more", err, c.CommandPath())
	})
	for _, sub := range c.Commands() {
		if judge := sub.Args; judge != nil {
			sub.Args = func(c *cobra.Command, args []string) error {
				err := judge(c, args)
				if err != nil && !strings.HasPrefix(err.Error(), "unknown command ") {
					return fmt.Errorf("%w; usage: %s", err, c.UseLine())
				}
				return err
			}
		}
		explainUsage(sub)
	}
}

// listenError says what to do about an address that cannot be listened on.
func listenError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: stop what listens there or choose another --port", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this machine has that address", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: choose a --port above 1023", err)
	}
	return err
}

// openError says what to do about a data folder that cannot be opened.
func openError(err error) error {
	if errors.Is(err, raftnode.ErrInUse) {
		return fmt.Errorf("%w: stop that process or give another --data", err)
	}
	return err
}

// apiError is a refusal as the HTTP edge words it.
type apiError struct {
	Status  int    `json:"-"`
	Addr    string `json:"-"` // who refused
	Text    string `json:"error"`
	Kind    string `json:"kind"`
	Applied string `json:"applied"`
}

func (e *apiError) Error() string {
	text := strings.ReplaceAll(plain(e.Text), ": use /v1/exec", ": use 'kvorum exec'")
	if e.Kind == "" { // no node words a refusal like this
		return strings.TrimSpace(fmt.Sprintf("%s answers %d %s, as no Kvorum node does: --addr wants the HTTP port of one; %s", e.Addr, e.Status, http.StatusText(e.Status), text))
	}
	switch e.Kind {
	case "cluster-is-not-initialised":
		text += fmt.Sprintf(": 'kvorum status --addr %s' says what to do", e.Addr)
	case "no-leader-found", "no-quorum":
		text += fmt.Sprintf(": 'kvorum status --addr %s' shows which nodes are missing", e.Addr)
	}
	if e.Applied == "unknown" {
		return text + " (outcome unknown: it may have been applied)"
	}
	return text
}

// requestError words a request that got no answer. One that broke after it was sent has an unknown
// outcome if it could write.
func requestError(method, addr string, err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return &exitError{exitFailed, fmt.Errorf("no node answers at %s (%w); name another with --addr, or start one with 'kvorum dev'", addr, op.Err)}
	}
	code, outcome := exitFailed, ""
	if method != http.MethodGet {
		code, outcome = exitUnknown, " (outcome unknown: it may have been applied)"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer from %s in time: give a longer --timeout, or name another node with --addr%s", addr, outcome)
	case errors.Is(err, context.Canceled):
		err = fmt.Errorf("stopped before %s answered%s", addr, outcome)
	case strings.Contains(err.Error(), "malformed HTTP"):
		err = fmt.Errorf("%s does not speak HTTP: --addr wants the HTTP port, one above the peer port%s", addr, outcome)
	default:
		err = fmt.Errorf("%s broke the connection off (%w)%s", addr, rootCause(err), outcome)
	}
	return &exitError{code, err}
}

func rootCause(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}
