package socks

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// tape is a client that does not wait: it plays segments, one per Read, then end, and records
// writes. Methods of net.Conn that it lacks panic.
type tape struct {
	net.Conn
	segments  [][]byte
	end       error
	auth      *Credentials // that the proxy is configured with
	writes    [][]byte
	deadlines []time.Time
}

// play returns a tape of input cut into segments of size bytes (0: all in one).
func play(input []byte, size int) *tape {
	tp := &tape{end: io.EOF}
	for size > 0 && len(input) > size {
		tp.segments = append(tp.segments, input[:size])
		input = input[size:]
	}
	if len(input) > 0 {
		tp.segments = append(tp.segments, input)
	}
	return tp
}

func (tp *tape) Read(p []byte) (int, error) {
	if len(tp.segments) == 0 {
		return 0, tp.end
	}
	n := copy(p, tp.segments[0])
	if tp.segments[0] = tp.segments[0][n:]; len(tp.segments[0]) == 0 {
		tp.segments = tp.segments[1:]
	}
	return n, nil
}

func (tp *tape) Write(p []byte) (int, error) {
	tp.writes = append(tp.writes, bytes.Clone(p))
	return len(p), nil
}

func (tp *tape) SetDeadline(t time.Time) error {
	tp.deadlines = append(tp.deadlines, t)
	return nil
}

// negotiate runs a tape and also returns the rest, which is left for the caller. The buffer has
// bufio's smallest size.
func negotiate(tp *tape) (req *Request, rest []byte, err error) {
	r := bufio.NewReaderSize(tp, 16)
	req, err = Config{Auth: tp.auth}.Negotiate(tp, r)
	rest, _ = io.ReadAll(r)
	return req, rest, err
}

// unhex decodes "05 01 00" and, between quotes, text: "03 'host' 0001".
func unhex(s string) []byte {
	var out []byte
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			panic(err)
		}
		out = append(out, b...)
	}
	return out
}

// field returns b behind its length, as in RFC 1929 and in names.
func field(b string) string { return hex.EncodeToString([]byte{byte(len(b))}) + "'" + b + "'" }

func addr(host string, port uint16) Addr {
	ip, _ := netip.ParseAddr(host)
	return Addr{Host: host, IP: ip, Port: port}
}

func asBinary(a Addr) Addr {
	a.Binary = true
	return a
}

const (
	noAuth    = "05 01 00"
	toHost    = "05 01 00 03 04'host'208d"
	hostName  = "host"
	succeeded = "0500 0001 00000000 0000"
	refused1  = "0501 0001 00000000 0000"
	refused7  = "0507 0001 00000000 0000"
	refused8  = "0508 0001 00000000 0000"
	long255   = "0123456789abcde"
	wantPort  = 0x208d // 8333
	bitcoinV1 = "f9beb4d9'version'0000000000"
)

