// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/kvorum/kvorum/client"
)

// Goal: a try that may be followed by another is short; one that may not has all the time there is.
// The server is told a little less than the client waits, and many callers the same.
func TestBudgets(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	c := cl.dial()
	defer c.Close()
	bare := cl.dial(client.WithoutTokens(), client.WithExclusiveConns(1))
	defer bare.Close()
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		call func() error
		want time.Duration
	}{
		{"read", func() error { _, _, err := c.Get(ctx, "k"); return err }, 1920 * time.Millisecond},
		{"write with token", func() error { return c.Set(ctx, "k", nil) }, 1920 * time.Millisecond},
		{"write over slots", func() error { _, err := c.Del(ctx, "a", "b"); return err }, 9728 * time.Millisecond},
		{"write without token", func() error { return bare.Set(ctx, "k", nil) }, 9728 * time.Millisecond},
		{"pipeline", func() error { return c.Pipeline().Do(ctx, client.Get("k")).Err(ctx) }, 9728 * time.Millisecond},
		{"short context", func() error {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return bare.Set(short, "k", nil)
		}, 960 * time.Millisecond},
	} {
		if err := tt.call(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		// A busy machine may lose a step between the call and the clock.
		if got := cl.router.LastCaller().Timeout; got > tt.want || got < tt.want*3/4 {
			t.Errorf("%s: the server has %v, want %v", tt.name, got, tt.want)
		}
	}
}
