// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

const (
	// maxReadBatches is how many batches of reads to one group may be under way.
	maxReadBatches = 2
	// readTimeout bounds a batch of reads at another node; calls repeat it within their own time.
	readTimeout = 2 * time.Second
)

// reader merges the reads of all calls for a group that another node leads. Reads change nothing:
// a batch that fails goes back to its calls, which route it anew.
type reader struct {
	line
	// flying are the batches under way, starting counts goroutines that are about to take one; guarded by line.mu.
	flying   []*batch
	starting int
	// crowd is how many units the batch before had.
	crowd int
}

func (rd *reader) init(rt *route) { rd.line.init(rt, true) }

// add accepts a unit of reads and sees to it that it is sent.
func (rd *reader) add(u *unit) {
	if rd.accept(u) {
		rd.pump()
	}
}

// pump sends batches while fewer than maxReadBatches are under way.
func (rd *reader) pump() {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	for !rd.closed && len(rd.flying)+rd.starting < min(maxReadBatches, len(rd.flying)+len(rd.queue)) {
		rd.starting++
		rd.r.work.Add(1)
		crowd := rd.crowd
		go func() {
			defer rd.r.work.Done()
			if crowd > 1 {
				runtime.Gosched() // whoever is ready to read comes along
			}
			rd.start()
		}()
	}
}

// start sends the head of the queue.
func (rd *reader) start() {
	rd.mu.Lock()
	rd.starting--
	var b *batch
	if !rd.closed {
		b = rd.takeLocked()
	}
	if b == nil {
		rd.mu.Unlock()
		return
	}
	ctx, cancel := context.WithTimeout(rd.r.ctx, readTimeout)
	defer cancel()
	b.inFlight, b.cancel, rd.crowd = true, cancel, len(b.units)
	rd.flying = append(rd.flying, b)
	rd.mu.Unlock()
	rd.attempt(ctx, b)
}

func (rd *reader) attempt(ctx context.Context, b *batch) {
	t := rd.rt.target()
	rd.mu.Lock()
	b.node = t.node
	rd.mu.Unlock()
	if t.asked {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
	}
	var err error = errNoTarget
	rd.r.counts.readBatches.Add(1)
	if t.node != "" {
		rd.r.counts.forwarded.Add(1)
		q := forwardRequest{
			Kind: forwardRead, Group: rd.rt.group, Timeout: readTimeout, Count: b.sub.Writes, Body: b.sub.Body,
			Room: b.askRoom(rd.r, true),
		}
		if own := rd.rt.local.Load(); own != nil {
			q.Voucher = own.Vouch() // behind the arrival of all of b's reads
		}
		var reply []byte
		reply, err = rd.r.cfg.Link.Call(ctx, t.node, raftnode.ClassForward, appendForwardRequest(nil, &q))
		if err == nil {
			b.frame = len(reply)
			err = parseForwardReply(reply, forwardRead, &b.sub)
		}
	}
	v, hint := classify(err)
	switch v {
	case answered:
		if len(b.sub.Results) != b.sub.Writes {
			v = notSent
		}
	default:
		if t.node != "" {
			rd.rt.disappointed(t.node, hint)
		}
		if v == lost {
			v = notSent // reads that may have run changed nothing
		}
	}
	if t.local != nil {
		v = refusedNotLeader
		if t.local.IsLeader() {
			v = retryAtOnce // this node leads by now: the calls read here
		}
	}
	rd.settle(b, v)
}

func (rd *reader) settle(b *batch, v verdict) {
	rd.mu.Lock()
	rd.flying = slices.DeleteFunc(rd.flying, func(f *batch) bool { return f == b })
	rd.last = v
	f := rd.fateLocked(b, v)
	if rd.closed && v != answered {
		f.how, f.final = refusedClosing, true
	}
	rd.mu.Unlock()
	rd.pump()
	rd.tell(f)
}

// wake ends the attempts at nodes other than leader, because leader was learnt.
func (rd *reader) wake(leader string) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	for _, b := range rd.flying {
		if b.node != "" && b.node != leader {
			b.cancel()
		}
	}
}

// close tells every caller that this node is closing.
func (rd *reader) close() {
	rd.mu.Lock()
	rd.closed = true
	var fates []fate
	for _, b := range rd.queue {
		f := rd.fateLocked(b, refusedClosing)
		f.final = true
		fates = append(fates, f)
	}
	rd.queue = nil
	rd.mu.Unlock()
	for _, f := range fates {
		rd.tell(f)
	}
}
