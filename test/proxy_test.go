package test

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"
)

// proxy is a running bip324-proxy.
type proxy struct {
	*program
	addr string // listening address
}

// event is one line of the proxy's log. Missing attributes are zero.
type event struct {
	Level string `json:"level"`
	Msg   string `json:"msg"`

	Addr      string `json:"addr"`
	Session   int    `json:"session"`
	Inbound   bool   `json:"inbound"`
	Client    string `json:"client"`
	Peer      string `json:"peer"` // of an inbound session
	Node      string `json:"node"`
	Source    string `json:"source"`
	Dest      string `json:"dest"`
	Network   string `json:"network"`
	Transport string `json:"transport"`
	SessionID string `json:"session_id"`
	Reason    string `json:"reason"`
	Hint      string `json:"hint"`

	Time     time.Time     `json:"time"`
	Duration time.Duration `json:"duration"`

	MessagesToPeer   int64 `json:"messages_to_peer"`
	MessagesToClient int64 `json:"messages_to_client"`
	BytesToPeer      int64 `json:"bytes_to_peer"`
	BytesToClient    int64 `json:"bytes_to_client"`
	Dropped          int64 `json:"dropped"`
}

// startProxy runs the proxy on a port that the system chooses. Any line on its stderr that is not a log entry, such as
// a panic or a race report, fails the test.
func startProxy(t *testing.T, flags ...string) *proxy {
	t.Helper()
	return startProxyBy(t, nil, flags...)
}

// startProxyBy is startProxy by a command, such as setpriv.
func startProxyBy(t *testing.T, by []string, flags ...string) *proxy {
	t.Helper()
	p := &proxy{}
	t.Cleanup(func() { // runs after start's cleanup, so the log is complete
		if p.program == nil {
			return // it did not start
		}
		for _, line := range p.out.all() {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("the proxy printed a line that is not a log entry: %s", line)
			}
		}
	})
	args := slices.Concat(by, []string{binaries.proxy, "--listen", "127.0.0.1:0", "--log-level", "info", "--log-format", "json"}, flags)
	p.program = start(t, "bip324-proxy", args[0], args[1:]...)
	p.addr = p.await(t, "listening", func(e event) bool { return e.Msg == "listening" }).Addr
	return p
}

// await returns the first log entry, past or future, that satisfies match.
func (p *proxy) await(t *testing.T, what string, match func(event) bool) event {
	t.Helper()
	var e event
	p.awaitLine(t, what, func(line string) bool {
		e = event{}
		return json.Unmarshal([]byte(line), &e) == nil && match(e)
	})
	return e
}

// opened waits for the first open session.
func (p *proxy) opened(t *testing.T) event {
	t.Helper()
	return p.await(t, "session opened", func(e event) bool { return e.Msg == "session opened" })
}

// closed waits for the end of a session.
func (p *proxy) closed(t *testing.T, session int) event {
	t.Helper()
	return p.await(t, "session closed", func(e event) bool { return e.Msg == "session closed" && e.Session == session })
}

// askByName requests a name by SOCKS and returns the reply's code and address.
func askByName(t *testing.T, proxy string, command byte, host, port string) (code byte, ip net.IP) {
	t.Helper()
	nc, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	n, _ := strconv.Atoi(port)
	request := append([]byte{5, 1, 0, 5, command, 0, 3, byte(len(host))}, host...)
	nc.Write(binary.BigEndian.AppendUint16(request, uint16(n)))
	var reply [12]byte
	if _, err := io.ReadFull(nc, reply[:]); err != nil {
		t.Fatal(err)
	}
	return reply[3], net.IP(reply[6:10])
}
