// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
)

// crew is goroutines that fail together: the first error ends the context of all.
type crew struct {
	wg     sync.WaitGroup
	once   sync.Once
	cancel context.CancelCauseFunc
	err    error
}

func newCrew(ctx context.Context) (*crew, context.Context) {
	c := &crew{}
	ctx, c.cancel = context.WithCancelCause(ctx)
	return c, ctx
}

func (c *crew) run(f func() error) {
	c.wg.Go(func() {
		if err := f(); err != nil {
			c.once.Do(func() {
				c.err = err
				c.cancel(err)
			})
		}
	})
}

// wait joins all and gives the first error.
func (c *crew) wait() error {
	c.wg.Wait()
	c.cancel(nil)
	return c.err
}
