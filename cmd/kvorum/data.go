// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func newGet(io stdio) *cobra.Command {
	var e endpoint
	var stale bool
	c := e.command(io, &cobra.Command{
		Use: "get KEY", Short: "Print a key's value; exit code 4 when it does not exist", Args: cobra.ExactArgs(1),
		Long: "Prints the raw value followed by a line break; -o json prints value, version and time to live, which is\n" +
			"empty for a key that lives for ever.",
	}, func(ctx context.Context, a *api, args []string) error {
		q := url.Values{}
		if stale {
			q.Set("consistency", "stale")
		}
		value, header, err := a.do(ctx, http.MethodGet, keyPath(args[0]), q, nil)
		if err != nil {
			return missing(err, args[0])
		}
		if e.output == "json" {
			return printJSON(io.out, map[string]any{"key": textJSON(args[0]), "value": textJSON(string(value)), "version": versionOf(header), "ttl": header.Get("Kvorum-Ttl")})
		}
		_, err = fmt.Fprintf(io.out, "%s\n", value)
		return err
	})
	c.Flags().BoolVar(&stale, "stale", false, "read the asked node's own replica, which may be behind")
	return c
}

// versionOf is the one in an answer, as --if-version takes it.
func versionOf(h http.Header) string { return strings.Trim(h.Get("ETag"), `"`) }

func missing(err error, key string) error {
	if e, ok := errors.AsType[*exitError](err); ok && e.code == exitNotFound {
		return &exitError{exitNotFound, fmt.Errorf("%q does not exist", key)}
	}
	return err
}

func newSet(io stdio) *cobra.Command {
	var e endpoint
	var ttl time.Duration
	var nx bool
	var ifVersion *uint64
	var file string
	c := e.command(io, &cobra.Command{
		Use: "set KEY [VALUE]", Short: "Store a value; without VALUE it is read from --file or standard input", Args: cobra.RangeArgs(1, 2),
	}, func(ctx context.Context, a *api, args []string) error {
		value, err := valueOf(io, args, file)
		if err != nil {
			return err
		}
		q := url.Values{}
		switch {
		case ttl != 0 && ttl < time.Millisecond:
			return &exitError{exitUsage, fmt.Errorf("--ttl %v is below 1ms; without --ttl a key lives for ever", ttl)}
		case nx && ifVersion != nil:
			return &exitError{exitUsage, errors.New("--nx wants no key and --if-version wants one: give one of them")}
		}
		if ttl > 0 {
			q.Set("ttl", ttl.String())
		}
		cond := http.Header{}
		if nx {
			cond.Set("If-None-Match", "*")
		}
		if ifVersion != nil {
			cond.Set("If-Match", `"`+strconv.FormatUint(*ifVersion, 10)+`"`)
		}
		header, err := a.put(ctx, keyPath(args[0]), q, cond, value)
		if err != nil {
			return err
		}
		if e.output == "json" {
			return printJSON(io.out, map[string]any{"key": textJSON(args[0]), "version": versionOf(header)})
		}
		fmt.Fprintln(io.out, "OK")
		return nil
	})
	c.Flags().DurationVar(&ttl, "ttl", 0, "time to live; 0 for ever")
	c.Flags().BoolVar(&nx, "nx", false, "only if the key does not exist")
	c.Flags().Func("if-version", "only if the key has this `version`, which 'get -o json' shows", func(text string) error {
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return errors.New("no version")
		}
		ifVersion = &v
		return nil
	})
	c.Flags().StringVar(&file, "file", "", "read the value from this file; - for standard input")
	return c
}

func valueOf(stdio stdio, args []string, file string) ([]byte, error) {
	switch {
	case len(args) == 2 && file != "":
		return nil, &exitError{exitUsage, errors.New("give VALUE or --file, not both")}
	case len(args) == 2:
		return []byte(args[1]), nil
	case file == "" || file == "-":
		if typed(stdio.in) {
			fmt.Fprintln(stdio.err, "the value, ended by Ctrl-D:")
		}
		value, err := io.ReadAll(stdio.in)
		if err != nil {
			return nil, &exitError{exitFailed, fmt.Errorf("standard input: %w", err)}
		}
		return value, nil
	}
	value, err := os.ReadFile(file)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return value, nil
}

// typed tells whether what is read comes from somebody's keyboard.
func typed(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// put is do with conditions in the header.
func (a *api) put(ctx context.Context, path string, q url.Values, cond http.Header, body []byte) (http.Header, error) {
	sender := *a
	sender.client = &http.Client{Transport: headerTransport{cond, a.client.Transport}}
	_, header, err := sender.do(ctx, http.MethodPut, path, q, body)
	return header, err
}

// headerTransport adds fixed headers to each request.
type headerTransport struct {
	add http.Header
	by  http.RoundTripper
}

func (t headerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range t.add {
		r.Header[name] = values
	}
	return t.by.RoundTrip(r)
}

func newDel(io stdio) *cobra.Command {
	var e endpoint
	return e.command(io, &cobra.Command{
		Use: "del KEY…", Short: "Delete keys and print how many existed", Args: cobra.MinimumNArgs(1),
	}, func(ctx context.Context, a *api, args []string) error {
		return execute(ctx, io, a, append([]string{"DEL"}, args...))
	})
}

func newExec(io stdio) *cobra.Command {
	var e endpoint
	c := e.command(io, &cobra.Command{
		Use: "exec [flags] COMMAND [ARG…]", Short: "Run any command and print its reply as JSON", Args: cobra.MinimumNArgs(1),
		Long:    "Runs any data command and prints its reply as JSON. Flags stand before COMMAND: every word after it is the command's.",
		Example: "  kvorum exec RPUSH jobs a b c\n  kvorum exec LRANGE jobs 0 -1",
	}, func(ctx context.Context, a *api, args []string) error {
		return execute(ctx, io, a, args)
	})
	c.Flags().SetInterspersed(false)
	return c
}

// textJSON gives bytes as the HTTP edge takes and gives them: a string, or base64 when they are no
// text, which a JSON string cannot carry.
func textJSON(s string) any {
	if utf8.ValidString(s) {
		return s
	}
	return map[string][]byte{"base64": []byte(s)}
}

func execute(ctx context.Context, io stdio, a *api, args []string) error {
	words := make([]any, len(args))
	for i, arg := range args {
		words[i] = textJSON(arg)
	}
	body, err := json.Marshal(words)
	if err != nil {
		return err
	}
	data, _, err := a.do(ctx, http.MethodPost, "/v1/exec", nil, body)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.out, "%s\n", trimNewline(data))
	return err
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}
