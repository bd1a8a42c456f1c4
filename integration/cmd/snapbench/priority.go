// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
)

// firstServed is the niceness of this process while it measures: where the node keeps all processors busy, what it
// would measure otherwise is how long it waited itself to send a write and to look at the answer.
const firstServed = -15

// rareCollections is GOGC while this process measures: its collector would take processors from the node, too.
const rareCollections = 1000

// measuring raises this process above the node until the returned function is called. It needs the right to;
// without, the figures are worse, which the output tells.
func measuring() (end func()) {
	if err := beNice(firstServed); err != nil {
		fmt.Println("this process competes with the node for processors:", err)
	}
	gc, threads := debug.SetGCPercent(rareCollections), runtime.GOMAXPROCS(1) // to wake a second thread costs more than it would do
	return func() {
		runtime.GOMAXPROCS(threads)
		debug.SetGCPercent(gc)
		_ = beNice(0) // what is started later is to be as any
	}
}

// beNice sets the niceness of all threads, from which later ones have theirs.
func beNice(n int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, tid, n); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("setpriority: %w", err)
		}
	}
	return nil
}

// awake keeps the monitor of Go's scheduler from going to sleep whenever this process is idle, which costs a process that
// sends something every millisecond half of its time; see cmd/kvorum/scheduler.go, which does the same to a node.
const awake = "GODEBUG=schedtrace=2147483647"

// stayAwake begins this process anew with the setting, unless there is one.
func stayAwake() {
	if os.Getenv("GODEBUG") != "" {
		return
	}
	if self, err := os.Executable(); err == nil {
		_ = syscall.Exec(self, os.Args, append(os.Environ(), awake)) // it returns only when it failed, and all works without
	}
}
