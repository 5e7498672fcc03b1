package socks

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/proxy"
)

// pipeTo dials by passing the other end of a pipe to serve.
type pipeTo struct{ serve func(net.Conn) }

func (p pipeTo) Dial(string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go p.serve(server)
	return client, nil
}

// An independent client and this server agree on requests and replies.
func TestXNetClient(t *testing.T) {
	long := strings.Repeat(long255, 17)
	words := map[ReplyCode]string{ // the client's texts
		Succeeded:               "",
		GeneralFailure:          "general SOCKS server failure",
		NotAllowed:              "connection not allowed by ruleset",
		NetworkUnreachable:      "network unreachable",
		HostUnreachable:         "host unreachable",
		ConnectionRefused:       "connection refused",
		TTLExpired:              "TTL expired",
		CommandNotSupported:     "command not supported",
		AddressTypeNotSupported: "address type not supported",
	}
	for _, target := range []string{"1.2.3.4:8333", "[2001:db8::1]:8333", "host.example:1", "host.:65535", long + ":8333"} {
		for _, auth := range []*proxy.Auth{nil, {User: "u", Password: "p"}, {User: long, Password: long}} {
			for code, text := range words {
				synctest.Test(t, func(t *testing.T) { xnetDial(t, target, auth, code, text) })
			}
		}
	}
}

func xnetDial(t *testing.T, target string, auth *proxy.Auth, code ReplyCode, text string) {
	var req *Request
	outcome := make(chan error, 1)
	dialer, err := proxy.SOCKS5("tcp", "proxy:1", auth, pipeTo{func(conn net.Conn) {
		defer conn.Close()
		r := bufio.NewReader(conn)
		var err error
		if req, err = (Config{}).Negotiate(conn, r); err == nil {
			err = req.Reply(code)
		}
		if err == nil && code == Succeeded {
			_, err = io.CopyN(conn, r, 4)
		}
		outcome <- err
	}})
	if err != nil {
		t.Fatal(err)
	}
	conn, dialErr := dialer.Dial("tcp", target)
	if code == Succeeded {
		if dialErr != nil {
			t.Fatalf("%s: got %v", target, dialErr)
		}
		defer conn.Close()
		echo := make([]byte, 4)
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(conn, echo); err != nil || !bytes.Equal(echo, []byte("ping")) {
			t.Errorf("%s: echo %q, %v", target, echo, err)
		}
	} else if dialErr == nil || !strings.HasSuffix(dialErr.Error(), text) {
		t.Errorf("%s refused with %v: the client's error is %v", target, code, dialErr)
	}
	// This client closes at a nonzero REP; over a pipe the writer sees that.
	if err := <-outcome; err != nil && (code == Succeeded || !errors.Is(err, io.ErrClosedPipe)) {
		t.Fatalf("%s: got %v", target, err)
	}
	if req.Dest.String() != target {
		t.Errorf("destination %v, want %s", req.Dest, target)
	}
	got, want := &proxy.Auth{User: req.Credentials.Username, Password: req.Credentials.Password}, auth
	if want == nil {
		want = &proxy.Auth{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: credentials %q, want %q", target, got, want)
	}
}

// Cancelling a dial of the independent client ends the negotiation.
func TestXNetCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		outcome := make(chan error, 1)
		dialer, err := proxy.SOCKS5("tcp", "proxy:1", nil, pipeTo{func(conn net.Conn) {
			defer conn.Close()
			r := bufio.NewReader(conn)
			if _, err := (Config{}).Negotiate(conn, r); err != nil {
				outcome <- err
				return
			}
			cancel() // before an answer
			_, err := r.ReadByte()
			outcome <- err
		}})
		if err != nil {
			t.Fatal(err)
		}
		if conn, err := dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", "host:1"); err == nil {
			conn.Close()
			t.Error("the client connected without a reply")
		}
		if err := <-outcome; err != io.EOF {
			t.Errorf("server: %v, want EOF", err)
		}
	})
}
