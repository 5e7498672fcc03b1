//go:build !linux

package test

import "testing"

// What a program connects to is watched with strace and /proc, which are Linux's.

func testTorNothingDirect(t *testing.T, _ *torNetwork)         { notRun(t, "needs Linux") }
func testTorNothingDirectWhenDown(t *testing.T, _ *torNetwork) { notRun(t, "needs Linux") }
func testTorCheckNothingDirect(t *testing.T, _ *torNetwork)    { notRun(t, "needs Linux") }
func testTorSockets(t *testing.T, _ *torNetwork)               { notRun(t, "needs Linux") }