// valid returns conversations that end in a request; writes has one item per Write to a client that
// waits for each answer.
func valid() map[string]struct {
	in     string
	writes []string
	want   Request
} {
	name255 := strings.Repeat(long255, 17)
	all256 := ""
	for m := range 255 {
		all256 += hex.EncodeToString([]byte{byte(m)})
	}
	connect := func(a Addr, user, password string) Request {
		return Request{Command: CommandConnect, Dest: a, Credentials: Credentials{user, password}}
	}
	resolve := func(host string, port uint16) Request {
		return Request{Command: CommandResolve, Dest: addr(host, port)}
	}
	toA := addr(hostName, wantPort)
	none, userPass := []string{"0500"}, []string{"0502", "0100"}
	return map[string]struct {
		in     string
		writes []string
		want   Request
	}{
		"IPv4":             {noAuth + "05 01 00 01 01020304 208d", none, connect(asBinary(addr("1.2.3.4", wantPort)), "", "")},
		"IPv6":             {noAuth + "05 01 00 04 20010db8000000000000000000000001 208d", none, connect(asBinary(addr("2001:db8::1", wantPort)), "", "")},
		"IPv4-mapped":      {noAuth + "05 01 00 04 00000000000000000000ffff01020304 208d", none, connect(asBinary(addr("1.2.3.4", wantPort)), "", "")},
		"name":             {noAuth + toHost, none, connect(toA, "", "")},
		"IPv4 as name":     {noAuth + "05010003" + field("1.2.3.4") + "208d", none, connect(addr("1.2.3.4", wantPort), "", "")},
		"IPv6 as name":     {noAuth + "05010003" + field("2001:0DB8:0::1") + "208d", none, connect(addr("2001:db8::1", wantPort), "", "")},
		"[IPv6] as name":   {noAuth + "05010003" + field("[2001:db8::1]") + "208d", none, connect(addr("2001:db8::1", wantPort), "", "")},
		"zone":             {noAuth + "05010003" + field("FE80::1%Eth0") + "208d", none, connect(addr("fe80::1%Eth0", wantPort), "", "")},
		"[zone]":           {noAuth + "05010003" + field("[fe80::1%2]") + "208d", none, connect(addr("fe80::1%2", wantPort), "", "")},
		"mapped as name":   {noAuth + "05010003" + field("::ffff:1.2.3.4") + "208d", none, connect(addr("1.2.3.4", wantPort), "", "")},
		"name of 1 byte":   {noAuth + "05010003" + field("a") + "0001", none, connect(addr("a", 1), "", "")},
		"name of 255":      {noAuth + "05010003" + field(name255) + "ffff", none, connect(addr(name255, 65535), "", "")},
		"trailing dot":     {noAuth + "05010003" + field("Host.example.") + "208d", none, connect(addr("Host.example.", wantPort), "", "")},
		"odd but harmless": {noAuth + "05010003" + field("_xn--a-9_.onion") + "208d", none, connect(addr("_xn--a-9_.onion", wantPort), "", "")},
		"RSV not 0":        {noAuth + "05 01 ff 03 04'host'208d", none, connect(toA, "", "")},
		"255 methods":      {"05ff" + all256 + "01" + field("u") + field("p") + toHost, userPass, connect(toA, "u", "p")},
		"repeated methods": {"05 04 00000000" + toHost, none, connect(toA, "", "")},
		"2 preferred":      {"05 02 0002 01" + field("u") + field("p") + toHost, userPass, connect(toA, "u", "p")},
		"2 alone":          {"05 01 02 01" + field("user") + field("pass word") + toHost, userPass, connect(toA, "user", "pass word")},
		"sizes 0":          {"05 01 02 01 00 00" + toHost, userPass, connect(toA, "", "")},
		"sizes 1 and 0":    {"05 01 02 01" + field("u") + "00" + toHost, userPass, connect(toA, "u", "")},
		"sizes 255":        {"05 01 02 01" + field(name255) + field(name255) + toHost, userPass, connect(toA, name255, name255)},
		"bytes of any kind": {"05 01 02 01 03 00ff0a 02 0500" + toHost, userPass,
			connect(toA, "\x00\xff\n", "\x05\x00")},
		"RESOLVE name":      {noAuth + "05f00003 04'host' 0000", none, resolve(hostName, 0)},
		"RESOLVE with port": {noAuth + "05f00003 04'host' 208d", none, resolve(hostName, wantPort)},
		"RESOLVE literal":   {noAuth + "05f00003" + field("0.0.0.0") + "0000", none, resolve("0.0.0.0", 0)},
		"RESOLVE IPv4":      {noAuth + "05f00001 01020304 0000", none, Request{Command: CommandResolve, Dest: asBinary(addr("1.2.3.4", 0))}},
		"RESOLVE IPv6":      {noAuth + "05f00004 20010db8000000000000000000000001 0000", none, Request{Command: CommandResolve, Dest: asBinary(addr("2001:db8::1", 0))}},
		"RESOLVE, isolated": {"050102 01" + field("u") + field("p") + "05f00003 04'host' 0000", userPass,
			Request{Command: CommandResolve, Dest: addr(hostName, 0), Credentials: Credentials{"u", "p"}}},
		"auth unasked": {noAuth + "01" + field("u") + field("p") + toHost, []string{"0500", "0100"}, connect(toA, "u", "p")},
	}
}

