package proxy_test

import (
	"context"
	"errors"
	"flag"
	"net"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// lookups counts the queries to the system's resolver, which knows no names in these tests unless a
// test replaces it.
var lookups atomic.Int64

// TestMain fails if a goroutine is left.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "4") // most tests wait for a timeout, not for the processor
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		lookups.Add(1)
		return nil, errors.New("no name server for this test")
	}}
	goleak.VerifyTestMain(m)
}
