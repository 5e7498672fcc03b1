//go:build !linux

package test

import "testing"

// Another program's memory is read through /proc, which only Linux has.

func TestSecretsInMemory(t *testing.T) { notRun(t, "it needs Linux") }
