// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/tcpd"
)

// Goal: a subscriber that does not read is cut when more than maxPushes wait for it; the publisher and
// other subscribers do not notice, and what was queued is given back.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		slow, quick, from := b.dial(), b.dial(), b.dial()
		for _, p := range []*peer{slow, quick, from} {
			defer p.close()
		}
		slow.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
		quick.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
		start := time.Now()
		for _, size := range []int{4 << 10, 100 << 10} {
			body := strings.Repeat("x", size)
			for i := 0; b.h.hub.subscribers(channels, []byte("a")) == 2 && i <= 2*maxPushes/size; i++ {
				go from.send(words("PUBLISH", "a", body))
				quick.want(said("message", "a", body))
				from.fill()
				synctest.Wait()
				if i == maxPushes/size/2 && size < 10<<10 {
					break // a half of the limit in small ones
				}
			}
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("the publisher waited %v", d)
		}
		if n := b.srv.Stats().Open; n != 2 || b.h.hub.subscribers(channels, []byte("a")) != 1 {
			t.Errorf("%d connections are open", n)
		}
		if n := b.h.pushed.Load(); n != 0 {
			t.Errorf("%d bytes of pushes are counted", n)
		}
	})
}

// withPeers runs f in virtual time with two connections.
func withPeers(t *testing.T, f func(t *testing.T, b *bench, p, q *peer)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		p, q := b.dial(), b.dial()
		defer p.close()
		defer q.close()
		f(t, b, p, q)
	})
}

// Goal: a message larger than maxPushes reaches those who read.
func TestLargeMessage(t *testing.T) {
	withPeers(t, func(t *testing.T, b *bench, p, from *peer) {
		p.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
		body := strings.Repeat("x", maxPushes+1)
		go from.send(words("PUBLISH", "a", body))
		p.want(said("message", "a", body))
		from.want(":1\r\n")
	})
}

// Goal: when the peers of a node let too much wait together, those go for whom much waits, and no others.
func TestManySlowSubscribers(t *testing.T) {
	withPeers(t, func(t *testing.T, b *bench, p, from *peer) {
		b.h.pushed.Add(maxAllPushes + 1) // as if others let it wait
		p.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
		for range 100 {
			from.do("PUBLISH a x", ":1\r\n")
			p.want(said("message", "a", "x"))
		}
		body := strings.Repeat("x", fewPushes)
		go from.send(words("PUBLISH", "a", body))
		from.want(":0\r\n")
		p.ended("")
		synctest.Wait()
		if n := b.h.pushed.Load(); n != maxAllPushes+1 {
			t.Errorf("%d bytes of pushes are counted", n-maxAllPushes-1)
		}
	})
}

// Goal: a message is there once for all who get it, and so it is counted: many who read lose nothing by a large one.
func TestManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, func(c *tcpd.Config) { c.MaxConns = 1000 })
		defer b.close()
		from, readers := b.dial(), make([]*peer, 2*maxAllPushes/(4<<20))
		defer from.close()
		for i := range readers {
			readers[i] = b.dial()
			defer readers[i].close()
			readers[i].do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
		}
		body := strings.Repeat("x", 4<<20)
		go from.send(words("PUBLISH", "a", body))
		from.want(fmt.Sprintf(":%d\r\n", len(readers)))
		if n := b.h.pushed.Load(); n > 5<<20 {
			t.Errorf("%d bytes of pushes are counted", n)
		}
		for _, p := range readers {
			p.want(said("message", "a", body))
			p.got = nil
		}
		synctest.Wait()
		if n := b.h.pushed.Load(); n != 0 {
			t.Errorf("%d bytes of pushes are counted in the end", n)
		}
	})
}

// Goal: many patterns that fit make no work for a peer that was cut.
func TestPatternsOfOneThatIsCut(t *testing.T) {
	withPeers(t, func(t *testing.T, b *bench, p, from *peer) {
		for i := range 200 {
			name := fmt.Sprintf("*[a%d]", i)
			p.do("PSUBSCRIBE "+name, confirmed("psubscribe", name, i+1))
		}
		go from.send(words("PUBLISH", "a", strings.Repeat("x", maxPushes)))
		from.want(":1\r\n")
	})
}

// Goal: a pause of writes holds PUBLISH back, as it does in Redis, and not SUBSCRIBE.
func TestPausePublish(t *testing.T) {
	withPeers(t, func(t *testing.T, b *bench, p, q *peer) {
		p.do("CLIENT PAUSE 5000 WRITE", "+OK\r\n")
		start := time.Now()
		q.do("SUBSCRIBE a", confirmed("subscribe", "a", 1))
		if d := time.Since(start); d > 0 {
			t.Errorf("SUBSCRIBE waited %v", d)
		}
		p.do("PUBLISH a x", ":1\r\n")
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("PUBLISH waited %v", d)
		}
		q.want(said("message", "a", "x"))
	})
}
