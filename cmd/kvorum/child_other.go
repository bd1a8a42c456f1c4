// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "syscall"

// childAttr puts a child into its own process group, so that Ctrl-C reaches it through its parent
// alone.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
