// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// pair runs f in a bubble with two linked nodes, a and b; b echoes on class control.
func pair(t *testing.T, f func(t *testing.T, w *host.World, a, b *Link)) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, b := start(t, w, "a"), start(t, w, "b")
		b.Handle(ClassControl, echo)
		f(t, w, a, b)
		_ = a.Close()
		_ = b.Close()
	})
}

func TestCallsShareOneConnection(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				req := fmt.Sprintf("request %d", i)
				mustCall(t, a, "b", req, "a:"+req)
			})
		}
		wg.Wait()
		if n := b.Stats().Accepted; n != 1 {
			t.Errorf("%d connections for one class", n)
		}
		b.Handle(ClassForward, echo)
		if _, err := a.Call(t.Context(), "b", ClassForward, nil); err != nil {
			t.Fatal(err)
		}
		if n := b.Stats().Accepted; n != 2 {
			t.Errorf("%d connections for two classes", n)
		}
	})
}

// What queues up during one write leaves together in the next.
func TestFramesShareWrites(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, _ *Link) {
		mustCall(t, a, "b", "x", "a:x")
		before := a.Stats()
		w.Cut("a", "b")
		var wg sync.WaitGroup
		for i := range 501 {
			wg.Go(func() {
				req := fmt.Sprintf("request %d", i)
				if i == 0 {
					req = strings.Repeat("large", 64<<10)
				}
				mustCall(t, a, "b", req, "a:"+req)
			})
			if i == 0 {
				// One frame fills the window, the others pile up behind it.
				synctest.Wait()
			}
		}
		synctest.Wait()
		w.HealAll()
		wg.Wait()
		after := a.Stats()
		if frames, writes := after.FramesOut-before.FramesOut, after.Writes-before.Writes; writes*10 > frames {
			t.Errorf("%d frames took %d writes", frames, writes)
		}
	})
}

func TestCallSizes(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		b.Handle(ClassBulk, func(_ context.Context, _ string, req []byte) ([]byte, error) { return req, nil })
		for _, n := range []int{0, 1, byReference - 1, byReference, 3 * byReference, eagerAlloc + 1} {
			req := bytes.Repeat([]byte{'x'}, n)
			got, err := a.Call(t.Context(), "b", ClassBulk, req)
			if err != nil || !bytes.Equal(got, req) {
				t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
			}
		}
		big := bytes.Repeat([]byte("big"), byReference)
		parts := [][]byte{[]byte("one"), big, nil, []byte("two"), big, big, []byte("end")}
		got, err := a.CallParts(t.Context(), "b", ClassBulk, parts)
		if err != nil || !bytes.Equal(got, bytes.Join(parts, nil)) {
			t.Errorf("parts came back as %d bytes, %v", len(got), err)
		}
	})
}

func TestFrameLimitOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		small := func(c *Config) { c.MaxFrame = MinMaxFrame }
		a, b := start(t, w, "a", small), start(t, w, "b", small)
		b.Handle(ClassControl, func(_ context.Context, _ string, req []byte) ([]byte, error) {
			if len(req) == 1 {
				return make([]byte, MinMaxFrame+1), nil
			}
			return req, nil
		})
		if _, err := a.Call(t.Context(), "b", ClassControl, make([]byte, MinMaxFrame)); err != nil {
			t.Errorf("at the limit: %v", err)
		}
		_, err := a.Call(t.Context(), "b", ClassControl, make([]byte, MinMaxFrame+1))
		mustFail(t, err, ErrNotSent, ErrTooLarge)
		_, err = a.Call(t.Context(), "b", ClassControl, []byte{1})
		var remote *RemoteError
		if !errors.As(err, &remote) {
			t.Errorf("a reply over the limit: %v", err)
		}
		_ = a.Close()
		_ = b.Close()
	})
}

func TestCallOutcomesOfRefusals(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		_, err := a.Call(t.Context(), "nobody", ClassControl, nil)
		mustFail(t, err, ErrNotSent, ErrUnknownNode)
		_, err = a.Call(t.Context(), "b", ClassObserve, nil)
		mustFail(t, err, ErrNotSent, ErrNoHandler)
		_, err = a.Call(t.Context(), "b", 99, nil)
		mustFail(t, err, ErrNotSent, ErrNoHandler)
		b.Handle(ClassObserve, func(context.Context, string, []byte) ([]byte, error) {
			return nil, errors.New(strings.Repeat("long", maxErrorText))
		})
		_, err = a.Call(t.Context(), "b", ClassObserve, nil)
		var remote *RemoteError
		if !errors.As(err, &remote) || len(remote.Text) != maxErrorText {
			t.Errorf("handler's error = %v", err)
		}
		if errors.Is(err, ErrNotSent) || errors.Is(err, ErrLost) {
			t.Errorf("handler's error claims a delivery outcome: %v", err)
		}
		done, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = a.Call(done, "b", ClassControl, nil)
		mustFail(t, err, ErrNotSent, context.Canceled)
	})
}

