// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/kvorum/kvorum/httpd"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/native"
	"github.com/kvorum/kvorum/tcpd/resp"
)

// listeners are the client ports; a nil one is off.
type listeners struct {
	http, native, resp net.Listener
}

func listen(h *host.Host, c *config) (*listeners, error) {
	l := &listeners{}
	for _, p := range []struct {
		addr string
		ln   *net.Listener
	}{{c.HTTP, &l.http}, {c.Native, &l.native}, {c.RESP, &l.resp}} {
		if p.addr == "off" {
			continue
		}
		ln, err := h.Net.Listen(p.addr)
		if err != nil {
			l.close()
			return nil, listenError(err)
		}
		*p.ln = ln
	}
	return l, nil
}

// probe tells whether an address can be listened on now.
func probe(h *host.Host, addr string) error {
	ln, err := h.Net.Listen(addr)
	if err != nil {
		return listenError(err)
	}
	return ln.Close()
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.http, l.native, l.resp} {
		if ln != nil {
			_ = ln.Close()
		}
	}
}

func (l *listeners) text(ln net.Listener) string {
	if ln == nil {
		return "off"
	}
	return ln.Addr().String()
}

// edges are the servers on the client ports.
type edges struct {
	lns    *listeners
	http   *http.Server
	native *tcpd.Server
	resp   *tcpd.Server
	// sessions makes native's sessions; it is closed behind the server.
	sessions *native.Handler
	wg       sync.WaitGroup
}

func openEdges(c *config, log *slog.Logger, h *host.Host, sn *shard.Node, lns *listeners) (*edges, error) {
	e := &edges{lns: lns}
	e.http = httpd.NewServer(httpd.Config{Node: sn, Router: sn.Router(), Limits: sn.Router().Table().Limits(), Timeout: c.Timeout, Version: version, Logger: log})
	var err error
	e.sessions, err = native.New(native.Config{
		Router: sn.Router(), Table: sn.Router().Table(), NodeID: sn.ID(), Version: version, Leader: sn.Router().Leader,
		ClusterID: func() string {
			if v := sn.View(); v != nil {
				return v.ClusterID
			}
			return ""
		},
	})
	if err != nil {
		return nil, err
	}
	tc := tcpd.Config{
		Protocol: "native", Open: e.sessions.Open, MaxCommand: e.sessions.MaxCommand(), Refusal: native.Refusal(),
		MaxConns: c.MaxConnections, Logger: log,
	}
	if e.native, err = tcpd.New(tc); err == nil {
		e.resp, err = openRESP(c, log, h, sn)
	}
	if err != nil {
		e.sessions.Close()
		return nil, err
	}
	return e, nil
}

func openRESP(c *config, log *slog.Logger, h *host.Host, sn *shard.Node) (*tcpd.Server, error) {
	var srv *tcpd.Server
	handler, err := resp.New(resp.Config{
		Router: sn.Router(), Table: sn.Router().Table(), Cluster: sn, Bus: sn.Router().Bus(), Scripts: sn.Router().Scripts(), NodeID: sn.ID(), Version: version,
		Redirect: c.RedisRedirect, Debug: c.DebugCommands, MaxConns: c.MaxConnections, Wall: h.Wall.Now,
		Server: func() tcpd.Stats { return srv.Stats() },
	})
	if err != nil {
		return nil, err
	}
	srv, err = tcpd.New(tcpd.Config{
		Protocol: "resp", Open: handler.Open, MaxCommand: handler.MaxCommand(), Refusal: resp.Refusal(),
		MaxConns: c.MaxConnections, Logger: log,
	})
	return srv, err
}

// serve runs every edge; one that breaks stops the node.
func (e *edges) serve(stop context.CancelCauseFunc) {
	run := func(ln net.Listener, name string, f func(net.Listener) error) {
		if ln == nil {
			return
		}
		e.wg.Go(func() {
			if err := f(ln); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, tcpd.ErrClosed) {
				stop(&fatalError{fmt.Errorf("%s listener: %w", name, err)})
			}
		})
	}
	run(e.lns.http, "HTTP", e.http.Serve)
	run(e.lns.native, "native", e.native.Serve)
	run(e.lns.resp, "RESP", e.resp.Serve)
}

func (e *edges) shutdown(log *slog.Logger, drain time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := errors.Join(e.native.Shutdown(ctx), e.resp.Shutdown(ctx), e.http.Shutdown(ctx)); err != nil {
		log.Warn("clients were cut off", slog.Any("error", err))
		_ = e.http.Close()
	}
	e.wg.Wait()
	e.sessions.Close()
}

// resolvePeer asks the HTTP address of a member for its peer address, so that 'join' takes either.
func resolvePeer(ctx context.Context, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/cluster", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: direct()}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var s shard.Status
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 16<<20)).Decode(&s); err != nil {
		return "", fmt.Errorf("%s is no Kvorum HTTP port: %w", addr, err)
	}
	if !s.Cluster.Initialised {
		return "", fmt.Errorf("%s: %w", addr, shard.ErrMemberUninitialised)
	}
	for i := range s.Nodes {
		if s.Nodes[i].ID == s.Cluster.Self {
			return s.Nodes[i].Addrs["peer"], nil
		}
	}
	return "", fmt.Errorf("%s does not say its peer address", addr)
}
