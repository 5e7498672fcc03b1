package socks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
)

// talk is one turn of a client: the segments it sends ("|" between them) and the answer it gets.
// Without an answer it hangs up.
type talk struct{ send, answer string }

// rule checks the answers as the client does, with one chunk for each Write of the proxy.
type rule struct {
	text  string
	check func(chunks [][]byte) error
}

// exactReads returns the rule of clients that read exactly the bytes they expect, whatever the
// segments: VER, REP, RSV, then an address by its type.
func exactReads(text string) rule {
	return rule{text, func(chunks [][]byte) error {
		reply := chunks[len(chunks)-1]
		if len(reply) < 4 || reply[0] != 5 || reply[1] != 0 || reply[2] != 0 {
			return fmt.Errorf("reply % x", reply)
		}
		if want := map[byte]int{1: 10, 4: 22}[reply[3]]; len(reply) != want {
			return fmt.Errorf("%d bytes for address type %d", len(reply), reply[3])
		}
		return nil
	}}
}

// singleReads returns the rule of clients that take each answer with one read.
func singleReads(text string, final func(reply []byte) bool) rule {
	return rule{text, func(chunks [][]byte) error {
		last := len(chunks) - 1
		for _, c := range chunks[:last] {
			if len(c) != 2 {
				return fmt.Errorf("% x is not 2 bytes", c)
			}
		}
		if !final(chunks[last]) {
			return fmt.Errorf("reply % x", chunks[last])
		}
		return nil
	}}
}

// refusal returns the rule of clients whose request must be refused: the reply has enough bytes to
// show REP, which is not 0.
func refusal(text string) rule {
	return rule{text, func(chunks [][]byte) error {
		if reply := chunks[len(chunks)-1]; len(reply) != 10 || reply[1] == 0 {
			return fmt.Errorf("reply % x", reply)
		}
		return nil
	}}
}

// resolved returns the rule of clients that send RESOLVE and require IPv4.
func resolved(text string) rule {
	return rule{text, func(chunks [][]byte) error {
		if r := chunks[len(chunks)-1]; len(r) != 10 || !bytes.Equal(r[:4], []byte{5, 0, 0, 1}) || len(chunks[0]) != 2 {
			return fmt.Errorf("replies % x", chunks)
		}
		return nil
	}}
}

// lookedUp is the address that every name resolves to.
var lookedUp = netip.MustParseAddr("192.0.2.7")

// answer grants a request.
func answer(req *Request) error {
	switch {
	case req.Command == CommandConnect:
		return req.Reply(Succeeded)
	case req.Dest.IP.IsValid():
		return req.ReplyAddr(req.Dest.IP)
	}
	return req.ReplyAddr(lookedUp)
}

