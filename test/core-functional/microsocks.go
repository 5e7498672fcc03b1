package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"time"
)

// runMicrosocks runs a test with microsocks between the nodes, which speak v1 from end to end.
func (w *workshop) runMicrosocks(ctx context.Context, i int, name string) outcome {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	addr, err := startMicrosocks(ctx, w.microsocks)
	if err != nil {
		return outcome{err: err, proxyFault: true}
	}
	return w.python(ctx, w.plain, name+".py", i, name+".microsocks", "CORE_FUNCTIONAL_PROXY="+addr)
}

// startMicrosocks starts microsocks, which ends with ctx, and returns the address that it listens on.
func startMicrosocks(ctx context.Context, program string) (addr string, err error) {
	// microsocks does not print a port that the system chose, so it gets one that was free a moment ago.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr = free.Addr().String()
	if err := free.Close(); err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, "-i", host, "-p", port)
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			return addr, c.Close()
		}
		select {
		case err := <-ended:
			return "", errors.Join(fmt.Errorf("%v does not listen", cmd), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
