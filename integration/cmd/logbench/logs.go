// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// keepBytes is how much of a log is kept; the rest is released as a snapshot would.
const keepBytes = 32 << 20

// logs are bare log stores beside each other.
type logs struct {
	s      settings
	stores []logstore.Store
}

func openLogs(s settings, store, dir string) (*logs, error) {
	l := &logs{s: s}
	for i := range s.groups {
		name := filepath.Join(dir, fmt.Sprint(i))
		var st logstore.Store
		var err error
		if store == raftnode.LogStoreBolt {
			st, err = logstore.OpenBolt(name, logstore.Options{})
		} else {
			st, err = logstore.OpenWAL(host.Real().FS, name, logstore.Options{})
		}
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.stores = append(l.stores, st)
	}
	return l, nil
}

func (l *logs) close() error {
	var errs []error
	for _, st := range l.stores {
		errs = append(errs, st.Close())
	}
	return errors.Join(errs...)
}

// measure appends one entry at a time to each log; they are synced one by one.
func (l *logs) measure(d time.Duration) (entries int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	end := time.Now().Add(d)
	for _, st := range l.stores {
		wg.Go(func() {
			n, err := appendUntil(st, l.s.bytes, end)
			mu.Lock()
			defer mu.Unlock()
			entries += n
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return entries, errors.Join(errs...)
}

func appendUntil(st logstore.Store, size int, end time.Time) (n int, err error) {
	last, err := st.LastIndex()
	if err != nil {
		return 0, err
	}
	for time.Now().Before(end) {
		last++
		if err := st.StoreLog(&raft.Log{Index: last, Term: 1, Data: make([]byte, size), AppendedAt: time.Now()}); err != nil {
			return n, err
		}
		if n++; st.Bytes() > 2*keepBytes {
			first, err := st.FirstIndex()
			if err == nil {
				err = st.DeleteRange(first, first+(last-first)/2)
			}
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}
