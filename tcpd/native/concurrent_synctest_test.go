// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

// slowKeys makes commands on keys that begin with "slow" take a second.
func slowKeys(b *bench) {
	b.router.Before = func(ctx context.Context, _ *shard.Caller, cmd *fsm.Command) error {
		if len(cmd.Args) > 0 && strings.HasPrefix(string(cmd.Args[0]), "slow") {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return &shard.Error{Kind: shard.KindUnknown, Err: ctx.Err()}
			}
		}
		return nil
	}
}

// Goal: a slow request holds up neither later ones nor, when it came with them, those of the other
// direction; a plain session keeps its order all the same.
func TestCompletionOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		slowKeys(b)
		p := b.dial2(wire.FeatureConcurrent)
		defer p.close()
		p.send(append(request(1, wire.OpSet, "slow", "v"), request(2, wire.OpGet, "fast")...))
		p.expectAnswer(2, "null")
		p.send(request(3, wire.OpSet, "fast", "v"), wire.AppendBare(nil, wire.FramePing, 4))
		seen := map[uint64]string{}
		for range 2 {
			id, text := p.answer()
			seen[id] = text
		}
		if seen[3] != "OK" || seen[4] != "pong" {
			t.Errorf("answers %v", seen)
		}
		p.expectAnswer(1, "OK")
		plain := b.dial2(0)
		defer plain.close()
		plain.send(request(1, wire.OpSet, "slow", "v"), request(2, wire.OpGet, "fast"))
		plain.expectAnswer(1, "OK")
		plain.expectAnswer(2, "v")
	})
}

// Goal: requests with the ordered flag run in the order they were sent, over any number of packets,
// while others overtake them.
func TestOrderedLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		slowKeys(b)
		p := b.dial2(wire.FeatureConcurrent)
		defer p.close()
		ordered := func(id uint64, op wire.Op, list ...string) []byte {
			return wire.AppendRequest(nil, id, &wire.Request{Op: op, Args: args(list...), Ordered: true})
		}
		p.send(ordered(1, wire.OpSet, "slow", "v"))
		for id := uint64(2); id < 50; id++ {
			synctest.Wait() // a read of its own
			p.send(ordered(id, wire.OpAppend, "k", fmt.Sprint(id%10)))
		}
		synctest.Wait()
		p.send(request(99, wire.OpGet, "k"))
		p.expectAnswer(99, "null")
		p.expectAnswer(1, "OK")
		for id := uint64(2); id < 50; id++ {
			p.expectAnswer(id, fmt.Sprintf("int %d", id-1))
		}
		if got := b.router.Calls.Load(); got > 4 {
			t.Errorf("%d router calls: what waited was not sent together", got)
		}
	})
}

// Goal: beyond MaxInFlight, and beyond the bytes in flight, the socket is not read.
func TestInFlightLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxInFlight = 10 }, nil)
		defer b.close()
		var running atomic.Int64
		release := make(chan struct{})
		b.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error {
			running.Add(1)
			<-release
			return nil
		}
		p := b.dial2(wire.FeatureConcurrent)
		defer p.close()
		for id := range uint64(30) {
			p.send(request(id+1, wire.OpGet, "k"))
			synctest.Wait()
		}
		if got := running.Load(); got != 10 {
			t.Errorf("%d requests run", got)
		}
		close(release)
		seen := map[uint64]bool{}
		for range 30 {
			id, _ := p.answer()
			seen[id] = true
		}
		if len(seen) != 30 {
			t.Errorf("%d of 30 answered", len(seen))
		}
	})
}

func TestBytesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		release := make(chan struct{})
		var running atomic.Int64
		b.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error {
			running.Add(1)
			<-release
			return nil
		}
		p := b.dial2(wire.FeatureConcurrent)
		defer p.close()
		large := strings.Repeat("x", maxInFlightBytes-100)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for id := range uint64(3) {
				if _, err := p.nc.Write(request(id+1, wire.OpSet, fmt.Sprint(id), large)); err != nil {
					t.Error(err)
				}
			}
		}()
		synctest.Wait()
		if got := running.Load(); got != 2 { // the second found 100 bytes of room
			t.Errorf("%d requests run", got)
		}
		close(release)
		for range 3 {
			if _, text := p.answer(); text != "OK" {
				t.Error(text)
			}
		}
		<-done
	})
}

