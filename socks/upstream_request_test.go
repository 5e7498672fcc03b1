package socks

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask runs a request against a tape of an upstream proxy.
func ask(tp *tape, command Command, dest string, c Credentials) (netip.Addr, error) {
	q := &upstreamRequest{upstream: &Upstream{Address: "proxy:1"}, command: command, credentials: c}
	if command == CommandResolve {
		q.dest, _ = parseHost(dest)
	} else {
		q.dest, _ = ParseAddr(dest)
	}
	return q.send(context.Background(), tp)
}

// granted returns whole conversations with an upstream proxy. sent has one item per Write of the
// client.
func granted() map[string]struct {
	command Command
	dest    string
	pair    Credentials
	sent    []string
	answers string
	bound   string
} {
	long := strings.Repeat(long255, 17)
	none := Credentials{}
	const ok = "0500" + succeeded
	const okAuth = "0502 0100" + succeeded
	const connect, resolve = CommandConnect, CommandResolve
	return map[string]struct {
		command Command
		dest    string
		pair    Credentials
		sent    []string
		answers string
		bound   string
	}{
		"IPv4":   {connect, "1.2.3.4:8333", none, []string{"050100", "05010003 07'1.2.3.4' 208d"}, ok, "0.0.0.0"},
		"IPv6":   {connect, "[2001:db8::1]:8333", none, []string{"050100", "05010003 0b'2001:db8::1' 208d"}, ok, "0.0.0.0"},
		"mapped": {connect, "[::ffff:1.2.3.4]:8333", none, []string{"050100", "05010003 07'1.2.3.4' 208d"}, ok, "0.0.0.0"},
		"name":   {connect, "host:8333", none, []string{"050100", toHost}, ok, "0.0.0.0"},
		"onion": {connect, strings.Repeat("a", 56) + ".onion:8333", none,
			[]string{"050100", "05010003" + field(strings.Repeat("a", 56)+".onion") + "208d"}, ok, "0.0.0.0"},
		"name of 255": {connect, long + ":1", none, []string{"050100", "05010003" + field(long) + "0001"}, ok, "0.0.0.0"},
		"credentials": {connect, "host:8333", Credentials{"u", "p"},
			[]string{"050102", "01" + field("u") + field("p"), toHost}, okAuth, "0.0.0.0"},
		"user name alone": {connect, "host:8333", Credentials{"u", ""}, []string{"050102", "01" + field("u") + "00", toHost}, okAuth, "0.0.0.0"},
		"password alone":  {connect, "host:8333", Credentials{"", "p"}, []string{"050102", "01 00" + field("p"), toHost}, okAuth, "0.0.0.0"},
		"sizes 255": {connect, "host:8333", Credentials{long, long},
			[]string{"050102", "01" + field(long) + field(long), toHost}, okAuth, "0.0.0.0"},
		"bytes of any kind": {connect, "host:8333", Credentials{"\x00\xff\n", "\x05\x00"},
			[]string{"050102", "01 03 00ff0a 02 0500", toHost}, okAuth, "0.0.0.0"},
		"bound to IPv4":     {connect, "host:8333", none, []string{"050100", toHost}, "0500 05000001 01020304 ffff", "1.2.3.4"},
		"bound to IPv6":     {connect, "host:8333", none, []string{"050100", toHost}, "0500 05000004 20010db8000000000000000000000001 0001", "2001:db8::1"},
		"bound to a name":   {connect, "host:8333", none, []string{"050100", toHost}, "0500 05000003 05'other' 0001", ""},
		"bound to no name":  {connect, "host:8333", none, []string{"050100", toHost}, "0500 05000003 00 0001", ""},
		"bound to the rest": {connect, "host:8333", none, []string{"050100", toHost}, "0500 05000003" + field(long) + "0001", ""},
		"RESOLVE":           {resolve, "host", none, []string{"050100", "05f00003 04'host' 0000"}, "0500 05000001 01020304 0000", "1.2.3.4"},
		"RESOLVE to IPv6":   {resolve, "host", none, []string{"050100", "05f00003 04'host' 0000"}, "0500 05000004 20010db8000000000000000000000001 0000", "2001:db8::1"},
		"RESOLVE to mapped": {resolve, "host", none, []string{"050100", "05f00003 04'host' 0000"}, "0500 05000004 00000000000000000000ffff01020304 0000", "1.2.3.4"},
		"RESOLVE, isolated": {resolve, "host", Credentials{"u", "p"},
			[]string{"050102", "01" + field("u") + field("p"), "05f00003 04'host' 0000"}, "0502 0100 05000001 01020304 0000", "1.2.3.4"},
		"RESOLVE of IPv4": {resolve, "1.2.3.4", none, []string{"050100", "05f00003 07'1.2.3.4' 0000"}, "0500 05000001 01020304 0000", "1.2.3.4"},
		"RESOLVE of IPv6": {resolve, "2001:db8::1", none, []string{"050100", "05f00003 0b'2001:db8::1' 0000"},
			"0500 05000004 20010db8000000000000000000000001 0000", "2001:db8::1"},
	}
}

