package socks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/errno"
)

// SetWriteDeadline makes tape usable for Reply.
func (tp *tape) SetWriteDeadline(t time.Time) error { return tp.SetDeadline(t) }

func TestReply(t *testing.T) {
	for code := range 256 {
		tp := &tape{}
		if err := (&Request{conn: tp}).Reply(ReplyCode(code)); err != nil {
			t.Fatal(err)
		}
		want := []byte{5, byte(code), 0, 1, 0, 0, 0, 0, 0, 0}
		if len(tp.writes) != 1 || !bytes.Equal(tp.writes[0], want) {
			t.Errorf("writes %x, want %x in one", tp.writes, want)
		}
		cleared := len(tp.deadlines) == 2 && tp.deadlines[1].IsZero()
		if len(tp.deadlines) == 0 || tp.deadlines[0].IsZero() || cleared != (code == 0) {
			t.Errorf("code %d: deadlines %v, want one set, and cleared after success", code, tp.deadlines)
		}
	}
}

func TestReplyAddr(t *testing.T) {
	for ip, want := range map[string]string{
		"0.0.0.0":        "0500 0001 00000000 0000",
		"1.2.3.4":        "0500 0001 01020304 0000",
		"::ffff:1.2.3.4": "0500 0001 01020304 0000",
		"2001:db8::1":    "0500 0004 20010db8000000000000000000000001 0000",
		"fe80::1%eth0":   "0500 0004 fe800000000000000000000000000001 0000",
	} {
		tp := &tape{}
		if err := (&Request{conn: tp}).ReplyAddr(netip.MustParseAddr(ip)); err != nil {
			t.Error(err)
		}
		checkWrites(t, tp.writes, []string{want}, true)
		if len(tp.deadlines) != 1 || tp.deadlines[0].IsZero() {
			t.Errorf("%s: deadlines %v, want one set", ip, tp.deadlines)
		}
	}
	tp := &tape{}
	if err := (&Request{conn: tp}).ReplyAddr(netip.Addr{}); err == nil || len(tp.writes) != 0 {
		t.Errorf("no address: error %v, wrote %x", err, tp.writes)
	}
}

func TestStrings(t *testing.T) {
	seen := map[string]bool{}
	for b := range 256 {
		for _, s := range []string{ReplyCode(b).String(), Command(b).String()} {
			if s == "" || seen[s] {
				t.Errorf("%#02x: text %q is empty or a duplicate", b, s)
			}
			seen[s] = true
		}
	}
	for _, tt := range []struct {
		addr Addr
		want string
	}{
		{addr("1.2.3.4", 1), "1.2.3.4:1"},
		{addr("2001:db8::1", 8333), "[2001:db8::1]:8333"},
		{addr("host.", 65535), "host.:65535"},
	} {
		if got := tt.addr.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// Errors of real dials.
func TestCodeOfRealErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	// The pure Go resolver rejects an impossible name without a query.
	offline := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no DNS in this test")
	}}
	silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done() // so that only the context ends the lookup
		return nil, ctx.Err()
	}}
	for _, tt := range []struct {
		name   string
		dialer net.Dialer
		ctx    context.Context
		addr   string
		want   ReplyCode
	}{
		{"closed port", net.Dialer{}, t.Context(), closed, ConnectionRefused},
		{"cancelled", net.Dialer{}, cancelled, closed, GeneralFailure},
		{"expired context", net.Dialer{}, expired, closed, TTLExpired},
		{"expired dialer", net.Dialer{Deadline: time.Unix(0, 0)}, t.Context(), closed, TTLExpired},
		{"impossible name", net.Dialer{Resolver: offline}, t.Context(), "a..b:1", HostUnreachable},
		{"name server down", net.Dialer{Resolver: offline}, t.Context(), "host.invalid:1", HostUnreachable},
		{"cancelled lookup", net.Dialer{Resolver: silent}, cancelled, "host.invalid:1", GeneralFailure},
	} {
		conn, err := tt.dialer.DialContext(tt.ctx, "tcp", tt.addr)
		if err == nil {
			conn.Close()
			t.Errorf("%s: connected", tt.name)
			continue
		}
		if got := CodeOf(err); got != tt.want {
			t.Errorf("%s: got %v for %v, want %v", tt.name, got, err, tt.want)
		}
		if got := CodeOf(fmt.Errorf("dial: %w", errors.Join(err, errors.New("more")))); got != tt.want {
			t.Errorf("%s, wrapped: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestCodeOf(t *testing.T) {
	op := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	dns := func(e net.DNSError) error { return &net.OpError{Op: "dial", Net: "tcp", Err: &e} }
	for _, tt := range []struct {
		err  error
		want ReplyCode
	}{
		{nil, Succeeded},
		{op(errno.ECONNREFUSED), ConnectionRefused},
		{op(errno.EHOSTUNREACH), HostUnreachable},
		{op(errno.EHOSTDOWN), HostUnreachable},
		{op(errno.ENETUNREACH), NetworkUnreachable},
		{op(errno.ENETDOWN), NetworkUnreachable},
		{op(errno.ETIMEDOUT), TTLExpired},
		{op(syscall.EINVAL), GeneralFailure},
		{fmt.Errorf("peer: %w", op(errno.ENETUNREACH)), NetworkUnreachable},
		{dns(net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}), HostUnreachable},
		{dns(net.DNSError{Err: "server misbehaving", Name: "h", IsTemporary: true}), HostUnreachable},
		{dns(net.DNSError{Err: "i/o timeout", Name: "h", IsTimeout: true}), HostUnreachable},
		{&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}, HostUnreachable},
		{os.ErrDeadlineExceeded, TTLExpired},
		{context.DeadlineExceeded, TTLExpired},
		{context.Canceled, GeneralFailure},
		{net.ErrClosed, GeneralFailure},
		{errors.New("connection refused: network is unreachable, no such host, timeout"), GeneralFailure},
	} {
		if got := CodeOf(tt.err); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
	}
}
