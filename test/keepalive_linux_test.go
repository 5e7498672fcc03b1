package test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

// On idle connections to peers no TCP timer runs, so no keepalives are sent: Bitcoin Core sends none either.
func TestNoKeepalive(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	peer := startV2Peer(t)
	translated, code, err := upgradeThrough(p.addr, peer)
	if err != nil || code != 0 {
		t.Fatalf("reply %d, %v", code, err)
	}
	defer translated.Close()
	silent := listen(t, func(nc *net.TCPConn) { nc.Read(make([]byte, 1000)); nc.Read(make([]byte, 1)) })
	passed, code, err := connectThrough(p.addr, silent)
	if err != nil || code != 0 {
		t.Fatalf("reply %d, %v", code, err)
	}
	defer passed.Close()
	fmt.Fprint(passed, "something else than v1")
	for _, peer := range []string{peer, silent} {
		var timer string
		eventually(t, "nothing is in flight to "+peer, func() bool {
			timer = timerTo(t, peer)
			return timer != "01" && timer != "" // everything sent is acknowledged
		})
		if timer != "00" {
			t.Errorf("timer %s runs on the connection to %s", timer, peer)
		}
	}
}

// timerTo returns the kind of timer, in /proc/net/tcp (see proc(5)), that runs on a connection to addr; empty without
// such a connection.
func timerTo(t *testing.T, addr string) (kind string) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ip := to.IP.To4()
	remote := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], to.Port)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 5 && f[2] == remote && f[3] == "01" {
			return f[5][:2]
		}
	}
	return ""
}