func TestUpstreamBytes(t *testing.T) {
	for name, tt := range granted() {
		for _, size := range []int{0, 1, 2, 3, 7} {
			tp := play(append(unhex(tt.answers), unhex(bitcoinV1)...), size)
			bound, err := ask(tp, tt.command, tt.dest, tt.pair)
			if want, _ := netip.ParseAddr(tt.bound); err != nil || bound != want {
				t.Errorf("%s, segments of %d: got %v, %v, want %s", name, size, bound, err, tt.bound)
			}
			checkWrites(t, tp.writes, tt.sent, true)
			if rest := bytes.Join(tp.segments, nil); !bytes.Equal(rest, unhex(bitcoinV1)) {
				t.Errorf("%s, segments of %d: left %x for the caller, want %s", name, size, rest, bitcoinV1)
			}
			if len(tp.deadlines) != 0 {
				t.Errorf("%s: deadlines %v", name, tp.deadlines)
			}
		}
	}
}

// Without credentials the mark is offered beside no authentication: a proxy that prefers
// credentials gets it, and if the proxy accepts neither, the error says so.
func TestUpstreamMark(t *testing.T) {
	mark := "01" + field("mark") + field("mark")
	for name, tt := range map[string]struct {
		up      Upstream
		client  Credentials
		answers string
		sent    []string
		err     error
	}{
		"taken":    {Upstream{Mark: Credentials{"mark", "mark"}}, Credentials{}, "0502 0100" + succeeded, []string{"05020200", mark, toHost}, nil},
		"left out": {Upstream{Mark: Credentials{"mark", "mark"}}, Credentials{}, "0500" + succeeded, []string{"05020200", toHost}, nil},
		"refused":  {Upstream{Mark: Credentials{"mark", "mark"}}, Credentials{}, "0502 0101", []string{"05020200", mark}, ErrCredentialsRequired},
		"neither":  {Upstream{Mark: Credentials{"mark", "mark"}}, Credentials{}, "05ff", []string{"05020200"}, ErrCredentialsRequired},
		"the client's go first": {Upstream{Mark: Credentials{"mark", "mark"}}, Credentials{"u", "p"}, "0502 0100" + succeeded,
			[]string{"050102", "01" + field("u") + field("p"), toHost}, nil},
		"the client's are not left out": {Upstream{Mark: Credentials{"mark", "mark"}}, Credentials{"u", "p"}, "05ff", []string{"050102"}, ErrCredentialsUnsupported},
		"the URL's go first": {Upstream{Mark: Credentials{"mark", "mark"}, Credentials: &Credentials{"u", "p"}}, Credentials{}, "0502 0101",
			[]string{"050102", "01" + field("u") + field("p")}, ErrCredentialsRejected},
	} {
		var got []string
		up := upstreamAt(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
			answers := unhex(tt.answers)
			b := make([]byte, 600)
			for len(got) < len(tt.sent) {
				n, err := io.ReadFull(conn, b[:len(unhex(tt.sent[len(got)]))])
				got = append(got, hex.EncodeToString(b[:n]))
				if err != nil {
					return
				}
				next := min(len(answers), 2)
				if len(got) == len(tt.sent) {
					next = len(answers)
				}
				conn.Write(answers[:next])
				answers = answers[next:]
			}
		})
		up.Mark, up.Credentials = tt.up.Mark, tt.up.Credentials
		conn, err := up.Dial(t.Context(), addr("host", 8333), tt.client)
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: got %v, want %v", name, err, tt.err)
		}
		if err == nil {
			conn.Close()
		}
		for i := range tt.sent {
			if i >= len(got) || got[i] != hex.EncodeToString(unhex(tt.sent[i])) {
				t.Errorf("%s: sent %v, want %v", name, got, tt.sent)
				break
			}
		}
	}
}