func TestHandshakeRefusals(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		try := func() error {
			time.Sleep(2 * backoffMax)
			_, err := a.Call(t.Context(), "b", ClassControl, nil)
			return err
		}
		a.SetCluster(Identity{Cluster: "other", Epoch: 1})
		mustFail(t, try(), ErrNotSent, ErrOtherCluster)
		a.SetCluster(Identity{Cluster: testCluster.Cluster, Epoch: 2})
		mustFail(t, try(), ErrNotSent, ErrOtherEpoch)
		a.SetCluster(Identity{})
		mustFail(t, try(), ErrNotSent, ErrOtherCluster)
		a.SetCluster(testCluster)
		a.SetDirectory(func(string) (string, bool) { return "b" + testPort, true })
		_, err := a.Call(t.Context(), "c", ClassControl, nil)
		mustFail(t, err, ErrNotSent, ErrWrongNode)
		time.Sleep(2 * backoffMax)
		mustCall(t, a, "b", "now", "a:now")
		// A change of identity ends what was agreed before.
		b.SetCluster(Identity{Cluster: "other", Epoch: 1})
		mustFail(t, try(), ErrNotSent, ErrOtherCluster)
	})
}

// Strangers on the port get nothing and hold nothing for long.
func TestStrangersOnThePort(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		for _, greeting := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "KVPL\xff\xff\xff\xff", "\x00", ""} {
			c, err := w.Host("c").Net.Dial(t.Context(), "b"+testPort)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, greeting)
			within(t, fmt.Sprintf("sending %q away", greeting), handshakeTimeout, func() {
				if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("%q: the port answered", greeting)
				}
			})
			_ = c.Close()
		}
		mustCall(t, a, "b", "x", "a:x")
	})
}

// A peer that breaks the protocol after the greeting is cut off.
func TestProtocolViolationsEndTheConnection(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		b.HandleStream(ClassBulk, func(ctx context.Context, _ string, _ []byte, _ io.Reader) ([]byte, error) {
			<-ctx.Done()
			return nil, nil
		})
		b.Handle(ClassBulk, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, nil
		})
		open := frame(kindOpen, 1, make([]byte, timeLeft))
		data := frame(kindData, 1, make([]byte, streamChunk))
		for _, tc := range []struct {
			name string
			sent []byte
		}{
			{"unknown kind", frame(maxKind+1, 1, nil)},
			{"response from the dialer", frame(kindResponse, 1, nil)},
			{"request id used twice", append(bytes.Clone(open), open...)},
			{"request id 0", frame(kindRequest, 0, make([]byte, timeLeft))},
			{"body for a request without", append(frame(kindRequest, 1, make([]byte, timeLeft)), data...)},
			{"body over its credit", append(bytes.Clone(open), bytes.Repeat(data, streamWindow/streamChunk+1)...)},
			{"body after its end", append(append(bytes.Clone(open), frame(kindEnd, 1, nil)...), data...)},
			{"too large", []byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 1}},
		} {
			c, err := w.Host("c").Net.Dial(t.Context(), "b"+testPort)
			if err != nil {
				t.Fatal(err)
			}
			h := hello{
				MinVersion: 1, MaxVersion: 1, Class: ClassBulk, Epoch: testCluster.Epoch,
				Cluster: testCluster.Cluster, Sender: "c", Receiver: "b",
			}
			if _, err := greet(c, &h); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = c.Write(tc.sent) }()
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, c)
				ended <- err
			}()
			select {
			case <-ended:
			case <-time.After(time.Second):
				t.Errorf("%s: the connection goes on", tc.name)
			}
			_ = c.Close()
		}
	})
}

func TestJoinNeedsNoCluster(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		a.SetCluster(Identity{})
		b.Handle(ClassJoin, echo)
		reply, err := a.CallAddr(t.Context(), "b"+testPort, ClassJoin, []byte("let me in"))
		if err != nil || string(reply) != "a:let me in" {
			t.Fatalf("join = %q, %v", reply, err)
		}
		_, err = a.CallAddr(t.Context(), "b"+testPort, ClassObserve, nil)
		mustFail(t, err, ErrNotSent, ErrOtherCluster)
		a.SetCluster(Identity{Cluster: "other"})
		_, err = a.CallAddr(t.Context(), "b"+testPort, ClassJoin, nil)
		mustFail(t, err, ErrNotSent, ErrOtherCluster)
		a.SetCluster(testCluster)
		_, err = a.CallAddr(t.Context(), "b"+testPort, ClassRaft, nil)
		mustFail(t, err, ErrNotSent, ErrWrongNode)
		_, err = a.CallAddr(t.Context(), "c"+testPort, ClassJoin, nil)
		mustFail(t, err, ErrNotSent, ErrNotSent)
		synctest.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := len(a.mu.conns); n != 0 {
			t.Errorf("%d connections left by calls to addresses", n)
		}
	})
}

