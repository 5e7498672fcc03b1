package status

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	socksclient "golang.org/x/net/proxy"
)

// A client that speaks SOCKS is answered and disconnected at once, and reported; the next ones within a minute
// are not reported. Browsers are not affected.
func TestSOCKSClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan net.Addr, 10)
	stop := serve(t, &Server{OnSOCKS: func(client net.Addr) { reports <- client }}, l)
	defer stop()
	addr := l.Addr().String()
	dialer, err := socksclient.SOCKS5("tcp", addr, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if c, err := dialer.Dial("tcp", "192.0.2.1:8333"); err == nil {
			c.Close()
			t.Error("the status page served SOCKS")
		}
	}
	socks4, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer socks4.Close()
	socks4.SetDeadline(time.Now().Add(time.Minute))
	socks4.Write([]byte{4, 1, 0x20, 0x8d, 192, 0, 2, 1, 0})
	if answer, err := io.ReadAll(socks4); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("a SOCKS 4 client got %q, %v", answer, err)
	}
	if n := len(reports); n != 1 {
		t.Errorf("%d reports, want 1", n)
	} else if client := <-reports; client.(*net.TCPAddr).Port == 0 {
		t.Errorf("the report is about %v", client)
	}
	page := Client{Address: addr}
	report, _, err := page.Status(t.Context())
	if err != nil || report.Misdirected == nil || report.Misdirected.Client != socks4.LocalAddr().String() {
		t.Errorf("the report has %+v, %v; want the last client, %v", report, err, socks4.LocalAddr())
	}
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	r, err := client.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 {
		t.Errorf("a browser got %d", r.StatusCode)
	}
}

// A misdirected client is reported for ten minutes.
func TestMisdirected(t *testing.T) {
	cs := newConns(nil)
	if m := cs.lastMisdirected(time.Now()); m != nil {
		t.Errorf("at the beginning: got %+v", m)
	}
	cs.noteMisdirected(&net.UnixAddr{Name: "@", Net: "unix"})
	if m := cs.lastMisdirected(time.Now().Add(9 * time.Minute)); m == nil || m.Client != "unix" {
		t.Errorf("after nine minutes: got %+v", m)
	}
	if m := cs.lastMisdirected(time.Now().Add(11 * time.Minute)); m != nil {
		t.Errorf("after eleven minutes: got %+v", m)
	}
}