// An upstream proxy that closes after any byte does not count as having answered.
func TestUpstreamTruncated(t *testing.T) {
	for name, tt := range granted() {
		answers := unhex(tt.answers)
		for cut := range answers {
			tp := play(answers[:cut], 0)
			_, err := ask(tp, tt.command, tt.dest, tt.pair)
			var uerr *UpstreamError
			if !errors.As(err, &uerr) || uerr.Err != io.ErrUnexpectedEOF || uerr.Code != Succeeded {
				t.Errorf("%s cut at %d: got %v", name, cut, err)
			} else if uerr.Op != tt.command || uerr.Dest != tt.dest && tt.command == CommandResolve || CodeOf(err) != GeneralFailure {
				t.Errorf("%s cut at %d: %v (%v %q), reply to the client %v", name, cut, err, uerr.Op, uerr.Dest, CodeOf(err))
			}
		}
	}
}

func TestUpstreamGarbage(t *testing.T) {
	pair := Credentials{"user", "pass"}
	for name, tt := range map[string]struct {
		pair    Credentials
		answers string
		stage   Stage
		text    string
	}{
		"SOCKS4":             {Credentials{}, "045a", StageGreeting, "does not speak SOCKS5"},
		"HTTP":               {Credentials{}, "'HTTP/1.1 400'", StageGreeting, "first byte is 0x48"},
		"wants credentials":  {Credentials{}, "05ff", StageGreeting, "requires a user name and password"},
		"insists on them":    {Credentials{}, "0502", StageGreeting, "0x02, which it was not offered"},
		"GSSAPI":             {Credentials{}, "0501", StageGreeting, "0x01, which it was not offered"},
		"takes none":         {pair, "05ff", StageGreeting, "does not support a user name and password"},
		"leaves them out":    {pair, "0500 0100", StageGreeting, "0x00, which it was not offered"},
		"refuses them":       {pair, "0502 0101", StageAuth, "refused the user name and password"},
		"refuses them with":  {pair, "0502 01ff", StageAuth, "refused the user name and password"},
		"auth version 5":     {pair, "0502 0500", StageAuth, "0x05"},
		"reply of 4":         {Credentials{}, "0500 0400", StageRequest, "0x04"},
		"RSV":                {Credentials{}, "0500 05000101 00000000 0000", StageRequest, "the reserved byte of its reply is 0x01"},
		"address type 0":     {Credentials{}, "0500 05000000 00000000 0000", StageRequest, "unknown address type 0x00"},
		"address type 2":     {Credentials{}, "0500 05000002 00000000 0000", StageRequest, "unknown address type 0x02"},
		"method reply twice": {Credentials{}, "0500 0500 05000001 00000000 0000", StageRequest, "the reserved byte of its reply is 0x05"},
	} {
		_, err := ask(play(unhex(tt.answers), 0), CommandConnect, "host:8333", tt.pair)
		var uerr *UpstreamError
		if !errors.As(err, &uerr) || uerr.Stage != tt.stage || uerr.Code != Succeeded || uerr.Err == nil {
			t.Errorf("%s: %#v, want stage %s", name, err, tt.stage)
			continue
		}
		if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "proxy:1") || strings.Contains(err.Error(), "pass:") {
			t.Errorf("%s: error %q, want %q in it", name, err, tt.text)
		}
		if got := CodeOf(err); got != GeneralFailure {
			t.Errorf("%s: reply to the client %v", name, got)
		}
	}
	_, err := ask(play(unhex("0500 05000003 05'other' 0000"), 0), CommandResolve, "host", Credentials{})
	if err == nil || !strings.Contains(err.Error(), "with a name") {
		t.Errorf("RESOLVE answered with a name: %v", err)
	}
	tp := play(unhex("0502 0100"), 0)
	if _, err := ask(tp, CommandConnect, "host:8333", Credentials{strings.Repeat("x", 256), ""}); err == nil || len(tp.writes) != 1 {
		t.Errorf("user name of 256 bytes: %v, sent %x", err, tp.writes)
	}
}

