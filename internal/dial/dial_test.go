package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// attempt is the outcome of connecting to an address.
type attempt struct {
	takes time.Duration
	err   error
}

var errRefused, errUnreachable = errors.New("refused"), errors.New("unreachable")

// Addresses are tried in turn, families side by side, within the deadline.
func TestFirst(t *testing.T) {
	const never = time.Hour
	for name, c := range map[string]struct {
		attempts map[string]attempt
		order    []string
		want     string // the address connected to
		err      error
		tried    []string
		took     time.Duration
	}{
		"the first": {map[string]attempt{"192.0.2.1": {0, nil}, "192.0.2.2": {0, nil}},
			[]string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1", nil, []string{"192.0.2.1"}, 0},
		"the second": {map[string]attempt{"192.0.2.1": {0, errRefused}, "192.0.2.2": {time.Second, nil}},
			[]string{"192.0.2.1", "192.0.2.2"}, "192.0.2.2", nil, []string{"192.0.2.1", "192.0.2.2"}, time.Second},
		"the first is silent": {map[string]attempt{"192.0.2.1": {never, nil}, "192.0.2.2": {0, nil}},
			[]string{"192.0.2.1", "192.0.2.2"}, "192.0.2.2", nil, []string{"192.0.2.1", "192.0.2.2"}, 2500 * time.Millisecond},
		"all are silent": {map[string]attempt{"192.0.2.1": {never, nil}, "192.0.2.2": {never, nil}, "192.0.2.3": {never, nil}, "192.0.2.4": {never, nil}},
			[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, "", context.DeadlineExceeded, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, 5 * time.Second},
		"IPv6 is silent": {map[string]attempt{"2001:db8::1": {never, nil}, "192.0.2.1": {100 * time.Millisecond, nil}},
			[]string{"2001:db8::1", "192.0.2.1"}, "192.0.2.1", nil, []string{"2001:db8::1", "192.0.2.1"}, 400 * time.Millisecond},
		"IPv4 is silent": {map[string]attempt{"2001:db8::1": {0, nil}, "192.0.2.1": {never, nil}},
			[]string{"192.0.2.1", "2001:db8::1"}, "2001:db8::1", nil, []string{"192.0.2.1", "2001:db8::1"}, 300 * time.Millisecond},
		"there is no IPv6": {map[string]attempt{"2001:db8::1": {0, errUnreachable}, "2001:db8::2": {0, errUnreachable}, "192.0.2.1": {time.Second, errRefused}},
			[]string{"2001:db8::1", "2001:db8::2", "192.0.2.1"}, "", errRefused, []string{"2001:db8::1", "2001:db8::2", "192.0.2.1"}, time.Second},
		"both families answer, IPv6 late": {map[string]attempt{"2001:db8::1": {time.Second, nil}, "192.0.2.1": {200 * time.Millisecond, nil}},
			[]string{"2001:db8::1", "192.0.2.1"}, "192.0.2.1", nil, []string{"2001:db8::1", "192.0.2.1"}, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				var ips []netip.Addr
				for _, s := range c.order {
					ips = append(ips, netip.MustParseAddr(s))
				}
				var mu sync.Mutex
				var tried []string
				var open atomic.Int64
				began := time.Now()
				conn, err := First(ctx, ips, func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
					mu.Lock()
					tried = append(tried, ip.String())
					mu.Unlock()
					a := c.attempts[ip.String()]
					select {
					case <-time.After(a.takes):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if a.err != nil {
						return nil, a.err
					}
					open.Add(1)
					return &fakeConn{ip: ip, open: &open}, nil
				})
				took := time.Since(began)
				got := ""
				if conn != nil {
					got = conn.(*fakeConn).ip.String()
				}
				if got != c.want || !errors.Is(err, c.err) || took != c.took || !slices.Equal(tried, c.tried) {
					t.Errorf("got %q, %v after %v, tried %v; want %q, %v, %v, %v", got, err, took, tried, c.want, c.err, c.took, c.tried)
				}
				synctest.Wait()
				if n := open.Load(); (n == 1) != (c.want != "") || n > 1 {
					t.Errorf("%d connections are still open", n)
				}
			})
		})
	}
}

type fakeConn struct {
	net.Conn
	ip   netip.Addr
	open *atomic.Int64
}

func (c *fakeConn) Close() error { c.open.Add(-1); return nil }

// Cancelling ends First at once.
func TestFirstCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := First(ctx, []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("192.0.2.1")}, func(ctx context.Context, _ netip.Addr) (net.Conn, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("given up: %w", ctx.Err())
		})
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took != time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	})
}
