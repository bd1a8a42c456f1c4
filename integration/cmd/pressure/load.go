// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client"
)

// mix is a range of value sizes; sizes are spread evenly over its logarithm.
type mix struct{ least, most int }

// maxValue is the largest value of any mix.
const maxValue = 4 << 10

// mixes take turns, so that what was written as small values makes room for large ones and back.
var mixes = [...]mix{{100, 400}, {100, maxValue}, {2 << 10, maxValue}, {500, 1500}}

// mean is the mean size of a mix.
func (m mix) mean() float64 {
	return float64(m.most-m.least) / math.Log(float64(m.most)/float64(m.least))
}

func (m mix) draw(r *rand.Rand) int {
	return int(float64(m.least) * math.Pow(float64(m.most)/float64(m.least), r.Float64()))
}

const (
	// keyOverhead is what a key costs beside its bytes, as docs/OPERATIONS.md counts them.
	keyOverhead = 48
	keyBytes    = len("key-") + 7
	// rewriteOneIn: of so many hits one is followed by a write, so that keys that are never missed
	// change their size too.
	rewriteOneIn = 16
	callTime     = 60 * time.Second
)

// keysFor is how many keys of a mix make space logical bytes.
func keysFor(m mix, space float64) int {
	return int(space / (m.mean() + float64(keyBytes+keyOverhead)))
}

// load is what all connections share.
type load struct {
	s     *settings
	began time.Time
	// bytes is what values are cut from.
	bytes []byte

	gets, hits, sets, made, refused atomic.Int64

	mu  sync.Mutex
	err error
}

func newLoad(s *settings) *load {
	l := &load{s: s, began: time.Now(), bytes: make([]byte, 1<<20+maxValue)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range l.bytes {
		l.bytes[i] = byte(r.Uint32())
	}
	return l
}

// mix is the one whose turn it is.
func (l *load) mix() mix { return mixes[int(time.Since(l.began)/l.s.turn)%len(mixes)] }

func (l *load) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

func (l *load) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// value makes a value of size bytes that tells its key.
func (l *load) value(r *rand.Rand, key string, size int) []byte {
	v := make([]byte, 0, size+len(key)+1)
	v = append(append(v, key...), ' ')
	from := r.IntN(1 << 20)
	return append(v, l.bytes[from:from+max(0, size-len(v))]...)
}

// asked is a read under way; then, after it, a write.
type asked struct {
	key  string
	miss bool
}

// connection plays Zipf traffic until ctx ends: a pipeline of reads, then the writes of what was missed.
func (l *load) connection(ctx context.Context, addr string, seed uint64) error {
	conn, err := client.DialConn(ctx, addr, client.WithTimeout(callTime))
	if err != nil {
		return err
	}
	defer conn.Close()
	callCtx := context.WithoutCancel(ctx)
	r := rand.New(rand.NewPCG(seed, 3))
	var zipf *rand.Zipf
	var now mix
	reads := make([]asked, 0, l.s.pipeline)
	for ctx.Err() == nil {
		if m := l.mix(); zipf == nil || m != now {
			now = m
			zipf = rand.NewZipf(r, l.s.skew, 1, uint64(keysFor(m, l.s.space*float64(l.s.maxMemory))-1))
		}
		reads = reads[:0]
		for range l.s.pipeline {
			reads = append(reads, asked{key: "key-" + strconv.FormatUint(zipf.Uint64(), 10)})
		}
		if err := l.read(callCtx, conn, reads); err != nil {
			return err
		}
		if err := l.write(callCtx, conn, r, now, reads); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) read(ctx context.Context, conn *client.Conn, reads []asked) error {
	for i := range reads {
		if err := conn.Send(client.Get(reads[i].key)); err != nil {
			return err
		}
	}
	if err := conn.Flush(ctx); err != nil {
		return err
	}
	hits := 0
	for i := range reads {
		v, err := conn.Receive(ctx)
		if err != nil {
			return fmt.Errorf("a read: %w", err)
		}
		if reads[i].miss = v.IsNull(); reads[i].miss {
			continue
		}
		hits++
		if k := reads[i].key; !bytes.HasPrefix(v.Str, []byte(k+" ")) {
			return fmt.Errorf("%s has the value of another key: %.40q", k, v.Str)
		}
	}
	l.gets.Add(int64(len(reads)))
	l.hits.Add(int64(hits))
	return nil
}

// write sets what was missed, and a few of the others. It counts refusals; other errors end it.
func (l *load) write(ctx context.Context, conn *client.Conn, r *rand.Rand, m mix, reads []asked) error {
	sent, made := 0, 0
	for _, a := range reads {
		if !a.miss && r.IntN(rewriteOneIn) > 0 {
			continue
		}
		if a.miss {
			made++
		}
		if err := conn.Send(client.Set(a.key, l.value(r, a.key, m.draw(r)))); err != nil {
			return err
		}
		sent++
	}
	if sent == 0 {
		return nil
	}
	if err := conn.Flush(ctx); err != nil {
		return err
	}
	for range sent {
		_, err := conn.Receive(ctx)
		var refusal *client.CommandError
		switch {
		case errors.As(err, &refusal) || err != nil && errors.Is(err, client.ErrNotApplied):
			l.refused.Add(1)
			l.note(fmt.Errorf("a write was refused: %w", err))
		case err != nil:
			return fmt.Errorf("a write: %w", err)
		}
	}
	l.sets.Add(int64(sent))
	l.made.Add(int64(made))
	return nil
}
