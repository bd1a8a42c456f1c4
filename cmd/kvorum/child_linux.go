// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// childAttr puts a child into its own process group, so that Ctrl-C reaches it through its parent
// alone, and ends it when the parent dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