func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a := start(t, w, "a")
		b := start(t, w, "b", func(c *Config) {
			c.Admit = func(node string, _ Class) error {
				if node == "a" {
					return errors.New("removed")
				}
				return nil
			}
		})
		c := start(t, w, "c")
		b.Handle(ClassControl, echo)
		_, err := a.Call(t.Context(), "b", ClassControl, nil)
		mustFail(t, err, ErrNotSent, ErrNotAdmitted)
		mustCall(t, c, "b", "x", "c:x")
		for _, l := range []*Link{a, b, c} {
			_ = l.Close()
		}
	})
}

func TestDeadlineAndCancelReachTheHandler(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		ended := make(chan time.Duration, 1)
		b.Handle(ClassForward, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			began := time.Now()
			<-ctx.Done()
			ended <- time.Since(began)
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		_, err := a.Call(ctx, "b", ClassForward, nil)
		mustFail(t, err, ErrLost, context.DeadlineExceeded)
		if d := <-ended; d != 700*time.Millisecond {
			t.Errorf("handler's context ended after %v", d)
		}
		// Without a deadline of the caller's the link's own applies.
		within(t, "a call without deadline", CallTimeout+time.Second, func() {
			_, err = a.Call(t.Context(), "b", ClassForward, nil)
		})
		mustFail(t, err, ErrLost, ErrTimeout)
		mustFail(t, err, ErrLost, context.DeadlineExceeded)
		<-ended
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err = a.Call(ctx, "b", ClassForward, nil)
		mustFail(t, err, ErrLost, context.Canceled)
		if d := <-ended; d != 100*time.Millisecond {
			t.Errorf("handler's context ended after %v", d)
		}
	})
}

func TestCallerLimit(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		release := make(chan struct{})
		b.Handle(ClassForward, func(context.Context, string, []byte) ([]byte, error) {
			<-release
			return nil, nil
		})
		b.Handle(ClassControl, echo)
		var failed atomic.Int64
		var wg sync.WaitGroup
		for range maxCallsPerConn + 10 {
			wg.Go(func() {
				if _, err := a.Call(t.Context(), "b", ClassForward, nil); err != nil {
					if !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrBusy) {
						t.Errorf("over the limit: %v", err)
					}
					failed.Add(1)
				}
			})
		}
		synctest.Wait()
		// Other classes do not notice.
		mustCall(t, a, "b", "x", "a:x")
		close(release)
		wg.Wait()
		// While the connection is dialed the bound on waiters holds, afterwards that on calls.
		if n := failed.Load(); n < 10 {
			t.Errorf("%d calls were refused, want at least 10", n)
		}
	})
}

func TestReceiverLimit(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		release := make(chan struct{})
		b.Handle(ClassForward, func(context.Context, string, []byte) ([]byte, error) {
			<-release
			return nil, nil
		})
		// Callers that give up leave their handlers running.
		var last error
		for range maxHandlersPerConn + 1 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, last = a.Call(ctx, "b", ClassForward, nil)
			cancel()
		}
		mustFail(t, last, ErrNotSent, ErrBusy)
		close(release)
		synctest.Wait()
		if _, err := a.Call(t.Context(), "b", ClassForward, nil); err != nil {
			t.Errorf("after the handlers returned: %v", err)
		}
	})
}

func TestUnreachablePeerFailsFast(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		mustCall(t, a, "b", "x", "a:x")
		w.Cut("a", "b")
		w.Cut("b", "a")
		began := time.Now()
		_, err := a.Call(t.Context(), "b", ClassControl, nil)
		mustFail(t, err, ErrLost, ErrLost)
		if d := time.Since(began); d > 7*time.Second {
			t.Errorf("noticed after %v", d)
		}
		// The old connection is given up; new ones cannot be made; nobody waits for long.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _ = a.Call(ctx, "b", ClassControl, nil)
		for range 100 {
			within(t, "a call to an unreachable peer", dialPatience, func() {
				_, err = a.Call(ctx, "b", ClassControl, nil)
			})
			mustFail(t, err, ErrNotSent, ErrNotSent)
			time.Sleep(37 * time.Millisecond)
		}
		w.HealAll()
		time.Sleep(handshakeTimeout + backoffMax)
		mustCall(t, a, "b", "back", "a:back")
	})
}

