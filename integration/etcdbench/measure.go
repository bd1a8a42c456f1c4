// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
)

type rate struct {
	rate     float64
	p50, p99 float64 // milliseconds
	// servers and clients are the processor time a request took, in microseconds.
	servers, clients float64
}

// measure runs all clients in closed loops for the configured time.
func measure(ctx context.Context, s settings, x side, op string) (rate, error) {
	sessions := make([]session, s.clients)
	for i := range sessions {
		c, err := x.client(ctx, i)
		if err != nil {
			return rate{}, err
		}
		defer c.close()
		sessions[i] = c
	}
	ctx, cancel := context.WithTimeout(ctx, s.seconds+30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	lat := make([][]time.Duration, s.clients)
	errs := make([]error, s.clients)
	servers, clients := proc.CPUTime(x.pids()...), proc.CPUTime(os.Getpid())
	began := time.Now()
	end := began.Add(s.seconds)
	for i, c := range sessions {
		wg.Go(func() {
			own, cancel := context.WithCancel(ctx) // clients share no lock
			defer cancel()
			lat[i], errs[i] = loop(own, s, c, op, uint64(i), end)
		})
	}
	wg.Wait()
	took := time.Since(began).Seconds()
	servers, clients = proc.CPUTime(x.pids()...)-servers, proc.CPUTime(os.Getpid())-clients
	all := slices.Concat(lat...)
	for _, err := range errs {
		if err != nil {
			return rate{}, err
		}
	}
	if len(all) == 0 {
		return rate{}, fmt.Errorf("nothing was measured")
	}
	slices.Sort(all)
	ms := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000 }
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(len(all)) }
	return rate{
		rate: float64(len(all)) / took, p50: ms(0.5), p99: ms(0.99),
		servers: each(servers), clients: each(clients),
	}, nil
}

func loop(ctx context.Context, s settings, c session, op string, seed uint64, end time.Time) ([]time.Duration, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	value := bytes.Repeat([]byte{'v'}, s.valueSize)
	lat := make([]time.Duration, 0, 1<<17)
	for {
		at := time.Now()
		if at.After(end) {
			return lat, nil
		}
		key := fmt.Sprintf("key-%012d", rng.IntN(s.keys))
		var err error
		if op == "put" {
			err = c.put(ctx, key, value)
		} else {
			err = c.get(ctx, key)
		}
		if err != nil {
			return lat, err
		}
		lat = append(lat, time.Since(at))
	}
}