// TestClients replays what real clients send, in their segments.
func TestClients(t *testing.T) {
	const ok = succeeded
	const looked = "0500 0001 c0000207 0000" // lookedUp
	const coreUser = "0123456789abcdef-7"    // one prefix per process, then a counter
	const hex16, hex64 = "00112233aabbccdd", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	const nbUser = "ABCDEFGHIJKLMNOPQRST0"
	login := func(user, password string) talk {
		return talk{"01" + field(user) + field(password), "0100"}
	}
	name := func(host string) talk { return talk{"05010003" + field(host) + "208d", ok} }
	lookup := func(host, answer string) talk { return talk{"05f00003" + field(host) + "0000", answer} }
	const ip4 = "0f3d1717" // 15.61.23.23
	const ip6 = "20010db8000000000000000000000001"

	core := exactReads("VER, REP and RSV checked, then the address by its type")
	goSocks := exactReads("fills its buffer; address of at most 32 bytes")
	xnet := exactReads("fills its buffer; RSV must be 0")
	bsocks := singleReads("chunks of 2; a final chunk of at least 6 with the whole address", func(r []byte) bool {
		return len(r) >= 6 && r[0] == 5 && r[1] == 0 && r[2] == 0 && (r[3] == 1 && len(r) == 10)
	})
	nbitcoin := singleReads("the reply is these 10 bytes and no others", func(r []byte) bool {
		return bytes.Equal(r, []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	})
	jdk := exactReads("fills its buffer; any REP it does not list counts as success")
	aiorpcx := exactReads("looks at REP once it has 5 bytes")
	torLookup := resolved("reads of 2, 4 and 4, each a single one; address type 1")
	kyoto := exactReads("header of 4, then the address; only method 0 will do")
	floresta := exactReads("exact reads; only method 0 will do")

	tests := []struct {
		client string
		rule   rule
		talks  []talk
		dest   Addr // zero: refused
		user   string
		pass   string
	}{
		{"Core, IPv4 as name", core, []talk{{"05020002", "0502"}, login(coreUser, coreUser), name("15.61.23.23")},
			addr("15.61.23.23", wantPort), coreUser, coreUser},
		{"Core, IPv6 as name", core, []talk{{"05020002", "0502"}, login(coreUser, coreUser), name("1233:3432:2434:2343:3234:2345:6546:4534")},
			addr("1233:3432:2434:2343:3234:2345:6546:4534", wantPort), coreUser, coreUser},
		{"Core, seed, -proxyrandomize=0", core, []talk{{"050100", "0500"}, name("seed.bitcoin.sipa.be")},
			addr("seed.bitcoin.sipa.be", wantPort), "", ""},
		{"Core, onion", core, []talk{{"050100", "0500"}, name(strings.Repeat("a", 56) + ".onion")},
			addr(strings.Repeat("a", 56)+".onion", wantPort), "", ""},
		{"btcd", goSocks, []talk{{"050100", "0500"}, name("2001:db8::1")}, addr("2001:db8::1", wantPort), "", ""},
		{"btcd, isolation", goSocks, []talk{{"05020002", "0502"}, login(hex16, hex16), name("15.61.23.23")},
			addr("15.61.23.23", wantPort), hex16, hex16},
		{"btcd, RESOLVE", torLookup, []talk{{"050100", "0500"}, lookup("seed.example", looked)},
			addr("seed.example", 0), "", ""},
		{"lnd, IPv4", xnet, []talk{{"050100", "0500"}, {"05010001" + ip4 + "208d", ok}}, addr("15.61.23.23", wantPort), "", ""},
		{"lnd, IPv6, isolation", xnet, []talk{{"05020002", "0502"}, login(hex16, hex16), {"05010004" + ip6 + "208d", ok}},
			addr("2001:db8::1", wantPort), hex16, hex16},
		{"lnd, name", xnet, []talk{{"050100", "0500"}, name("node.example")}, addr("node.example", wantPort), "", ""},
		{"lnd, RESOLVE of an address", torLookup, []talk{{"050100", "0500"}, lookup("15.61.23.23", "0500 0001 0f3d1717 0000")},
			addr("15.61.23.23", 0), "", ""},
		{"bcoin, IPv4", bsocks, []talk{{"050100", "0500"}, {"05010001" + ip4 + "208d", ok}}, addr("15.61.23.23", wantPort), "", ""},
		{"bcoin, IPv6", bsocks, []talk{{"050100", "0500"}, {"05010004" + ip6 + "208d", ok}}, addr("2001:db8::1", wantPort), "", ""},
		// bcoin writes the password over the password's length, so the message never ends: with
		// credentials it fails wherever method 2 is chosen.
		{"bcoin, credentials", rule{"gives up after 8 seconds", func(chunks [][]byte) error {
			if len(chunks) != 1 {
				return fmt.Errorf("%x after the method", chunks[1:])
			}
			return nil
		}}, []talk{{"05020002", "0502"}, {"01" + field("user") + "'pass'00", ""}}, Addr{}, "", ""},
		{"bitcoinj, account name", jdk, []talk{{"05020002", "0502"}, login("satoshi", ""), {"05010001" + ip4 + "208d", ok}},
			addr("15.61.23.23", wantPort), "satoshi", ""},
		{"bitcoinj, name", jdk, []talk{{"05020002", "0502"}, login("satoshi", ""), name("node.example")},
			addr("node.example", wantPort), "satoshi", ""},
		{"Electrum", aiorpcx, []talk{{"050100", "0500"}, name("node.example")}, addr("node.example", wantPort), "", ""},
		{"Electrum, Tor found", aiorpcx, []talk{{"05020002", "0502"}, login(hex64, hex64), {"05010001" + ip4 + "208d", ok}},
			addr("15.61.23.23", wantPort), hex64, hex64},
		{"Electrum, probe", rule{"Tor, if one read brings these 12 bytes and no others", func(chunks [][]byte) error {
			if len(chunks) != 1 || !bytes.Equal(chunks[0], unhex("0500"+succeeded)) {
				return fmt.Errorf("%x", chunks)
			}
			return nil
		}}, []talk{{"050100 05f00003" + field("0.0.0.0") + "0000", "0500" + succeeded}}, addr("0.0.0.0", 0), "", ""},
		{"NBitcoin, isolation", nbitcoin, []talk{{"050102", "0502"}, login(nbUser, nbUser), {"05010001" + ip4 + "208d", ok}},
			addr("15.61.23.23", wantPort), nbUser, nbUser},
		{"NBitcoin, IPv6", nbitcoin, []talk{{"050100", "0500"}, {"05010004" + ip6 + "208d", ok}}, addr("2001:db8::1", wantPort), "", ""},
		{"NBitcoin, RESOLVE", resolved("4 bytes, then an address by its type; REP is ignored"),
			[]talk{{"050102", "0502"}, login(nbUser, nbUser), lookup("seed.example", looked)}, addr("seed.example", 0), nbUser, nbUser},
		{"kyoto", kyoto, []talk{{"050100", "0500"}, {"05010001|" + ip4 + "|208d", ok}}, addr("15.61.23.23", wantPort), "", ""},
		{"kyoto, IPv6", kyoto, []talk{{"050100", "0500"}, {"05010004|" + ip6 + "|208d", ok}}, addr("2001:db8::1", wantPort), "", ""},
		{"Floresta", floresta, []talk{{"050100", "0500"}, {"05010001|" + ip4 + "|208d", ok}}, addr("15.61.23.23", wantPort), "", ""},
		{"Floresta, IPv6", floresta, []talk{{"050100", "0500"}, {"05010004|" + ip6 + "|208d", ok}}, addr("2001:db8::1", wantPort), "", ""},
		{"Floresta, onion", floresta, []talk{{"050100", "0500"}, {"05010003|" + field(strings.Repeat("a", 56)+".onion") + "|208d", ok}},
			addr(strings.Repeat("a", 56)+".onion", wantPort), "", ""},
		// This version announces IPv4 and sends 16 bytes: the first 4 pass for an address, the next
		// 2, here 0, for the port.
		{"Floresta 0.9.1, IPv6", refusal("exact reads; nonzero REP is an error"),
			[]talk{{"050100", "0500"}, {"05010001|" + ip6, refused1}}, Addr{}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.client, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				var req *Request
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer server.Close()
					if req, err = (Config{}).Negotiate(server, bufio.NewReader(server)); err == nil {
						err = answer(req)
					}
				}()
				chunks := converse(t, client, tt.talks)
				<-done
				client.Close()

				if err := tt.rule.check(chunks); err != nil {
					t.Errorf("violates the client's rule (%s): %v", tt.rule.text, err)
				}
				if req != nil {
					req.Dest.Binary = false // see TestValid
				}
				var nerr *NegotiationError
				switch {
				case tt.dest == Addr{}:
					if !errors.As(err, &nerr) {
						t.Errorf("request %v, want an error", req)
					}
				case err != nil:
					t.Error(err)
				case req.Dest != tt.dest || req.Credentials != (Credentials{tt.user, tt.pass}):
					t.Errorf("got %v as %q", req, req.Credentials.Username)
				}
			})
		})
	}
}

// converse plays the talks and returns what each read of the client brought:
// on a pipe that is one Write of the server.
func converse(t *testing.T, client net.Conn, talks []talk) (chunks [][]byte) {
	for _, turn := range talks {
		for segment := range strings.SplitSeq(turn.send, "|") {
			if segment == "" {
				continue
			}
			if _, err := client.Write(unhex(segment)); err != nil {
				t.Fatal(err)
			}
		}
		if turn.answer == "" {
			client.Close()
			break
		}
		buf := make([]byte, 512)
		n, err := client.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf[:n], unhex(turn.answer)) {
			t.Errorf("answer to %s: got %x, want %s", turn.send, buf[:n], turn.answer)
		}
		chunks = append(chunks, buf[:n])
	}
	return chunks
}