func TestValid(t *testing.T) {
	for name, tt := range valid() {
		t.Run(name, func(t *testing.T) {
			in := unhex(tt.in)
			for _, size := range []int{0, 1, 2, 3, 7} {
				tp := play(append(bytes.Clone(in), unhex(bitcoinV1)...), size)
				req, rest, err := negotiate(tp)
				if err != nil {
					t.Fatalf("segments of %d: %v", size, err)
				}
				if req.Command != tt.want.Command || req.Dest != tt.want.Dest || req.Credentials != tt.want.Credentials {
					t.Errorf("segments of %d: request %v (%q), want %v", size, req, req.Credentials.Username, tt.want)
				}
				if !bytes.Equal(rest, unhex(bitcoinV1)) {
					t.Errorf("segments of %d: left %x for the caller, want %s", size, rest, bitcoinV1)
				}
				if n := len(tp.deadlines); n != 2 || tp.deadlines[0].IsZero() || !tp.deadlines[1].IsZero() {
					t.Errorf("deadlines %v, want one set and cleared", tp.deadlines)
				}
				if err := req.Reply(Succeeded); err != nil {
					t.Error(err)
				}
				checkWrites(t, tp.writes, append(slices.Clone(tt.writes), succeeded), size == 1)
			}
		})
	}
}

