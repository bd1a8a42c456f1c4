// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// sum answers a stream with the digest of its request and body.
func sum(_ context.Context, _ string, req []byte, body io.Reader) ([]byte, error) {
	h := sha256.New()
	h.Write(req)
	n, err := io.Copy(h, body)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%d %x", n, h.Sum(nil)), nil
}

func TestStreamBodies(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		w.SetDelay("a", "b", time.Millisecond, time.Millisecond)
		b.HandleStream(ClassBulk, sum)
		var wg sync.WaitGroup
		for i, n := range []int{0, 1, streamChunk, streamChunk + 1, streamWindow, streamWindow + 1, 5*streamWindow + 7} {
			wg.Go(func() {
				req := fmt.Appendf(nil, "stream %d", i)
				data := bytes.Repeat([]byte{byte(i), 1, 2}, n/3+1)[:n]
				s, err := a.OpenStream(t.Context(), "b", ClassBulk, req)
				if err != nil {
					t.Error(err)
					return
				}
				for rest := data; len(rest) > 0; {
					m := min(len(rest), 100_000)
					if k, err := s.Write(rest[:m]); k != m || err != nil {
						t.Errorf("write = %d, %v", k, err)
						return
					}
					rest = rest[m:]
				}
				reply, err := s.Finish()
				want, _ := sum(nil, "", req, bytes.NewReader(data))
				if err != nil || !bytes.Equal(reply, want) {
					t.Errorf("%d bytes: %q, %v", n, reply, err)
				}
				s.Cancel()
			})
		}
		wg.Wait()
	})
}

// A reader that does not read holds its writer back, and nobody else.
func TestStreamFlowControl(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		read := make(chan int)
		b.HandleStream(ClassBulk, func(_ context.Context, _ string, req []byte, body io.Reader) ([]byte, error) {
			if string(req) == "quick" {
				return sum(nil, "", nil, body)
			}
			total := 0
			for n := range read {
				m, err := io.CopyN(io.Discard, body, int64(n))
				total += int(m)
				if errors.Is(err, io.EOF) {
					break
				}
			}
			return fmt.Appendf(nil, "%d", total), nil
		})
		s, err := a.OpenStream(t.Context(), "b", ClassBulk, []byte("slow"))
		if err != nil {
			t.Fatal(err)
		}
		sent, chunk := 0, make([]byte, streamChunk)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 64 {
				if _, err := s.Write(chunk); err != nil {
					t.Error(err)
					return
				}
				sent += len(chunk)
			}
		}()
		synctest.Wait()
		if sent > streamWindow {
			t.Errorf("%d bytes were taken from the writer, window %d", sent, streamWindow)
		}
		quick, err := a.OpenStream(t.Context(), "b", ClassBulk, []byte("quick"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := quick.Write(chunk); err != nil {
			t.Fatal(err)
		}
		if _, err := quick.Finish(); err != nil {
			t.Error(err)
		}
		read <- streamWindow
		synctest.Wait()
		if sent > 2*streamWindow || sent < streamWindow+streamWindow/2 {
			t.Errorf("%d bytes were taken after one window was read", sent)
		}
		go func() {
			for range 4 {
				read <- streamWindow
			}
			close(read)
		}()
		<-done
		reply, err := s.Finish()
		if err != nil || string(reply) != fmt.Sprint(64*streamChunk) {
			t.Errorf("finish = %q, %v", reply, err)
		}
	})
}

func TestStreamAnsweredEarly(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		b.HandleStream(ClassBulk, func(_ context.Context, _ string, _ []byte, body io.Reader) ([]byte, error) {
			_, err := io.CopyN(io.Discard, body, 10)
			return []byte("enough"), err
		})
		s, err := a.OpenStream(t.Context(), "b", ClassBulk, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 * streamWindow / streamChunk {
			if _, err = s.Write(make([]byte, streamChunk)); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrAnswered) {
			t.Errorf("write = %v", err)
		}
		if reply, err := s.Finish(); string(reply) != "enough" || err != nil {
			t.Errorf("finish = %q, %v", reply, err)
		}
		mustStream(t, a)
	})
}

// mustStream checks that the connection still carries streams.
func mustStream(t *testing.T, a *Link) {
	t.Helper()
	s, err := a.OpenStream(t.Context(), "b", ClassBulk, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("0123456789")); err != nil && !errors.Is(err, ErrAnswered) {
		t.Fatal(err)
	}
	if _, err := s.Finish(); err != nil {
		t.Fatal(err)
	}
}

func TestStreamGivenUp(t *testing.T) {
	pair(t, func(t *testing.T, w *host.World, a, b *Link) {
		failed := make(chan error, 1)
		b.HandleStream(ClassBulk, func(_ context.Context, _ string, _ []byte, body io.Reader) ([]byte, error) {
			_, err := io.Copy(io.Discard, body)
			if err != nil {
				failed <- err
			}
			return nil, err
		})
		open := func(ctx context.Context) *Stream {
			s, err := a.OpenStream(ctx, "b", ClassBulk, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write([]byte("part")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return s
		}
		s := open(t.Context())
		s.Cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("body of a cancelled stream: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s = open(ctx)
		if err := <-failed; err == nil {
			t.Error("body ended well after the deadline")
		}
		_, err := s.Finish()
		mustFail(t, err, ErrLost, context.DeadlineExceeded)
		mustStream(t, a)

		s = open(t.Context())
		w.ResetConns("a", "b")
		if err := <-failed; err == nil {
			t.Error("body ended well after a reset")
		}
		_, err = s.Finish()
		mustFail(t, err, ErrLost, ErrLost)
	})
}

// A body that stays readable to someone after the handler left fails instead of blocking.
func TestBodyFailsAfterTheHandler(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		left := make(chan error, 1)
		b.HandleStream(ClassBulk, func(_ context.Context, _ string, _ []byte, body io.Reader) ([]byte, error) {
			go func() {
				_, err := io.Copy(io.Discard, body)
				left <- err
			}()
			return nil, nil
		})
		s, err := a.OpenStream(t.Context(), "b", ClassBulk, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-left; err == nil {
			t.Error("the abandoned body ended well")
		}
		if _, err := s.Finish(); err != nil {
			t.Error(err)
		}
	})
}

func TestStreamLimits(t *testing.T) {
	pair(t, func(t *testing.T, _ *host.World, a, b *Link) {
		s, err := a.OpenStream(t.Context(), "b", ClassBulk, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Finish()
		mustFail(t, err, ErrNotSent, ErrNoHandler)
		b.HandleStream(ClassBulk, sum)
		var open []*Stream
		for range maxStreamsPerConn {
			s, err := a.OpenStream(t.Context(), "b", ClassBulk, nil)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, s)
		}
		_, err = a.OpenStream(t.Context(), "b", ClassBulk, nil)
		mustFail(t, err, ErrNotSent, ErrBusy)
		for _, s := range open {
			if _, err := s.Finish(); err != nil {
				t.Error(err)
			}
		}
		mustStream(t, a)
	})
}
