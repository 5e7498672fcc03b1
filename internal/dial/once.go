package dial

import (
	"context"
	"net/netip"
	"sync"
)

// Once returns resolve for one name, which keeps the answer: all connections for one user go
// to the addresses that the name had at the beginning, and only the first waits for DNS.
func Once(resolve func(context.Context, string) ([]netip.Addr, error)) func(context.Context, string) ([]netip.Addr, error) {
	var mu sync.Mutex
	var known []netip.Addr
	return func(ctx context.Context, host string) (_ []netip.Addr, err error) {
		mu.Lock()
		defer mu.Unlock()
		if known == nil {
			known, err = resolve(ctx, host)
		}
		return known, err
	}
}
