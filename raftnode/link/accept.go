// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// acceptPause is the wait after an Accept that failed for a passing reason, such as a lack of
// file descriptors.
const acceptPause = 20 * time.Millisecond

// Listen binds addr and begins to accept connections. It is called once.
func (l *Link) Listen(addr string) error {
	ln, err := l.cfg.Host.Net.Listen(addr)
	if err != nil {
		return fmt.Errorf("link: listen on %s: %w", addr, err)
	}
	l.mu.Lock()
	refuse := l.mu.closed || l.mu.ln != nil
	if !refuse {
		l.mu.ln = ln
	}
	l.mu.Unlock()
	if refuse || !l.spawn(func() { l.acceptLoop(ln) }) {
		_ = ln.Close()
		return fmt.Errorf("link: listen on %s: %w", addr, ErrClosed)
	}
	return nil
}

// Addr returns the address listened on, "" before Listen.
func (l *Link) Addr() string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.mu.ln == nil {
		return ""
	}
	return l.mu.ln.Addr().String()
}

func (l *Link) acceptLoop(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			if l.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-time.After(acceptPause):
				continue
			case <-l.ctx.Done():
				return
			}
		}
		if l.greeting.Add(1) > maxGreeting || !l.spawn(func() { l.inbound(nc) }) {
			l.greeting.Add(-1)
			_ = nc.Close()
		}
	}
}

// inbound shakes hands and serves the connection.
func (l *Link) inbound(nc net.Conn) {
	c, err := l.receive(nc)
	l.greeting.Add(-1)
	if err != nil {
		l.stats.refused.Add(1)
		_ = nc.Close()
		l.log.Debug("peer connection refused", "peer", nc.RemoteAddr().String(), "err", err)
		return
	}
	l.stats.accepted.Add(1)
	l.hearFrom(c.info.node)
	c.serve()
}

// receive reads the hello and answers it.
func (l *Link) receive(nc net.Conn) (*serverConn, error) {
	_ = nc.SetDeadline(now().Add(handshakeTimeout))
	unclose := closeWith(l, nc)
	defer unclose()
	body, err := readGreeting(nc, helloMagic)
	if err != nil {
		return nil, err
	}
	h, err := parseHello(body)
	if err != nil {
		return nil, err
	}
	mine := l.Cluster()
	answer := welcome{
		Code: judgeHello(&h, l.cfg.Node, mine), Version: version, Features: knownFeatures,
		Epoch: mine.Epoch, Cluster: mine.Cluster, Sender: l.cfg.Node,
	}
	if answer.Code == welcomeOK && l.cfg.Admit != nil && l.cfg.Admit(h.Sender, h.Class) != nil {
		answer.Code = refuseNotAdmitted
	}
	if answer.Code != welcomeOK {
		_, _ = nc.Write(appendWelcome(nil, &answer))
		return nil, refusal(answer.Code)
	}
	w := newWire(nc, &l.stats)
	info := connInfo{peerKey: peerKey{h.Sender, h.Class}, identity: mine, inbound: true}
	if err := l.register(w, info); err != nil {
		if errors.Is(err, ErrBusy) {
			answer.Code = refuseTooManyConns
			_, _ = nc.Write(appendWelcome(nil, &answer))
		}
		return nil, err
	}
	if _, err := nc.Write(appendWelcome(nil, &answer)); err != nil {
		l.unregister(w)
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	return newServerConn(l, w, info), nil
}

// hearFrom lets dials to a node that just dialed us go ahead.
func (l *Link) hearFrom(node string) {
	for class := ClassRaft; class <= maxClass; class++ {
		l.mu.RLock()
		p := l.mu.peers[peerKey{node, class}]
		l.mu.RUnlock()
		if p != nil {
			p.alive()
		}
	}
}
