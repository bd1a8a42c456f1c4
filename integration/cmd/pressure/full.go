// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/integration/proc"
)

const (
	// refusal is the whole text of a refused write.
	refusal = "OOM command not allowed when used memory > 'maxmemory'."
	// fillBatch is how many writes are under way while filling; a batch that is refused as a whole
	// says that every group is full.
	fillBatch = 512
	fillValue = 4 << 10
	// trials is how many keys are read, and how many are deleted.
	trials = 2000
)

// runFull is the same limit under noeviction.
func runFull(ctx context.Context, s *settings, dir string) error {
	c, err := start(ctx, s, dir, "noeviction")
	if err != nil {
		return err
	}
	defer c.Close()
	conn, err := client.DialConn(ctx, c.Nodes()[0].Native(), client.WithTimeout(callTime))
	if err != nil {
		return err
	}
	defer conn.Close()
	f := &full{conn: conn}
	if err := f.fill(ctx, s); err != nil {
		return fmt.Errorf("filling: %w", err)
	}
	st, err := c.Status(ctx, c.Nodes()[0])
	if err != nil {
		return err
	}
	keys, data := held(st)
	fmt.Printf("noeviction: %d writes taken, then all refused; status has %d keys, %s of %s\n", len(f.taken), keys, mib(data), &s.maxMemory)
	over := f.underLimit(s, c)
	if over != nil {
		tellMemory(ctx, c, s.out, "full")
	}
	err = errors.Join(f.grow(ctx), f.read(ctx), f.delete(ctx))
	if err == nil {
		n := len(f.some())
		fmt.Printf("noeviction: growing writes refused, %d keys read right and deleted, half of them written again\n", n)
	}
	return errors.Join(over, err, sameEverywhere(ctx, s, c))
}

type full struct {
	conn *client.Conn
	// taken are the numbers of the keys that were written.
	taken []int
}

func fullKey(i int) string { return "full-" + strconv.Itoa(i) }

func fullValue(i int) []byte {
	return bytes.Repeat([]byte(fullKey(i)+" "), fillValue/len(fullKey(i)))[:fillValue]
}

// isRefusal tells whether a write was refused with the right words; other errors are returned.
func isRefusal(err error) (bool, error) {
	var c *client.CommandError
	switch {
	case err == nil:
		return false, nil
	case !errors.As(err, &c):
		return false, err
	case c.Text != refusal:
		return false, fmt.Errorf("refused with the words %q", c.Text)
	}
	return true, nil
}

// fill writes keys until a whole batch, spread over all groups, is refused. It takes at most ten times
// the limit.
func (f *full) fill(ctx context.Context, s *settings) error {
	most := 10 * int(s.maxMemory) / fillValue
	for next := 0; next < most; next += fillBatch {
		for i := range fillBatch {
			if err := f.conn.Send(client.Set(fullKey(next+i), fullValue(next+i))); err != nil {
				return err
			}
		}
		if err := f.conn.Flush(ctx); err != nil {
			return err
		}
		refused := 0
		for i := range fillBatch {
			_, err := f.conn.Receive(ctx)
			no, err := isRefusal(err)
			switch {
			case err != nil:
				return err
			case no:
				refused++
			default:
				f.taken = append(f.taken, next+i)
			}
		}
		if refused == fillBatch {
			return nil
		}
	}
	return fmt.Errorf("%d writes of %d bytes and still not full", most, fillValue)
}

// grow tries every kind of growing write, on keys that are there and on new ones.
func (f *full) grow(ctx context.Context) error {
	for i, k := range f.some() {
		there, other := fullKey(k), "other-"+strconv.Itoa(i)
		for _, cmd := range []client.Cmd{
			client.Set(other, fullValue(k)), client.Append(there, fullValue(k)), client.LPush(other, fullValue(k)), client.HSet(other, "field", fullValue(k)),
		} {
			_, err := f.conn.Do(ctx, cmd)
			no, err := isRefusal(err)
			if err == nil && !no {
				err = errors.New("it was taken")
			}
			if err != nil {
				return fmt.Errorf("a growing write over the limit: %w", err)
			}
		}
		if i == trials/10 {
			break
		}
	}
	return nil
}

// some are trials of the keys that were taken, spread over all of them.
func (f *full) some() []int {
	step := max(1, len(f.taken)/trials)
	out := make([]int, 0, trials)
	for i := 0; i < len(f.taken) && len(out) < trials; i += step {
		out = append(out, f.taken[i])
	}
	return out
}

func (f *full) read(ctx context.Context) error {
	for _, k := range f.some() {
		v, err := f.conn.Do(ctx, client.Get(fullKey(k)))
		if err != nil {
			return fmt.Errorf("a read over the limit: %w", err)
		}
		if !bytes.Equal(v.Str, fullValue(k)) {
			return fmt.Errorf("%s has lost its value: %.40q", fullKey(k), v.Str)
		}
	}
	return nil
}

// delete makes room and uses some of it.
func (f *full) delete(ctx context.Context) error {
	some := f.some()
	for _, k := range some {
		v, err := f.conn.Do(ctx, client.Del(fullKey(k)))
		if err == nil && v.Int != 1 {
			err = fmt.Errorf("%d keys were there", v.Int)
		}
		if err != nil {
			return fmt.Errorf("a delete over the limit: %w", err)
		}
	}
	for _, k := range some[:len(some)/2] {
		if _, err := f.conn.Do(ctx, client.Set(fullKey(k), fullValue(k))); err != nil {
			return fmt.Errorf("a write after deletes: %w", err)
		}
	}
	return nil
}

func (f *full) underLimit(s *settings, c *proc.Cluster) error {
	limit := budgetOf(s).limit(s.whole)
	for _, n := range c.Nodes() {
		rss, err := resident(n.Pid())
		if err != nil {
			return err
		}
		fmt.Printf("%s: resident %s\n", n.Name(), mib(rss))
		if rss > limit {
			return fmt.Errorf("%s has %s resident, the limit is %s", n.Name(), mib(rss), mib(limit))
		}
	}
	return nil
}
