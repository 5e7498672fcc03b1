package proxy_test

import (
	"context"
	"io"
	"net"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport/fallback"
)

// A thousand dials to a closed port, each refused, and a thousand clients that leave during the
// SOCKS exchange leave no goroutine and no socket behind: start checks that.
func TestChurn(t *testing.T) {
	t.Parallel()
	closed := testkit.Nobody(t)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}}})
	const times = 1000
	each(times, 50, func(int) {
		client := e.dial()
		defer client.Close()
		if code, err := ask(client, closed); code != 5 || err != nil {
			t.Errorf("reply %d, %v", code, err)
		}
	})

	asking := append([]byte{5, 2, 0, 2, 1, 1, 'u', 1, 'p'}, request(1, closed)...)
	each(times, 50, func(i int) {
		client := e.dial()
		client.Write(asking[:i%(len(asking)+1)])
		if i%3 == 0 {
			reset(client)
			return
		}
		if i%3 == 1 {
			hangUp(client)
			io.Copy(io.Discard, client)
		}
		client.Close()
	})
}