// The upstream proxy's codes, and the code that the client gets.
func TestUpstreamCodes(t *testing.T) {
	want := map[int]ReplyCode{0xF0: 4, 0xF1: 4, 0xF2: 4, 0xF3: 4, 0xF4: 1, 0xF5: 1, 0xF6: 4, 0xF7: 4}
	for code := 1; code <= 8; code++ {
		want[code] = ReplyCode(code)
	}
	for code := 1; code < 256; code++ {
		// Tor refuses RESOLVE with address type 0; others send only two bytes.
		for _, rest := range []string{"00 01 00000000 0000", "00 00 00000000 0000", ""} {
			tp := play(append([]byte{5, 0, 5, byte(code)}, unhex(rest)...), 0)
			_, err := ask(tp, CommandConnect, "host:8333", Credentials{})
			var uerr *UpstreamError
			if !errors.As(err, &uerr) || uerr.Code != ReplyCode(code) || uerr.Err != nil || uerr.Dest != "host:8333" {
				t.Fatalf("code %d, rest %q: got %#v", code, rest, err)
			}
			wantReply := want[code]
			if wantReply == 0 {
				wantReply = GeneralFailure
			}
			if got := CodeOf(err); got != wantReply {
				t.Errorf("code %#x: reply to the client %v, want %v", code, got, wantReply)
			}
			if !strings.Contains(err.Error(), ReplyCode(code).String()) {
				t.Errorf("code %#x: error %q", code, err)
			}
		}
	}
	// The texts of the codes are those of Tor's proposal.
	for code, text := range map[byte]string{0xF0: "descriptor not found", 0xF1: "descriptor invalid", 0xF2: "introduction", 0xF3: "rendezvous",
		0xF4: "requires client authorization", 0xF5: "rejects the client authorization", 0xF6: "address invalid", 0xF7: "timed out"} {
		_, err := ask(play([]byte{5, 0, 5, code}, 0), CommandConnect, "host:8333", Credentials{})
		if err == nil || !strings.Contains(err.Error(), "Tor: ") || !strings.Contains(err.Error(), text) {
			t.Errorf("code %#x: error %v, want %q in it", code, err, text)
		}
	}
}

// A context ends the conversation at any point, and leaves nothing running.
func TestUpstreamContext(t *testing.T) {
	const limit = 7 * time.Second
	answers := unhex("0502 0100" + succeeded)
	for cut := range answers {
		for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				if cause == context.DeadlineExceeded {
					ctx, cancel = context.WithTimeout(t.Context(), limit)
				}
				defer cancel()
				client, server := net.Pipe()
				defer client.Close()
				defer server.Close()
				go io.Copy(io.Discard, server)
				go func() {
					server.Write(answers[:cut])
					if cause == context.Canceled {
						cancel()
					}
				}()
				start := time.Now()
				q := &upstreamRequest{upstream: &Upstream{}, command: CommandConnect, dest: addr("host", 1), credentials: Credentials{"u", "p"}}
				_, err := q.send(ctx, client)
				var uerr *UpstreamError
				if !errors.Is(err, cause) || !errors.As(err, &uerr) {
					t.Fatalf("%d bytes answered: got %v, want %v", cut, err, cause)
				}
				wantReply, took := GeneralFailure, time.Duration(0)
				if cause == context.DeadlineExceeded {
					took = limit
					if uerr.Stage == StageRequest {
						wantReply = TTLExpired // the proxy was working on the request
					}
				}
				if got := CodeOf(err); got != wantReply || time.Since(start) != took {
					t.Errorf("%d bytes answered: reply to the client %v after %v, want %v after %v", cut, got, time.Since(start), wantReply, took)
				}
			})
		}
	}
}

// A proxy that reads nothing is not waited for beyond the context either, and a context that has
// already ended is noticed.
func TestUpstreamContextWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		for range 2 {
			q := &upstreamRequest{upstream: &Upstream{}, command: CommandConnect, dest: addr("host", 1)}
			if _, err := q.send(ctx, client); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
	})
}
