// Package dial looks up names and connects to one of several addresses: Happy
// Eyeballs (RFC 8305) with two attempts at a time at most, one per address family.
package dial

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"time"
)

const (
	// attemptDelay is how long after the first family the second is tried.
	attemptDelay = 300 * time.Millisecond

	// minAttempt is the least time for an address, unless less is left.
	minAttempt = 2 * time.Second
)

// First connects to one of ips, which must not be empty. It calls connect for one address
// after the other, each with its share of the time that ctx has left. If there are both
// families, it starts the second one 300 ms after the first, or when that has failed. The
// error is that of the family that failed last.
func First(ctx context.Context, ips []netip.Addr, connect func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	var families [2][]netip.Addr
	for _, ip := range ips {
		i := 0
		if ip.Is4() != ips[0].Is4() {
			i = 1
		}
		families[i] = append(families[i], ip)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, len(families))
	next, running := 0, 0
	start := func() {
		if next < len(families) && len(families[next]) > 0 {
			family := families[next]
			next++
			running++
			go func() {
				conn, err := inTurn(ctx, family, connect)
				results <- result{conn, err}
			}()
		}
	}
	start()
	delay := time.NewTimer(attemptDelay)
	defer delay.Stop()
	for {
		select {
		case <-delay.C:
			start()
		case r := <-results:
			running--
			if r.err == nil {
				if running > 0 {
					go func() {
						if late := <-results; late.err == nil {
							late.conn.Close()
						}
					}()
				}
				return r.conn, nil
			}
			if start(); running == 0 {
				return nil, r.err
			}
		}
	}
}

// inTurn connects to the first of ips that accepts. The error is that of the first.
func inTurn(ctx context.Context, ips []netip.Addr, connect func(context.Context, netip.Addr) (net.Conn, error)) (_ net.Conn, first error) {
	for i, ip := range ips {
		attempt, cancel := share(ctx, len(ips)-i)
		conn, err := connect(attempt, ip)
		cancel()
		if err == nil {
			return conn, nil
		}
		if first = cmp.Or(first, err); ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// share limits ctx to 1/n of the time that it has left, but at least minAttempt.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	until, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, max(time.Until(until)/time.Duration(n), minAttempt))
}
