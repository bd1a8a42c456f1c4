// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// readyTime bounds a restart; pollEvery is how often a server that starts is asked.
	readyTime = 5 * time.Minute
	pollEvery = 5 * time.Millisecond
	redisWait = 5 * time.Minute
)

func median(all []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/2]
}

// statusField reads a field of a process's status, in KiB; 0 when there is none.
func statusField(pid int, name string) int {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.Fields(value)[0])
			return n
		}
	}
	return 0
}

// until asks until the answer is no error.
func until(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if sleep(ctx, pollEvery) != nil {
			return fmt.Errorf("not ready within %v: %w", readyTime, err)
		}
	}
}

// restart starts the node, which is stopped, waits until it has all keys, and stops it again.
func (b *bench) restart(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	if err := b.cluster.Start(ctx, b.node); err != nil {
		return 0, err
	}
	if err := until(ctx, func() error { return checkNode(ctx, b.node.Native(), &b.s.set) }); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, b.cluster.Signal(b.node, syscall.SIGTERM)
}

// redis is a server with its dump.
type redis struct {
	bin, dir string
	set      *keySet
	cmd      *exec.Cmd
}

// newRedis leaves a stopped server with a dump of all keys.
func newRedis(ctx context.Context, bin, dir string, set *keySet) (*redis, error) {
	r := &redis{bin: bin, dir: filepath.Join(dir, "redis"), set: set}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	if err := r.start(); err != nil {
		return nil, err
	}
	err := until(ctx, func() error { return r.holds(0) })
	if err == nil {
		err = r.fill()
	}
	if err == nil {
		began := time.Now()
		_, err = r.ask("SAVE")
		fmt.Printf("redis: SAVE took %.2f s; resident %s\n", time.Since(began).Seconds(), resident(r.cmd.Process.Pid))
	}
	r.kill()
	return r, err
}

func (r *redis) socket() string { return filepath.Join(r.dir, "s") }

func (r *redis) start() error {
	r.cmd = exec.Command(r.bin, "--port", "0", "--unixsocket", r.socket(), "--dir", r.dir, "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--logfile", filepath.Join(r.dir, "log"))
	return r.cmd.Start()
}

// kill ends the server, if it runs; nothing is saved.
func (r *redis) kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

func (r *redis) restart(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	if err := r.start(); err != nil {
		return 0, err
	}
	err := until(ctx, func() error { return r.holds(r.set.keys) })
	took := time.Since(began)
	r.kill()
	return took, err
}

// holds tells whether the server is ready and has so many keys.
func (r *redis) holds(keys int) error {
	text, err := r.ask("DBSIZE")
	if err == nil && text != ":"+strconv.Itoa(keys) {
		err = fmt.Errorf("redis says %s", text)
	}
	return err
}

// ask sends an inline command and reads a line.
func (r *redis) ask(command string) (string, error) {
	conn, err := net.Dial("unix", r.socket())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(redisWait)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	return line(bufio.NewReader(conn))
}

func line(in *bufio.Reader) (string, error) {
	text, err := in.ReadString('\n')
	if err == nil && strings.HasPrefix(text, "-") {
		err = fmt.Errorf("redis says %s", strings.TrimSpace(text))
	}
	return strings.TrimSpace(text), err
}

// fill sets all keys over one connection.
func (r *redis) fill() error {
	conn, err := net.Dial("unix", r.socket())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(redisWait)); err != nil {
		return err
	}
	in, out := bufio.NewReader(conn), bufio.NewWriterSize(conn, 1<<20)
	value := make([]byte, valueSize)
	for from := 0; from < r.set.keys; {
		n := min(fillDepth, r.set.keys-from)
		for i := from; i < from+n; i++ {
			fillValue(value, uint64(i))
			fmt.Fprintf(out, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n", keySize, r.set.key(i), valueSize)
			out.Write(value)
			out.WriteString("\r\n")
		}
		if err := out.Flush(); err != nil {
			return err
		}
		for range n {
			if _, err := line(in); err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}
