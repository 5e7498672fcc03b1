//go:build !linux

package test

import "testing"

// The memory of another program is read in /proc, which is Linux's.

func TestSecretsInMemory(t *testing.T) { notRun(t, "needs Linux") }
