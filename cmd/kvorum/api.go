// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	defaultAddr = "127.0.0.1:7401"
	// maxReply bounds what a command line tool reads of one answer.
	maxReply = 256 << 20
	// continueTime is how long a large body waits for the node's word.
	continueTime = 30 * time.Second
)

// api asks one member over HTTP.
type api struct {
	addr   string
	client *http.Client
}

// endpoint is the part of the flags that every client command shares.
type endpoint struct {
	addr    string
	timeout time.Duration
	output  string
}

func (e *endpoint) bind(f *pflag.FlagSet, io stdio) {
	addr := io.getenv("KVORUM_ADDR")
	if addr == "" {
		addr = defaultAddr
	}
	f.StringVar(&e.addr, "addr", addr, "HTTP address of any member, host:port [$KVORUM_ADDR]")
	f.DurationVar(&e.timeout, "timeout", 10*time.Second, "time the command may take")
	f.StringVarP(&e.output, "output", "o", "table", "table or json")
}

func (e *endpoint) open() (*api, error) {
	if e.output != "table" && e.output != "json" {
		return nil, &exitError{exitUsage, fmt.Errorf("-o %q is neither table nor json", e.output)}
	}
	if _, _, err := net.SplitHostPort(e.addr); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--addr %q is no host:port", e.addr)}
	}
	if e.timeout <= 0 {
		return nil, &exitError{exitUsage, fmt.Errorf("--timeout %v is not positive", e.timeout)}
	}
	return &api{addr: e.addr, client: &http.Client{Transport: direct()}}, nil
}

// direct reaches nodes without a proxy: the one that is set for the web does not lead to them.
func direct() *http.Transport { return &http.Transport{DisableKeepAlives: true} }

// command makes a client command: flags of the endpoint, an api, a deadline.
func (e *endpoint) command(io stdio, c *cobra.Command, f func(ctx context.Context, a *api, args []string) error) *cobra.Command {
	e.bind(c.Flags(), io)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := e.open()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), e.timeout)
		defer cancel()
		err = f(ctx, a, args)
		if _, coded := errors.AsType[*exitError](err); err != nil && !coded {
			return &exitError{exitFailed, err} // the command line was right
		}
		return err
	}
	return c
}

// do sends one request. A refusal comes back as *exitError around *apiError; an absent key has a code of
// its own.
func (a *api) do(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, http.Header, error) {
	u := "http://" + a.addr + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, nil, &exitError{exitUsage, err}
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, nil, requestError(method, a.addr, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, nil, requestError(method, a.addr, err)
	}
	if resp.StatusCode < 300 {
		return data, resp.Header, nil
	}
	return nil, resp.Header, a.refusal(resp, data)
}

// stream sends a request whose body or answer is large; the caller closes the answer's. The body, if there
// is one, is not sent before the node is willing to read it. ctx bounds all of it.
func (a *api) stream(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	if body != nil {
		body = io.NopCloser(body) // whoever made it closes it
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.addr+path, body)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	tr := direct()
	if body != nil {
		req.Header.Set("Expect", "100-continue")
		tr.ExpectContinueTimeout = continueTime
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return nil, requestError(method, a.addr, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, requestError(method, a.addr, err)
	}
	return nil, a.refusal(resp, data)
}

// refusal is what an answer of 300 and above means.
func (a *api) refusal(resp *http.Response, data []byte) error {
	e := &apiError{Status: resp.StatusCode, Addr: a.addr}
	if json.Unmarshal(data, e) != nil {
		e.Text = strings.TrimSpace(string(data))
	}
	code := exitFailed
	switch {
	case e.Applied == "unknown" || resp.StatusCode == http.StatusGatewayTimeout:
		code = exitUnknown
	case resp.StatusCode == http.StatusNotFound && e.Kind == "no-such-key":
		code = exitNotFound
	}
	return &exitError{code, e}
}

func (a *api) get(ctx context.Context, path string, into any) error {
	data, _, err := a.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return &exitError{exitFailed, fmt.Errorf("%s: unreadable answer: %w", path, err)}
	}
	return nil
}

// keyPath escapes every byte of a key that has a meaning in a path.
func keyPath(key string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString("/v1/kv/")
	for i := range len(key) {
		c := key[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
