//go:build !linux

package test

import "testing"

// A program's connections are observed with strace and /proc, which only Linux has.

func testTorNothingDirect(t *testing.T, _ *torNetwork)         { notRun(t, "it needs Linux") }
func testTorNothingDirectWhenDown(t *testing.T, _ *torNetwork) { notRun(t, "it needs Linux") }
func testTorCheckNothingDirect(t *testing.T, _ *torNetwork)    { notRun(t, "it needs Linux") }
func testTorSockets(t *testing.T, _ *torNetwork)               { notRun(t, "it needs Linux") }
