// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const etcdPort = 23790

type etcd struct {
	s     settings
	procs []*exec.Cmd
}

func newEtcd(s settings) *etcd { return &etcd{s: s} }

func (e *etcd) name() string { return "etcd" }

func clientURL(i int) string { return fmt.Sprintf("http://127.0.0.1:%d", etcdPort+10*i) }
func peerURL(i int) string   { return fmt.Sprintf("http://127.0.0.1:%d", etcdPort+10*i+1) }

func (e *etcd) start(ctx context.Context) error {
	var members []string
	for i := range 3 {
		members = append(members, fmt.Sprintf("e%d=%s", i, peerURL(i)))
	}
	for i := range 3 {
		dir := filepath.Join(e.s.dir, fmt.Sprintf("etcd%d", i))
		log, err := os.Create(dir + ".log")
		if err != nil {
			return err
		}
		defer log.Close()
		cmd := exec.Command(e.s.etcd, "--name", fmt.Sprintf("e%d", i), "--data-dir", dir,
			"--listen-client-urls", clientURL(i), "--advertise-client-urls", clientURL(i),
			"--listen-peer-urls", peerURL(i), "--initial-advertise-peer-urls", peerURL(i),
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new", "--log-level", "error")
		cmd.Env = e.s.env
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return err
		}
		e.procs = append(e.procs, cmd)
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := e.client(wait, 0)
	if err != nil {
		return err
	}
	defer c.close()
	var last error
	for wait.Err() == nil {
		one, cancel := context.WithTimeout(wait, time.Second)
		last = c.put(one, "ready", []byte("1"))
		cancel()
		if last == nil {
			return nil
		}
	}
	return errors.Join(wait.Err(), last)
}

func (e *etcd) pids() []int {
	var pids []int
	for _, p := range e.procs {
		pids = append(pids, p.Process.Pid)
	}
	return pids
}

func (e *etcd) stop() {
	for _, p := range e.procs {
		_ = p.Process.Signal(syscall.SIGKILL)
		_ = p.Wait()
	}
}

type etcdSession struct{ c *clientv3.Client }

// client opens a connection of its own to one member, in turn.
func (e *etcd) client(ctx context.Context, i int) (session, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{clientURL(i % 3)}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	return etcdSession{c}, nil
}

func (s etcdSession) put(ctx context.Context, key string, value []byte) error {
	_, err := s.c.Put(ctx, key, string(value))
	return err
}

func (s etcdSession) get(ctx context.Context, key string) error {
	_, err := s.c.Get(ctx, key)
	return err
}

func (s etcdSession) close() { _ = s.c.Close() }
