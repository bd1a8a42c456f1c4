// SPDX-License-Identifier: Apache-2.0

package tcpdtest

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/tcpd"
)

// Server is a tcpd.Server on the host "server" of an in-memory network.
type Server struct {
	*tcpd.Server
	World *host.World

	addr   string
	served chan error
}

// Serve starts a server of cfg at a port such as ":7403".
func Serve(t testing.TB, port string, cfg tcpd.Config) *Server {
	t.Helper()
	s := &Server{World: host.NewWorld(1), addr: "server" + port, served: make(chan error, 1)}
	var err error
	if s.Server, err = tcpd.New(cfg); err != nil {
		t.Fatal(err)
	}
	ln, err := s.World.Host("server").Net.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	go func() { s.served <- s.Server.Serve(ln) }()
	return s
}

// Dial connects from the host "client".
func (s *Server) Dial(t testing.TB) net.Conn {
	t.Helper()
	nc, err := s.World.Host("client").Net.Dial(context.Background(), s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// Stop closes the server and waits for its end. The network stays until World.Close.
func (s *Server) Stop(t testing.TB) {
	_ = s.Server.Close()
	if err := <-s.served; !errors.Is(err, tcpd.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}