// A silent peer is noticed even by calls that may take long.
func TestSilentPeerIsNoticedBeforeLongDeadlines(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		b.Handle(ClassObserve, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			select {
			case <-time.After(30 * time.Second):
			case <-ctx.Done():
			}
			return []byte("news"), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := a.Call(ctx, "b", ClassObserve, nil); err != nil {
			t.Errorf("a slow but living peer: %v", err)
		}
		w.Stall("b", "a")
		var err error
		within(t, "noticing silence", (silentTicks+3)*keepaliveTick, func() {
			_, err = a.Call(ctx, "b", ClassObserve, nil)
		})
		mustFail(t, err, ErrLost, ErrUnresponsive)
		w.HealAll()
	})
}

func TestReconnectAfterCrash(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		mustCall(t, a, "b", "x", "a:x")
		w.Crash("b")
		_ = b.Close()
		synctest.Wait()
		_, err := a.Call(t.Context(), "b", ClassControl, nil)
		mustFail(t, err, ErrNotSent, ErrUnreachable)
		time.Sleep(time.Second)
		again := start(t, w, "b")
		again.Handle(ClassControl, echo)
		time.Sleep(backoffMax)
		mustCall(t, a, "b", "y", "a:y")
		_ = again.Close()
	})
}

// A node that comes back dials us before our pause is over: we need not sit it out.
func TestInboundConnectionEndsThePause(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		w.Crash("b")
		_ = b.Close()
		for range 10 {
			_, _ = a.Call(t.Context(), "b", ClassControl, nil)
			time.Sleep(backoffMax / 2)
		}
		again := start(t, w, "b")
		again.Handle(ClassControl, echo)
		a.Handle(ClassControl, echo)
		_, _ = a.Call(t.Context(), "b", ClassControl, nil)
		mustCall(t, again, "a", "hello", "b:hello")
		mustCall(t, a, "b", "at once", "a:at once")
		_ = again.Close()
	})
}

func TestNewerConnectionReplacesOlder(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		entered := make(chan struct{})
		b.Handle(ClassForward, func(ctx context.Context, _ string, req []byte) ([]byte, error) {
			if len(req) > 0 {
				return nil, nil
			}
			close(entered)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		got := make(chan error, 1)
		go func() {
			_, err := a.Call(t.Context(), "b", ClassForward, nil)
			got <- err
		}()
		<-entered
		c, err := a.dial(t.Context(), "b"+testPort, peerKey{"b", ClassForward})
		if err != nil || !a.spawn(c.serve) {
			t.Fatal(err)
		}
		if err := <-got; !errors.Is(err, ErrLost) {
			t.Errorf("call on the older connection: %v", err)
		}
		if _, err := c.roundTrip(t.Context(), outFrame{kind: kindRequest, one: []byte("x"), size: 1}); err != nil {
			t.Errorf("call on the newer connection: %v", err)
		}
	})
}

func TestForget(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		mustCall(t, a, "b", "x", "a:x")
		a.SetDirectory(func(string) (string, bool) { return "", false })
		a.Forget("b")
		synctest.Wait()
		_, err := a.Call(t.Context(), "b", ClassControl, nil)
		mustFail(t, err, ErrNotSent, ErrUnknownNode)
	})
}

// Close ends calls in every state and joins all goroutines: the bubble would not end otherwise.
func TestCloseEndsEverything(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		b.Handle(ClassForward, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, nil
		})
		results := make(chan error, 30)
		call := func(node string, class Class) {
			go func() {
				_, err := a.Call(t.Context(), node, class, nil)
				results <- err
			}()
		}
		mustCall(t, a, "b", "x", "a:x")
		for range 10 {
			call("b", ClassForward)
		}
		synctest.Wait()
		w.Cut("a", "c")
		for range 10 {
			call("c", ClassControl)
		}
		synctest.Wait()
		_ = a.Close()
		for range 20 {
			err := <-results
			if o := outcome(nil, err); o != "lost" && o != "not sent" {
				t.Errorf("call ended with %v", err)
			}
			if !errors.Is(err, ErrClosed) {
				t.Errorf("call ended because of %v", err)
			}
		}
		_, err := a.Call(t.Context(), "b", ClassControl, nil)
		mustFail(t, err, ErrNotSent, ErrClosed)
		if err := a.Listen(testPort); !errors.Is(err, ErrClosed) {
			t.Errorf("listen after close: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}
