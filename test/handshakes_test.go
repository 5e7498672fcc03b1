package test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/test/hostile"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// The transport package against other implementations, many handshakes in both roles, with garbage of every length from
// zero to the maximum.

// regtestMagic is regtest's message start.
var regtestMagic = [4]byte{0xfa, 0xbf, 0xb5, 0xda}

// noAddr is the address of both ends in VERSION messages.
var noAddr = &wire.NetAddress{IP: make([]byte, 16)}

// handshakes returns the number of handshakes per role; the long form has enough to hit events of probability 1/256.
func handshakes() int {
	if long {
		return 1000
	}
	return 20
}

// variant returns the configuration of the i-th of n handshakes: garbage, decoys and first packets.
func variant(i, n int, magic [4]byte, first ...[]byte) transport.Config {
	return transport.Config{
		Magic:   magic,
		Garbage: bytes.Repeat([]byte{byte(i)}, (n-1-i)*transport.MaxGarbage/(n-1)),
		Decoys:  make([]int, i%4),
		First:   first,
	}
}

// shake performs a handshake on nc and closes nc if it fails.
func shake(nc net.Conn, weInitiate bool, cfg transport.Config) (*transport.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc.SetDeadline(time.Now().Add(patience))
	if weInitiate {
		return transport.Client(ctx, nc, cfg)
	}
	return transport.Server(ctx, nc, cfg)
}

// btcd as the initiator; TestHandshakesWithBtcd has it as the responder.
func TestHandshakesFromBtcd(t *testing.T) {
	t.Parallel()
	n := handshakes()
	for i := range n {
		cfg := variant(i, n, mainnetMagic)
		cfg.Garbage = cfg.Garbage[:min(len(cfg.Garbage), transport.MaxGarbage-1)] // btcd refuses more
		p := established(t, false, cfg, i*transport.MaxGarbage/(n-1), make([]int, i%3))
		p.exchange(t, []int{0, 1, 300}, true)
		p.ours.Close()
		p.nc.Close()
	}
	t.Logf("%d handshakes", n)
}

// Core answers our VERSION with its own, and lists the connection with our session id, in both roles.
func TestHandshakesWithCore(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	node := startBitcoind(t, "node", "-listen=1", "-bind="+addr, "-connect=0", "-v2transport=1", "-maxconnections=400")
	var version bytes.Buffer
	if err := wire.NewMsgVersion(noAddr, noAddr, 1, 0).BtcEncode(&version, wire.ProtocolVersion, wire.WitnessEncoding); err != nil {
		t.Fatal(err)
	}
	n := handshakes()
	for _, weInitiate := range []bool{true, false} {
		t.Run(fmt.Sprintf("initiator=%v", weInitiate), func(t *testing.T) {
			each(n, 4, func(i int) {
				nc, err := connectCore(node, addr, weInitiate)
				if err != nil {
					t.Errorf("handshake %d: %v", i, err)
					return
				}
				defer nc.Close()
				var first [][]byte
				if weInitiate {
					first = append(first, hostile.V2("version", version.Bytes()))
				}
				conn, err := shake(nc, weInitiate, variant(i, n, regtestMagic, first...))
				if err != nil {
					t.Errorf("handshake %d: %v", i, err)
					return
				}
				contents, err := conn.ReadPacket()
				payload, ok := bytes.CutPrefix(contents, hostile.V2("version", nil))
				if agent := v1v2.UserAgent(payload); err != nil || !ok || !strings.HasPrefix(agent, "/Satoshi:") {
					t.Errorf("handshake %d: got %q, want its VERSION (%v)", i, contents, err)
				}
				if i%10 != 0 {
					return
				}
				var peers []peer
				id := conn.SessionID()
				if err := node.call(&peers, "getpeerinfo"); err != nil || !slices.ContainsFunc(peers, func(p peer) bool {
					return p.SessionID == hex.EncodeToString(id[:]) && p.Transport == "v2" && p.Inbound == weInitiate
				}) {
					t.Errorf("handshake %d: none of Core's peers has session id %x: %+v, %v", i, id, peers, err)
				}
			})
			t.Logf("%d handshakes", n)
		})
	}
}

// connectCore opens a connection to the node, or has the node open one to us, each to another port, because Core opens
// no second one to the same.
func connectCore(node *node, addr string, weInitiate bool) (net.Conn, error) {
	if weInitiate {
		return net.Dial("tcp", addr)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var null any
	if err := node.call(&null, "addnode", l.Addr().String(), "onetry"); err != nil {
		return nil, err
	}
	l.SetDeadline(time.Now().Add(patience))
	return l.Accept()
}

// The bip324 crate, used by kyoto and Floresta, echoes what it receives.
func TestHandshakesWithRust(t *testing.T) {
	t.Parallel()
	n := handshakes()
	sizes := []int{0, 1, 300, 70_000, 13}
	bothRoles(t, func(t *testing.T, weInitiate bool) {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		args := []string{strconv.Itoa(n), strconv.Itoa(len(sizes))}
		if !weInitiate {
			args = append(args, l.Addr().String())
		}
		rust := startRustPeer(t, args...)
		theirs := rust.awaitAddr(t, "listening on ")
		for i := range n {
			var nc net.Conn
			if weInitiate {
				nc, err = net.Dial("tcp", theirs)
			} else {
				l.SetDeadline(time.Now().Add(patience))
				nc, err = l.Accept()
			}
			if err != nil {
				t.Fatalf("handshake %d: %v", i, err)
			}
			if err := echoes(nc, weInitiate, variant(i, n, mainnetMagic), sizes); err != nil {
				t.Fatalf("handshake %d: %v", i, err)
			}
		}
		rust.awaitEnd(t)
		t.Logf("%d handshakes, each with %d packets and as many decoys to us, %d packets from us", n, len(sizes), len(sizes))
	})
}

// echoes performs a handshake, sends packets of those sizes, and expects them back.
func echoes(nc net.Conn, weInitiate bool, cfg transport.Config, sizes []int) error {
	defer nc.Close()
	conn, err := shake(nc, weInitiate, cfg)
	if err != nil {
		return err
	}
	for i, size := range sizes {
		sent := bytes.Repeat([]byte{byte(i)}, size)
		if i == 2 {
			if err := conn.WriteDecoy(sent); err != nil {
				return err
			}
		}
		if err := conn.WritePacket(sent); err != nil {
			return err
		}
		if got, err := conn.ReadPacket(); err != nil || !bytes.Equal(got, sent) {
			return fmt.Errorf("sent %d bytes, got %d back (%w)", size, len(got), err)
		}
	}
	return nil
}
