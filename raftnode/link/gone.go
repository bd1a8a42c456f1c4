// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// A process that dies takes its connections with it, and its kernel says so at once. From then on
// nothing listens at its address, and its kernel refuses dials. A node counts as gone when no
// connection to or from it is left and a dial to it was refused after the last one had ended. A
// machine that lost power, or a cut network, says nothing: such nodes do not count as gone.
const (
	// goneTries is how often a node whose last connection ended is dialed; a dying process may close
	// its listener behind its connections.
	goneTries = 8
	// gonePause lies between two tries.
	gonePause = 20 * time.Millisecond
	// goneTimeout bounds one try.
	goneTimeout = 200 * time.Millisecond
)

// presence is what the link knows of a node's process. It is guarded by Link.mu.
type presence struct {
	// conns counts the connections to and from the node.
	conns int
	// gone: see above. False while conns is not 0.
	gone bool
	// probing: a goroutine is finding out.
	probing bool
}

// Gone tells whether the process of a node is known to be gone. A node that was never heard of is
// not.
func (l *Link) Gone(node string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p := l.mu.nodes[node]
	return p != nil && p.gone
}

// cameLocked counts a connection of a node.
func (l *Link) cameLocked(node string) {
	if node == "" {
		return
	}
	p := l.mu.nodes[node]
	if p == nil {
		p = new(presence)
		l.mu.nodes[node] = p
	}
	p.conns++
	p.gone = false
}

// leftLocked counts a connection that ended; true when the caller must probe the node.
func (l *Link) leftLocked(node string) (probe bool) {
	p := l.mu.nodes[node]
	if p == nil || p.conns == 0 {
		return false // forgotten meanwhile
	}
	p.conns--
	if p.conns > 0 || p.probing || l.mu.closed {
		return false
	}
	p.probing = true
	return true
}

// probe finds out whether a node's process is gone.
func (l *Link) probe(node string) {
	gone := l.refuses(node)
	l.mu.Lock()
	p := l.mu.nodes[node]
	if p != nil {
		p.probing = false
		p.gone = gone && p.conns == 0
		gone = p.gone
	}
	l.mu.Unlock()
	if p != nil && gone && l.cfg.Gone != nil {
		l.cfg.Gone(node)
	}
}

// refuses dials a node until it refuses, it is back, or the tries are used up.
func (l *Link) refuses(node string) bool {
	pause := time.NewTimer(gonePause)
	defer pause.Stop()
	for range goneTries {
		addr, ok := l.address(node)
		if !ok || l.present(node) {
			return false
		}
		ctx, cancel := context.WithTimeout(l.ctx, goneTimeout)
		nc, err := l.cfg.Host.Net.Dial(ctx, addr)
		cancel()
		if err == nil {
			_ = nc.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
		pause.Reset(gonePause)
		select {
		case <-pause.C:
		case <-l.ctx.Done():
			return false
		}
	}
	return false
}

// present tells whether there is a connection to or from a node.
func (l *Link) present(node string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p := l.mu.nodes[node]
	return p != nil && p.conns > 0
}