// Goal: arguments stay what they were while the connection reads on. Method: requests of every size,
// held until all are read.
func TestArgumentsSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := tcpd.NewBudget(tcpd.DefaultBudget)
		b := newBench(t, nil, func(c *tcpd.Config) { c.Budget = budget })
		defer b.close()
		release := make(chan struct{})
		b.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error { <-release; return nil }
		p := b.dial2(wire.FeatureConcurrent)
		defer p.close()
		sizes := []int{0, 1, 100, copyBelow - 40, copyBelow, tcpd.BaseBuffer, 3 * tcpd.BaseBuffer, 50}
		go func() {
			for round := range 5 {
				for i, n := range sizes {
					id := uint64(round*len(sizes) + i + 1)
					frame := request(id, wire.OpSet, fmt.Sprint(id), strings.Repeat(fmt.Sprint(id%10), n))
					if _, err := p.nc.Write(frame); err != nil {
						t.Error(err)
					}
				}
			}
		}()
		synctest.Wait()
		close(release)
		for range 5 * len(sizes) {
			if id, text := p.answer(); text != "OK" {
				t.Errorf("%d: %s", id, text)
			}
		}
		synctest.Wait()
		if missing := tcpd.DefaultBudget - budget.Free(); missing != 0 {
			t.Errorf("%d bytes of the budget were not given back", missing)
		}
		for id := 1; id <= 5*len(sizes); id++ {
			p.send(request(uint64(id), wire.OpGet, fmt.Sprint(id)))
			p.expectAnswer(uint64(id), strings.Repeat(fmt.Sprint(id%10), sizes[(id-1)%len(sizes)]))
		}
	})
}

// Goal: a change of the map is told to those who asked for it, several changes at once; the end of
// the node too.
func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		synctest.Wait()
		time.Sleep(time.Second)
		p, deaf := b.dial2(wire.FeaturePush), b.dial2(0)
		push := func() wire.Push {
			f := p.frame()
			news, err := wire.ParsePush(f.Body)
			if err != nil || f.Type != wire.FramePush || f.ID != 0 {
				t.Fatalf("%+v, err %v", f, err)
			}
			return news
		}
		for v := range uint64(10) {
			b.router.SetMap(tcpdtest.NewMap(v+2, self))
		}
		first := push()
		if first.Kind != wire.PushTopology {
			t.Errorf("first push: %+v", first)
		}
		for last := first; last.Version != 11; {
			last = push()
		}
		start := time.Now()
		b.router.SetMap(tcpdtest.NewMap(50, self))
		b.router.SetMap(tcpdtest.NewMap(51, self))
		for push().Version != 51 {
		}
		if d := time.Since(start); d > 2*pushInterval {
			t.Errorf("told after %v", d)
		}
		p.send(request(1, wire.OpGet, "k"))
		p.expectAnswer(1, "null")
		done := make(chan error, 1)
		go func() { done <- b.srv.Shutdown(context.Background()) }()
		if got := push(); got.Kind != wire.PushClosing {
			t.Errorf("last push: %+v", got)
		}
		p.send(request(2, wire.OpGet, "k"))
		p.expectAnswer(2, "null")
		p.close()
		deaf.expectEnd("a client without pushes")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Goal: requests in flight are answered although the client closed its sending side, and cut when it
// is gone altogether.
func TestShutdownWithRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		slowKeys(b)
		p := b.dial2(wire.FeatureConcurrent)
		p.send(request(1, wire.OpSet, "slow", "v"), request(2, wire.OpGet, "k"))
		p.expectAnswer(2, "null")
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- b.srv.Shutdown(context.Background()) }()
		p.expectAnswer(1, "OK")
		p.expectEnd("after the last answer")
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d < time.Second || d > 2*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// Goal: a client that does not read holds its workers and itself, never the memory of the node.
func TestSlowReaderIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, func(c *tcpd.Config) { c.StallTimeout = 5 * time.Second })
		defer b.close()
		feeder := b.dial2(0)
		value := strings.Repeat("v", 100_000)
		feeder.send(request(1, wire.OpSet, "k", value))
		feeder.expectAnswer(1, "OK")
		p := b.dial2(wire.FeatureConcurrent)
		go func() {
			for id := range uint64(2000) {
				if _, err := p.nc.Write(request(id+1, wire.OpGet, "k")); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if got := b.router.Commands.Load(); got > DefaultMaxInFlight+10 {
			t.Errorf("%d commands ran for a client that reads nothing", got)
		}
		time.Sleep(11 * time.Second)
		feeder.send(request(2, wire.OpGet, "none"))
		feeder.expectAnswer(2, "null")
		if got := b.srv.Stats().Open; got != 1 {
			t.Errorf("%d connections are open", got)
		}
		p.close()
		feeder.close()
	})
}

func TestOutboxKeepsOrderOfOneSender(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial2(wire.FeatureConcurrent)
	defer p.close()
	var want []byte
	for id := range uint64(3000) {
		want = wire.AppendBare(want, wire.FramePong, id+1)
	}
	go func() {
		for id := range uint64(3000) {
			_, _ = p.nc.Write(wire.AppendBare(nil, wire.FramePing, id+1))
		}
	}()
	for len(p.buf) < len(want) && p.more() {
	}
	if !bytes.Equal(p.buf, want) {
		t.Error("pongs out of order")
	}
}
