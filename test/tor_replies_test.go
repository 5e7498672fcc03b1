package test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha3"
	"encoding/base32"
	"encoding/base64"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// requireRefusal checks that a reply is the refusal that every client can parse, with one of the codes.
func requireRefusal(t *testing.T, reply []byte, codes ...byte) {
	t.Helper()
	for _, code := range codes {
		if bytes.Equal(reply, []byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0}) {
			return
		}
	}
	t.Errorf("reply % x, want 05 CODE 00 01 and zeros, with a code of % x", reply, codes)
}

// The client gets Tor's reply about a destination.
func testTorReplies(t *testing.T, n *torNetwork) {
	proxy := startTorProxy(t, n.socks)
	for dest, code := range map[string]byte{
		"does-not-exist.invalid:8333": 4, // from the exit's DNS server
		freeAddr(t):                   0, // refuses; any code of Tor's
		"192.0.2.1:8333":              0, // no exit can reach it
		unknownOnion(t) + ":8333":     4,
		"notonion.onion:8333":         0,
	} {
		direct := socksRequest{server: n.socks, command: socksConnect, dest: dest}.refused(t)
		through := socksRequest{server: proxy.addr, command: socksConnect, dest: dest}.refused(t)
		t.Logf("%s: Tor says %d, the proxy %d", dest, direct[1], through[1])
		if code != 0 && direct[1] != code {
			t.Errorf("%s: Tor itself replies % x, want code %d: this test proves nothing", dest, direct, code)
		}
		requireRefusal(t, through, direct[1])
	}
	if n.names.asked("does-not-exist.invalid") == 0 {
		t.Error("no exit was asked for does-not-exist.invalid")
	}
}

// unknownOnion returns a valid address of an onion service that does not exist (rend-spec-v3, 6).
func unknownOnion(t *testing.T) string {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const version = 3
	sum := sha3.Sum256(append(append([]byte(".onion checksum"), key...), version))
	return strings.ToLower(base32.StdEncoding.EncodeToString(append(append(key, sum[:2]...), version))) + ".onion"
}

// Tor can report why an onion service is unreachable, with its own codes. The client, which might take those for
// success, gets one of RFC 1928's; the log has the reason.
func testTorOnionFailures(t *testing.T, n *torNetwork) {
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	authKey, wrongKey := newX25519(t), newX25519(t)
	key := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(authKey.PublicKey().Bytes())
	closed := n.onion(t, node.p2p, "Flags=V3Auth", "ClientAuthV3="+key)
	wrong := n.onion(t, node.p2p, "Flags=V3Auth", "ClientAuthV3="+key)
	n.control.command(t, "ONION_CLIENT_AUTH_ADD "+strings.TrimSuffix(wrong, ".onion")+" x25519:"+
		base64.StdEncoding.EncodeToString(wrongKey.Bytes()))
	damaged := unknownOnion(t) // detected by its checksum
	if damaged[0] == 'a' {
		damaged = "b" + damaged[1:]
	} else {
		damaged = "a" + damaged[1:]
	}

	proxy := startTorProxy(t, n.extended)
	for _, c := range []struct {
		what, dest string
		code       byte   // Tor's own
		reason     string // what the proxy's log must name
	}{
		{"no descriptor", unknownOnion(t), 0xf0, "descriptor"},
		{"no client key", closed, 0xf4, "authorization"},
		{"a wrong client key", wrong, 0xf5, "authorization"},
		{"a damaged address", damaged, 0xf6, "address"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel() // Tor is slow with some
			dest := c.dest + ":8333"
			direct := socksRequest{server: n.extended, command: socksConnect, dest: dest}.refused(t)
			if direct[1] != c.code {
				t.Errorf("Tor itself replies % x, want code %02x: this test proves nothing", direct, c.code)
			}
			requireRefusal(t, socksRequest{server: proxy.addr, command: socksConnect, dest: dest}.refused(t), 4, 1)
			refused := proxy.await(t, "session refused for "+dest, func(e event) bool {
				return e.Msg == "session refused" && e.Dest == dest
			})
			t.Logf("Tor's code %02x; reason %q, hint %q", direct[1], refused.Reason, refused.Hint)
			if !strings.Contains(refused.Reason, c.reason) {
				t.Errorf("the proxy logged %+v, want a reason that names %q", refused, c.reason)
			}
		})
	}
}

func newX25519(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// RESOLVE is answered by Tor, and so by the exits' DNS server, not the local one.
func testTorResolve(t *testing.T, n *torNetwork) {
	proxy := startTorProxy(t, n.socks)
	for name, want := range map[string][]byte{
		knownName:              {5, 0, 0, 1, 127, 0, 0, 1, 0, 0},
		"203.0.113.7":          {5, 0, 0, 1, 203, 0, 113, 7, 0, 0}, // an address: some clients resolve those
		"resolve-fail.invalid": {5, 4, 0, 1, 0, 0, 0, 0, 0, 0},
		"2001:db8::7":          append([]byte{5, 0, 0, 4, 0x20, 1, 0xd, 0xb8}, append(make([]byte, 11), 7, 0, 0)...),
	} {
		before := n.names.asked(name)
		request := socksRequest{server: n.socks, command: torResolve, dest: net.JoinHostPort(name, "0"), asName: true}
		_, direct := request.send(t)
		asked := n.names.asked(name)
		request.server = proxy.addr
		_, through := request.send(t)
		if !bytes.Equal(through, want) {
			t.Errorf("%s: got % x, want % x", name, through, want)
		}
		if !bytes.Equal(direct[:3], through[:3]) || direct[1] == 0 && !bytes.Equal(direct, through) {
			t.Errorf("%s: got % x, want Tor's reply % x", name, through, direct)
		}
		t.Logf("%s: Tor % x, the proxy % x; the exits' DNS server was asked %d times, %d of them for the proxy",
			name, direct, through, n.names.asked(name)-before, n.names.asked(name)-asked)
	}
	if n.names.asked("resolve-fail.invalid") == 0 || n.names.asked("203.0.113.7") != 0 {
		t.Error("the exits' DNS server did not get the expected queries")
	}
}

// Electrum requests 0.0.0.0 from a SOCKS server in one write. If one read returns exactly Tor's answer it takes the
// server for Tor, and enables its Tor features. The proxy gives that answer if and only if its upstream is Tor.
func testTorProbe(t *testing.T, n *torNetwork) {
	asTor := []byte{5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for range 20 { // two writes may arrive as one by chance
		if direct := electrumProbe(t, n.socks); !bytes.Equal(direct, asTor) {
			t.Fatalf("Tor itself answers % x, want % x", direct, asTor)
		}
	}
	proxy := startTorProxy(t, n.socks)
	for range 20 {
		if got := electrumProbe(t, proxy.addr); !bytes.Equal(got, asTor) {
			t.Fatalf("with Tor as upstream the proxy answers % x, want % x", got, asTor)
		}
	}
	direct := startProxy(t)
	for name, addr := range map[string]string{
		"nothing":                        direct.addr,
		"a SOCKS server that is not Tor": startTorProxy(t, direct.addr).addr,
		"an upstream that is down":       startTorProxy(t, freeAddr(t)).addr,
	} {
		got := electrumProbe(t, addr)
		t.Logf("with %s behind it the proxy answers % x", name, got)
		if bytes.Equal(got, asTor) {
			t.Errorf("with upstream %s the proxy answers like Tor", name)
		}
	}
}

// electrumProbe returns the result of one read.
func electrumProbe(t *testing.T, addr string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("\x05\x01\x00\x05\xf0\x00\x03\x070.0.0.0\x00\x00")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	got, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return answer[:got]
}
