package proxy_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Whatever the tests of this package did, no goroutine is left of it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
