package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The SOCKS5 client of these tests sends and returns raw bytes, so that the replies of Tor and the proxy can be
// compared.

const (
	socksConnect = 0x01
	torResolve   = 0xf0
)

// socksRequest is one request to a SOCKS5 server.
type socksRequest struct {
	server         string // "host:port", or the path of a unix socket
	user, password string // sent unless user is empty
	command        byte
	dest           string // "host:port"; an IP is sent as an address, anything else as a name
	asName         bool   // send an IP as a name, too
}

// send negotiates and returns the connection and the reply, whose REP is 0 if the request was granted.
func (r socksRequest) send(t *testing.T) (net.Conn, []byte) {
	t.Helper()
	conn, reply, err := r.sendWithin(t, patience)
	if err != nil {
		t.Fatalf("SOCKS request %+v: %v", r, err)
	}
	return conn, reply
}

func (r socksRequest) sendWithin(t *testing.T, limit time.Duration) (net.Conn, []byte, error) {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(r.server, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, r.server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(limit))
	reply, err := r.negotiate(conn)
	conn.SetDeadline(time.Now().Add(patience))
	return conn, reply, err
}

// refused is send for a request that must be refused, and returns the reply.
func (r socksRequest) refused(t *testing.T) []byte {
	t.Helper()
	conn, reply := r.send(t)
	if reply[1] == 0 {
		t.Errorf("%s was granted", r.dest)
	}
	if rest, err := io.ReadAll(conn); len(rest) > 0 {
		t.Errorf("%d bytes after the reply for %s (%v): % x", len(rest), r.dest, err, rest)
	}
	return reply
}

// granted is send for a request that must be granted, and returns the connection.
func (r socksRequest) granted(t *testing.T) net.Conn {
	t.Helper()
	conn, reply := r.send(t)
	if reply[1] != 0 {
		t.Fatalf("%s was refused: % x", r.dest, reply)
	}
	return conn
}

// directoryPause is longer than a Tor of a testing network waits before it asks the same directory again for an onion
// service (hs_hsdir_requery_period). Until then Tor says that the service does not exist.
const directoryPause = 6 * time.Second

// grantedOverTor is granted for an onion service. A rendezvous needs seven circuits; with so few relays one of them
// sometimes hangs for up to a minute and a half, or breaks, so that a directory seems to lack the service. Then it
// retries with new credentials, and so on other circuits.
func (r socksRequest) grantedOverTor(t *testing.T) net.Conn {
	t.Helper()
	conn, _ := r.reachOverTor(t)
	return conn
}

// reachOverTor is grantedOverTor, and returns the request that was granted: while conn is open, others with its
// credentials use its circuits.
func (r socksRequest) reachOverTor(t *testing.T) (conn net.Conn, granted socksRequest) {
	t.Helper()
	for i := range 4 {
		conn, reply, err := r.sendWithin(t, patience/6)
		if err == nil && reply[1] == 0 {
			return conn, r
		}
		conn.Close()
		t.Logf("%s was not reached (% x, %v); trying again", r.dest, reply, err)
		r.user, r.password = fmt.Sprint(t.Name(), i), "another"
		if err == nil {
			time.Sleep(directoryPause)
		}
	}
	return r.granted(t), r
}

func (r socksRequest) negotiate(conn net.Conn) (reply []byte, err error) {
	method := byte(0)
	if r.user != "" {
		method = 2
	}
	if err := exchange(conn, []byte{5, 1, method}, []byte{5, method}); err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if r.user != "" {
		auth := append([]byte{1, byte(len(r.user))}, r.user...)
		auth = append(append(auth, byte(len(r.password))), r.password...)
		if err := exchange(conn, auth, []byte{1, 0}); err != nil {
			return nil, fmt.Errorf("authentication: %w", err)
		}
	}
	request, err := r.encode()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	reply = make([]byte, 10)
	if _, err := io.ReadFull(conn, reply[:4]); err != nil {
		return nil, fmt.Errorf("no reply: %w", err)
	}
	switch reply[3] {
	case 0, 1: // Tor sends 0 if there is no address
	case 4:
		reply = append(reply, make([]byte, 12)...)
	default:
		return nil, fmt.Errorf("reply with an address of type %d", reply[3])
	}
	_, err = io.ReadFull(conn, reply[4:])
	return reply, err
}

func (r socksRequest) encode() ([]byte, error) {
	host, port, err := net.SplitHostPort(r.dest)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	b := []byte{5, r.command, 0}
	if ip := net.ParseIP(host); ip.To4() != nil && !r.asName {
		b = append(append(b, 1), ip.To4()...)
	} else if ip != nil && !r.asName {
		b = append(append(b, 4), ip...)
	} else {
		b = append(append(b, 3, byte(len(host))), host...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(number)), nil
}

// exchange sends a message and expects an answer.
func exchange(conn net.Conn, message, answer []byte) error {
	if _, err := conn.Write(message); err != nil {
		return err
	}
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, answer) {
		return fmt.Errorf("got answer % x, want % x", got, answer)
	}
	return nil
}
