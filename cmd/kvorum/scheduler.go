// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// The monitor thread of Go's scheduler goes to sleep whenever nothing runs in a process, and the next system call wakes
// it. It then looks around every 20 us for a millisecond. A node that answers some thousands of requests a second is
// idle as often, and on virtual processors, whose threads are slow to wake, this took a fifth of its time.
// The one setting that keeps the monitor from going to sleep asks for a line about the scheduler every so many
// milliseconds: here the most there may be, 24 days. The monitor then looks around every 10 ms where nothing is to be done.
const (
	schedulerSetting = "schedtrace="
	schedulerAwake   = schedulerSetting + "2147483647"
	// firstTrace begins the line that comes at once on a machine which has been up for longer than that.
	firstTrace = "SCHED 0ms: "
)

// awakeEnv is env with schedulerAwake in GODEBUG; false when the user has set schedtrace, to whatever value.
func awakeEnv(env []string) ([]string, bool) {
	const name = "GODEBUG="
	i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name) })
	if i < 0 {
		return append(slices.Clone(env), name+schedulerAwake), true
	}
	if strings.Contains(env[i], schedulerSetting) {
		return env, false
	}
	value := strings.Trim(env[i][len(name):], ",")
	if value != "" {
		value += ","
	}
	env = slices.Clone(env)
	env[i] = name + value + schedulerAwake
	return env, true
}

// secondThread gives a node on a machine with one core two threads, unless env says another: a monitor that looks
// around every 10 ms finds out late that the only one waits for the disk.
func secondThread(env []string, threads int) []string {
	if threads >= leastShare {
		return env
	}
	return shareEnv(env, 1, leastShare)
}

// runsNode tells whether args are those of a node.
func runsNode(args []string) bool {
	c, _, err := newRoot(stdio{in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: os.Getenv}).Find(args)
	return err == nil && c.Name() == "serve"
}

// keepAwake begins the program anew, in this process, with the setting that is read before any code of ours runs. It
// returns when that is not to be or cannot be.
func keepAwake() {
	env, ok := awakeEnv(os.Environ())
	if !ok || !runsNode(os.Args[1:]) {
		return
	}
	env = secondThread(env, runtime.GOMAXPROCS(0))
	if self, err := os.Executable(); err == nil {
		_ = syscall.Exec(self, os.Args, env) // it returns only when it failed, and all works without
	}
}
