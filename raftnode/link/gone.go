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
	// goneAnswers is how many dials that succeed prove a process alive: the first may have met one that
	// was dying.
	goneAnswers = 3
	// gonePause lies between two tries.
	gonePause = 20 * time.Millisecond
	// goneTimeout bounds one try.
	goneTimeout = 200 * time.Millisecond
)

// presence is what the link knows of a node's process. It is guarded by Link.mu.
type presence struct {
	// conns counts the connections to and from the node, came those that ever came about.
	conns int
	came  uint64
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

// cameLocked counts a connection of a node, and returns what leftLocked wants; nil for no node.
func (l *Link) cameLocked(node string) *presence {
	if node == "" {
		return nil
	}
	p := l.mu.nodes[node]
	if p == nil {
		p = new(presence)
		l.mu.nodes[node] = p
	}
	p.conns++
	p.came++
	p.gone = false
	return p
}

// leftLocked counts a connection that ended; true when the caller must probe the node.
func (l *Link) leftLocked(node string, p *presence) (probe bool) {
	if p == nil {
		return false
	}
	p.conns--
	if p.conns > 0 || p.probing || l.mu.closed || l.mu.nodes[node] != p {
		return false
	}
	p.probing = true
	return true
}

// probe finds out whether a node's process is gone. A connection that came and went meanwhile makes
// what was found worthless: it looks again.
func (l *Link) probe(node string, p *presence) {
	for {
		l.mu.RLock()
		came := p.came
		l.mu.RUnlock()
		gone := l.refuses(node)
		l.mu.Lock()
		again := p.conns == 0 && p.came != came && !l.mu.closed
		if !again {
			p.probing = false
			gone = gone && p.conns == 0 && l.mu.nodes[node] == p
			p.gone = gone
		}
		l.mu.Unlock()
		if again {
			continue
		}
		if gone && l.cfg.Gone != nil {
			l.cfg.Gone(node)
		}
		return
	}
}

// refuses dials a node until it refuses, it is back, or the tries are used up.
func (l *Link) refuses(node string) bool {
	pause := time.NewTimer(gonePause)
	defer pause.Stop()
	answers := 0
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
			if answers++; answers == goneAnswers {
				return false
			}
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
