package test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Clients without the password, from many addresses and as fast as possible, block no client that has it, neither
// remote nor on loopback.
func TestUnauthenticatedClients(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	const sessions = 200
	attackers := 40
	var own []string
	for i := range attackers + 2 {
		own = append(own, fmt.Sprintf("10.9.0.%d", i+1))
		command(t, "ip", "address", "add", own[i]+"/32", "dev", "lo")
	}
	peer := startV2Peer(t)
	_, port, _ := net.SplitHostPort(peer)
	public := "10.9.0.1:1324"
	p := startProxy(t, "--listen", "0.0.0.0:1324", "--auth", "user:password", "--max-sessions", fmt.Sprint(sessions), "--allow", "127.0.0.1")
	local := p.addr

	stop := make(chan struct{})
	var attack sync.WaitGroup
	defer attack.Wait()
	defer close(stop)
	for i := range attackers {
		attack.Go(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(own[i+2])}}
			for {
				if nc, err := d.Dial("tcp", public); err == nil {
					defer nc.Close() // sends nothing
				}
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	time.Sleep(3 * time.Second) // lets the attack fill all queues
	good := func(from, to string) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
		nc, err := d.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		_, request := socksConnectTo("127.0.0.1:" + port)
		if err := exchange(nc, []byte{5, 1, 2}, []byte{5, 2}); err != nil {
			t.Errorf("from %s to %s: %v", from, to, err)
			return
		}
		if err := exchange(nc, []byte("\x01\x04user\x08password"), []byte{1, 0}); err != nil {
			t.Errorf("from %s to %s: %v", from, to, err)
			return
		}
		if err := exchange(nc, request, []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Errorf("from %s to %s: %v", from, to, err)
		}
	}
	for range 30 {
		good("10.9.0.2", public)
		good("127.0.0.1", local)
		time.Sleep(100 * time.Millisecond)
	}

	// Silent connections from one address are closed after five seconds, and few are open meanwhile.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("10.9.0.2")}}
	var silent []net.Conn
	began := time.Now()
	for range 30 {
		nc, err := d.Dial("tcp", public)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		silent = append(silent, nc)
	}
	for _, nc := range silent {
		nc.SetReadDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, nc)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("silent clients are closed after %v", took)
	}
}
