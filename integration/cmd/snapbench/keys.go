// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/kvorum/kvorum/client"
)

const (
	keySize   = 16
	valueSize = 100
	// hotKeys stand in one slot when asked for.
	hotKeys = 1_000_000
	hotTag  = "{hot}"
	// fillers fill, each with as many commands under way.
	fillers   = 8
	fillDepth = 512
)

// keySet is which keys there are. Values look random, so that neither server gains by compressing them.
type keySet struct {
	keys int
	hot  bool
}

func (s *keySet) key(i int) string {
	var room [keySize]byte
	digits := room[copy(room[:], "key"):]
	if s.hot && i < hotKeys {
		digits = room[copy(room[:], hotTag):]
	}
	for at := len(digits) - 1; at >= 0; at-- {
		digits[at] = byte('0' + i%10)
		i /= 10
	}
	return string(room[:])
}

// fillValue writes the value that a seed stands for.
func fillValue(value []byte, seed uint64) {
	var word [8]byte
	for at := 0; at < len(value); at += len(word) {
		seed += 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint64(word[:], mix(seed))
		copy(value[at:], word[:])
	}
}

// mix is the finaliser of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fillNode sets all keys.
func fillNode(ctx context.Context, addr string, s *keySet) error {
	g, ctx := newCrew(ctx)
	for i := range fillers {
		g.run(func() error { return fillPart(ctx, addr, s, s.keys*i/fillers, s.keys*(i+1)/fillers) })
	}
	return g.wait()
}

func fillPart(ctx context.Context, addr string, s *keySet, from, to int) error {
	conn, err := client.DialConn(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	value := make([]byte, valueSize)
	for from < to {
		n := min(fillDepth, to-from)
		for i := from; i < from+n; i++ {
			fillValue(value, uint64(i))
			if err := conn.Send(client.Set(s.key(i), value)); err != nil {
				return err
			}
		}
		if err := conn.Flush(ctx); err != nil {
			return err
		}
		for range n {
			if _, err := conn.Receive(ctx); err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}

// checkNode tells whether a node holds all keys; an error may go away.
func checkNode(ctx context.Context, addr string, s *keySet) error {
	conn, err := client.DialConn(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	v, err := conn.Do(ctx, client.DBSize())
	if err != nil {
		return err
	}
	if v.Int != int64(s.keys) {
		return fmt.Errorf("%d keys of %d", v.Int, s.keys)
	}
	return nil
}
