package proxy_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// The log contains no credentials and no payload.
func TestLogsKeepSecrets(t *testing.T) {
	t.Parallel()
	const user, password, payload = "circuit-user-7f3a", "pass-word-91bd", "payload-5c2e"
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: new(fallback.Peers)}}})
	auth := fmt.Sprintf("\x05\x01\x02\x01%c%s%c%s", len(user), user, len(password), password)
	said := []byte(strings.Repeat(payload, 10))
	e.net.peer("server.example:80", echo)
	e.net.peer("v2.example:8333", v2Peer(func(c *transport.Conn) {
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("tx"), said))
		for {
			if _, err := c.ReadPacket(); err != nil {
				return
			}
		}
	}))
	e.net.peer("v1.example:8333", func(nc *net.TCPConn, _ int) { speakV1(nc) })
	e.server.Dialer.Peers.Note("v1.example:8333", fallback.SpeaksV1)
	e.net.peer("bad.example:8333", func(nc *net.TCPConn, _ int) {
		newHandPeer(nc, mainnet)
		nc.Write(said)
		hangUp(nc)
	})
	v := string(v1Message(mainnet, "version", said))
	ping := string(v1Message(mainnet, "ping", said))
	connect := func(dest string) string { return auth + string(request(1, dest)) }
	for _, says := range []string{
		auth,
		auth + payload,
		"\x05\x01\x02\x02" + user + password,
		"\x05\x01\x00\x01" + auth[4:] + payload,
		payload,
		"GET /?" + payload + " HTTP/1.1\r\nProxy-Authorization: " + password + "\r\n\r\n",
		connect("unknown.example:80"),
		auth + string(request(2, "server.example:80")),
		connect("name.onion:8333"),
		connect("server.example:80") + payload,
		connect("v2.example:8333") + v + ping,
		connect("v2.example:8333") + v + ping + payload + "not a v1 header at all",
		connect("v2.example:8333") + v + ping[:60],
		connect("v1.example:8333") + v + ping,
		connect("bad.example:8333") + v,
		connect("v2.example:8333") + v[:50],
	} {
		client := e.dial()
		io.WriteString(client, says)
		hangUp(client)
		client.Close()
		e.end(client)
	}
	text := strings.ToLower(e.logs.text())
	for _, secret := range []string{user, password, payload} {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), fmt.Sprintf("% x", secret),
			strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="), fmt.Sprint([]byte(secret))} {
			if strings.Contains(text, strings.ToLower(strings.Trim(form, "[]"))) {
				t.Errorf("%q, encoded as %q, is in the log", secret, form)
			}
		}
	}
	if !strings.Contains(text, "v2.example") { // or the check could find nothing
		t.Error("the log is empty")
	}
}

// Repeated attempts to reach a dead peer give one line at the usual levels, and one with the number
// of the others when the proxy stops.
func TestRepeatedFailuresAreFolded(t *testing.T) {
	t.Parallel()
	logs := newLogBook()
	e := start(t, &proxy.Server{Log: slog.New(slog.NewJSONHandler(logs, nil))})
	const n = 20
	for range n {
		for _, dest := range []string{"dead.example:8333", "other.example:8333"} {
			client := e.dial()
			if code, err := ask(client, dest); code == 0 || err != nil {
				t.Errorf("reply %d, %v", code, err)
			}
			wantClosed(t, client)
		}
	}
	if err := e.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, dest := range []string{"dead.example:8333", "other.example:8333"} {
		var lines []logLine
		for _, line := range logs.all() {
			if line["dest"] == dest {
				lines = append(lines, line)
			}
		}
		if len(lines) != 2 {
			t.Fatalf("%s: %d lines: %v", dest, len(lines), lines)
		}
		wantAttrs(t, lines[0], logLine{"msg": "session refused", "level": "INFO"})
		wantAttrs(t, lines[1], logLine{"msg": "session refused again", "level": "INFO", "repeated": n - 1., "reason": lines[0]["reason"]})
	}
	if refused := e.server.Snapshot().Refused["dial"]; refused != 2*n {
		t.Errorf("%d refusals were counted, want %d", refused, 2*n)
	}
}

// A peer that spoke first is a warning, even if it only hung up before.
func TestFoldedRefusalsKeepWarnings(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	const dest = "node.example:8333"
	e.net.peer(dest, func(nc *net.TCPConn, dial int) {
		if dial > 1 {
			nc.Write([]byte("first"))
			io.Copy(io.Discard, nc)
		}
	})
	for _, c := range []struct{ level, why string }{
		{"INFO", "before anything was said"},
		{"WARN", "before the client's VERSION"},
	} {
		client := e.connect(dest)
		client.Read(make([]byte, 10)) // the peer's data, or its end
		client.Write(v1Message(mainnet, "version", version))
		if line := e.wantEnd(client, "refused", c.why); line["level"] != c.level {
			t.Errorf("%v, want level %s", line, c.level)
		}
	}
}

// After addresses are hidden, the log has none in lines about earlier refusals either.
func TestFoldedRefusalsHideAddresses(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	for range 3 {
		client := e.dial()
		ask(client, "dead.example:8333")
		e.end(client)
	}
	before := len(e.logs.text())
	hides := e.server.Policy
	hides.HideAddresses = true
	e.server.SetPolicy(hides)
	if err := e.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	after := e.logs.text()[before:]
	if !strings.Contains(after, `"repeated":2`) || !strings.Contains(after, "the name has no address") || addressesIn(after, "") != "" {
		t.Errorf("the log says %s", after)
	}
}

// Close logs all counts of folded refusals.
func TestCloseTellsFoldedRefusals(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	for range 3 {
		client := e.dial()
		ask(client, "dead.example:8333")
		e.end(client)
	}
	e.server.Close()
	if text := e.logs.text(); !strings.Contains(text, `"repeated":2`) {
		t.Errorf("the log says %s", text)
	}
}