// A client that leaves after any byte ends the negotiation there.
func TestTruncated(t *testing.T) {
	for name, tt := range valid() {
		in := unhex(tt.in)
		for cut := range in {
			tp := play(in[:cut], 0)
			req, _, err := negotiate(tp)
			var nerr *NegotiationError
			if req != nil || !errors.As(err, &nerr) {
				t.Fatalf("%s cut at %d: request %v, error %v", name, cut, req, err)
			}
			want := io.ErrUnexpectedEOF
			if cut == 0 {
				want = io.EOF
			}
			if nerr.Err != want || nerr.Reply != Succeeded {
				t.Errorf("%s cut at %d: error %#v, want %v and no reply", name, cut, nerr, want)
			}
			written := bytes.Join(tp.writes, nil)
			if !bytes.HasPrefix(unhex(strings.Join(tt.writes, "")), written) {
				t.Errorf("%s cut at %d: %x written, want part of %s", name, cut, written, tt.writes)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	tests := map[string]struct {
		in     string
		writes []string
		stage  Stage
		reply  ReplyCode
		text   string // part of the error
	}{
		"no methods":      {"0500", []string{"05ff"}, StageAuth, 0, "offers only the authentication methods []"},
		"GSSAPI only":     {"05 02 01 03", []string{"05ff"}, StageAuth, 0, "[01 03]"},
		"SOCKS4":          {"04 01 208d 01020304 00", nil, StageGreeting, 0, "SOCKS4: set the client to SOCKS5"},
		"HTTP GET":        {"'GET / HTTP/1.1'0d0a", nil, StageGreeting, 0, "this is a SOCKS5 proxy, not an HTTP proxy"},
		"HTTP CONNECT":    {"'CONNECT a:1 HTTP/1.1'0d0a", nil, StageGreeting, 0, "not an HTTP proxy"},
		"HTTP POST":       {"'P'", nil, StageGreeting, 0, "not an HTTP proxy"},
		"HTTP HEAD":       {"'H'", nil, StageGreeting, 0, "not an HTTP proxy"},
		"HTTP DELETE":     {"'D'", nil, StageGreeting, 0, "not an HTTP proxy"},
		"HTTP OPTIONS":    {"'O'", nil, StageGreeting, 0, "not an HTTP proxy"},
		"TLS":             {"16 03 01 0200 01", nil, StageGreeting, 0, "TLS"},
		"Bitcoin":         {bitcoinV1, nil, StageGreeting, 0, "first byte is 0xf9"},
		"auth first":      {"01" + field("u") + field("p"), nil, StageGreeting, 0, "first byte is 0x01"},
		"auth skipped":    {"05 02 0002" + toHost, []string{"0502", "0101"}, StageAuth, 0, "did not send them"},
		"auth version 5":  {"05 01 02 05" + field("u") + field("p"), []string{"0502", "0101"}, StageAuth, 0, "did not send them"},
		"auth twice":      {noAuth + "010000 010000", []string{"0500", "0100", refused1}, StageRequest, GeneralFailure, "0x01"},
		"request of 4":    {noAuth + "04", []string{"0500", refused1}, StageRequest, GeneralFailure, "is 0x04, not 0x05"},
		"BIND":            {noAuth + "05 02 00 01 00000000 0000", []string{"0500", refused7}, StageRequest, CommandNotSupported, "BIND"},
		"UDP ASSOCIATE":   {noAuth + "05 03 00 01 00000000 0000", []string{"0500", refused7}, StageRequest, CommandNotSupported, "UDP ASSOCIATE"},
		"RESOLVE nothing": {noAuth + "05 f0 00 03 00 0000", []string{"0500", refused1}, StageRequest, GeneralFailure, `""`},
		"RESOLVE_PTR":     {noAuth + "05 f1 00 01 01020304 0000", []string{"0500", refused7}, StageRequest, CommandNotSupported, "RESOLVE_PTR"},
		"command 0":       {noAuth + "05 00 00 03 04'host'208d", []string{"0500", refused7}, StageRequest, CommandNotSupported, "0x00"},
		"address type 0":  {noAuth + "05 01 00 00", []string{"0500", refused8}, StageRequest, AddressTypeNotSupported, "0x00"},
		"address type 2":  {noAuth + "05 01 00 02 01020304 208d", []string{"0500", refused8}, StageRequest, AddressTypeNotSupported, "0x02"},
		"address type ff": {noAuth + "05 01 00 ff", []string{"0500", refused8}, StageRequest, AddressTypeNotSupported, "0xff"},
		"port 0":          {noAuth + "05 01 00 03 04'host'0000", []string{"0500", refused1}, StageRequest, GeneralFailure, "port 0 of host"},
		"name of 0 bytes": {noAuth + "05 01 00 03 00 208d", []string{"0500", refused1}, StageRequest, GeneralFailure, `""`},
	}
	for _, bad := range []string{"a\x00b", "a b", "a\nb", "a\x7fb", "a\x80", "h\xc3\xb4te", "a:1", "1.2.3.4:8333", ":",
		"[1.2.3.4]", "[localhost]", "[]", "[", "]", "[::1", "::1]", "[[::1]]", "2001:db8::1%eth0", "[::1%eth0]", "::ffff:169.254.1.1%eth0", "fe80::1%", "fe80::1%a b", "fe80::1%a%b", "ff02::1%eth0", "::g", "127.0.0.1%lo", "node.example%eth0", "%", "a%", `node.exampl\101`, `\`} {
		in := noAuth + "05010003" + hex.EncodeToString([]byte{byte(len(bad))}) + hex.EncodeToString([]byte(bad)) + "208d"
		tests["name "+bad] = struct {
			in     string
			writes []string
			stage  Stage
			reply  ReplyCode
			text   string
		}{in, []string{"0500", refused1}, StageRequest, GeneralFailure, "neither a name nor an address"}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 1} {
				tp := play(unhex(tt.in), size)
				req, _, err := negotiate(tp)
				var nerr *NegotiationError
				if req != nil || !errors.As(err, &nerr) {
					t.Fatalf("request %v, error %v", req, err)
				}
				checkWrites(t, tp.writes, tt.writes, size == 1)
				if nerr.Stage != tt.stage || nerr.Reply != tt.reply {
					t.Errorf("stage %s, reply %v; want %s, %v", nerr.Stage, nerr.Reply, tt.stage, tt.reply)
				}
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %q, want %q in it", err, tt.text)
				}
				if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("error %q has unprintable characters", err)
				}
			}
		})
	}
}

// The whole request is read before a refusal, so that closing does not reset the connection and
// lose the reply.
func TestRefusalConsumesRequest(t *testing.T) {
	for _, in := range []string{"05 02 00 01 01020304 208d", "05 f1 00 03 04'host'0000", "05 01 00 03 03'a b'208d"} {
		_, rest, err := negotiate(play(unhex(noAuth+in+"'rest'"), 0))
		if err == nil || string(rest) != "rest" {
			t.Errorf("%s: error %v, left %q", in, err, rest)
		}
	}
}

// The largest conversation allocates little more than its size.
func TestNegotiationMemory(t *testing.T) {
	const runs, limit = 100, 4096
	in := unhex(valid()["sizes 255"].in)
	var r bufio.Reader
	r.Reset(play(in, 0)) // allocates its buffer
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		tp := play(in, 0)
		r.Reset(tp)
		if _, err := (Config{}).Negotiate(tp, &r); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > limit {
		t.Errorf("%d bytes for one negotiation, want at most %d", each, limit)
	} else {
		t.Logf("%d bytes for one negotiation", each)
	}
}

// checkWrites compares the bytes written and, if each is set, their division into writes.
func checkWrites(t *testing.T, got [][]byte, want []string, each bool) {
	t.Helper()
	ok := bytes.Equal(bytes.Join(got, nil), unhex(strings.Join(want, "")))
	for i := 0; each && ok && i < len(want); i++ {
		ok = len(got) == len(want) && bytes.Equal(got[i], unhex(want[i]))
	}
	if !ok {
		t.Errorf("writes %x, want %s", got, want)
	}
}
