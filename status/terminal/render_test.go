package terminal

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"bip324proxy/proxy"
	"bip324proxy/status"
)

// began is the start of everything in these tests, in local time, as shown.
var began = time.Date(2026, 9, 1, 12, 0, 0, 0, time.Local)

func at(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }

// report returns a report with a session of each kind, and with hostile texts.
func report() *status.Report {
	r := &status.Report{
		Snapshot: proxy.Snapshot{
			Time: at(11_530), Started: began, Listeners: []string{"127.0.0.1:1324", "[::1]:1324"},
			Sessions: []proxy.SessionInfo{
				{Number: 7, Began: at(30), State: proxy.StateOpen, Dest: "203.0.113.4:8333", Network: "mainnet", Transport: "v1", Fallback: "hung_up", PeerAgent: "/old:0.1/",
					Traffic: proxy.Traffic{MessagesToClient: 4, MessagesToPeer: 2}, LastToClient: "inv"},
				{Number: 1207, Began: at(11_525), State: proxy.StateDialing, Client: "127.0.0.1:5", Dest: "evil\x1b[2J.example:8333"},
				{Number: 1101, Began: at(7_000), State: proxy.StateOpen, Dest: "192.0.2.7:50001", Transport: "passthrough",
					Traffic: proxy.Traffic{BytesToPeer: 900, BytesToClient: 15_300}},
				{Number: 88, Began: at(500), State: proxy.StateOpen, Dest: strings.Repeat("a", 56) + ".onion:8333", Network: "mainnet", Transport: "v1", Overlay: true,
					Traffic: proxy.Traffic{MessagesToClient: 40, MessagesToPeer: 20, BytesToPeer: 9_940, BytesToClient: 1_234_567}},
				{Number: 3, Began: at(10), State: proxy.StateOpen, Dest: "[2001:db8::4]:8333", Network: "mainnet", Transport: "v2", PeerAgent: "/Satoshi:30.0.0(<b>\u202e\x07)/",
					Traffic: proxy.Traffic{MessagesToClient: 9000, MessagesToPeer: 812, BytesToPeer: 77_000, BytesToClient: 123_000_000_000}, LastToClient: "inv", LastToPeer: "pong"},
			},
			Counts: proxy.Counts{Refused: map[string]uint64{"dial": 30, "denied": 1}, Refusals: []proxy.Outcome{
				{Number: 1206, Time: at(11_500), Dest: "198.51.100.1:8333", Kind: "no_v2_answer", Reason: "the peer hung up during the v2 handshake without an answer", Hint: "it may speak v1 only, or be full"},
				{Number: 1205, Time: at(11_400), Client: "127.0.0.1:4", Kind: "client", Reason: "the client speaks HTTP\x1b]0;x\x07"},
			}},
		},
		Version: "1.2.3",
	}
	r.Live = status.Live{All: 12, V2: 8, V1: 2, V1Overlay: 1, Passthrough: 1, Pending: 1}
	return r
}

func wantLines(t *testing.T, got []string, want string) {
	t.Helper()
	if got := "\n" + strings.Join(got, "\n") + "\n"; got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

// The output for an absurd report is bounded by the report's size: not every cell gets the longest
// one's width.
func TestRenderLong(t *testing.T) {
	r := report()
	r.Sessions = append(make([]proxy.SessionInfo, 1000), proxy.SessionInfo{Dest: strings.Repeat("a", 10<<20), PeerAgent: strings.Repeat("b", 10<<20)})
	for _, line := range Render(r, Screen{}) {
		if len(line) > 1000 {
			t.Fatalf("a line of %d bytes", len(line))
		}
	}
}

// Without a size limit nothing is cut, and no control characters reach the terminal.
func TestRender(t *testing.T) {
	wantLines(t, Render(report(), Screen{}), `
Is my Bitcoin traffic encrypted?
PARTLY: 1 in plaintext (v1).
8 encrypted (v2), 1 plaintext (v1), 1 v1 within Tor or CJDNS, 1 passed through, 1 connecting, 31 failed
bip324-proxy 1.2.3 on 127.0.0.1:1324, [::1]:1324, up 3h12m, at 2026-09-01 15:12:10

The last connections that failed:
15:11:40  198.51.100.1:8333: the peer hung up during the v2 handshake without an answer
          -> it may speak v1 only, or be full
15:10:00  client 127.0.0.1:4: the client speaks HTTP?]0;x?

  NO    AGE  TRANSPORT     NETWORK  DESTINATION                                                              IN     OUT  MESSAGES  LAST      PEER
   7  3h11m  v1 PLAINTEXT  mainnet  203.0.113.4:8333                                                        0 B     0 B       4/2  inv/-     /old:0.1/
1207     5s  (dialing)              evil?[2J.example:8333                                                   0 B     0 B       0/0  -/-
1101  1h15m  passthrough            192.0.2.7:50001                                                       15 kB   900 B       0/0  -/-
  88   3h3m  v1 overlay    mainnet  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion:8333  1.2 MB  9.9 kB     40/20  -/-
   3  3h12m  v2            mainnet  [2001:db8::4]:8333                                                   123 GB   77 kB  9000/812  inv/pong  /Satoshi:30.0.0(<b>??)/
... and 7 more
`)
}

// In a small terminal the least important goes first, and plaintext sessions last.
func TestRenderSmall(t *testing.T) {
	wantLines(t, Render(report(), Screen{Width: 80})[13:19], `
  NO    AGE  TRANSPORT     NETWORK  DESTINATION             IN     OUT  MESSAGES
   7  3h11m  v1 PLAINTEXT  mainnet  203.0.113.4:8333       0 B     0 B       4/2
1207     5s  (dialing)              evil?[2J.example..     0 B     0 B       0/0
1101  1h15m  passthrough            192.0.2.7:50001      15 kB   900 B       0/0
  88   3h3m  v1 overlay    mainnet  aaaaaaaaaaaaaaaa..  1.2 MB  9.9 kB     40/20
   3  3h12m  v2            mainnet  [2001:db8::4]:8333  123 GB   77 kB  9000/812
`)
	wantLines(t, Render(report(), Screen{Width: 50, Height: 14}), `
Is my Bitcoin traffic encrypted?
PARTLY: 1 in plaintext (v1).
8 encrypted (v2), 1 plaintext (v1), 1 v1 within
Tor or CJDNS, 1 passed through, 1 connecting, 31
failed
bip324-proxy 1.2.3 on 127.0.0.1:1324, [::1]:1324,
up 3h12m, at 2026-09-01 15:12:10

The last connections that failed:
15:11:40  198.51.100.1:8333: the peer hung up

  NO    AGE  TRANSPORT     DESTINATION
   7  3h11m  v1 PLAINTEXT  203.0.113.4:8333
... and 11 more
`)
}

// Session ids are for comparing: whole in a terminal of any width, and left out where the
// height is limited.
func TestRenderSessionIDs(t *testing.T) {
	r := report()
	r.Sessions = r.Sessions[4:]
	r.Sessions[0].SessionID = strings.Repeat("0123456789abcdef", 4)
	want := "3  " + r.Sessions[0].SessionID + "  [2001:db8::4]:8333"
	for _, width := range []int{0, 1, 40, 80, 200} {
		lines := Render(r, Screen{Width: width})
		text := strings.Join(lines, " ")
		if !strings.Contains(text, "Session ids; if the peer") && width != 1 || !strings.HasSuffix(text, "middle: "+want) || lines[len(lines)-1] != want {
			t.Errorf("%d wide: %q", width, lines)
		}
	}
	if lines := Render(r, Screen{Width: 80, Height: 24}); strings.Contains(strings.Join(lines, " "), "Session ids") {
		t.Errorf("%q", lines)
	}
}

// In 80 columns and 24 lines there is room for failures and for plaintext sessions, however many
// sessions there are.
func TestRenderMany(t *testing.T) {
	r := report()
	for len(r.Sessions) < 1000 {
		r.Sessions = append(r.Sessions, r.Sessions[4])
	}
	r.Live.All = 4000
	lines := Render(r, Screen{Width: 80, Height: 24, Color: true})
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"\n\x1b[31mPARTLY: 1 in plaintext (v1).\x1b[0m\n", "\x1b[31m   7  3h11m  v1 PLAINTEXT  mainnet  203.0.113.4:8333",
		"\n15:11:40  198.51.100.1:8333: the peer hung up", "\n15:10:00  client 127.0.0.1:4",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("want %q in\n%s", want, all)
		}
	}
	if last := lines[len(lines)-1]; len(lines) != 24 || last != "... and 3991 more" {
		t.Errorf("%d lines, the last is %q", len(lines), last)
	}
}

// The lines and their number fit any size, and a transport is never cut.
func TestRenderFits(t *testing.T) {
	whole := []string{"TRANSPORT", "v1 PLAINTEXT", "(dialing)", "passthrough", "v1 overlay", "v2"}
	for width := 1; width < 200; width++ {
		for _, height := range []int{0, 1, 2, 5, 10, 11, 12, 20, 50} {
			lines := Render(report(), Screen{Width: width, Height: height})
			if height > 0 && len(lines) > height {
				t.Errorf("%dx%d: %d lines", width, height, len(lines))
			}
			for _, line := range lines {
				if utf8.RuneCountInString(line) > width || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("%dx%d: got %q", width, height, line)
				}
			}
			if height > 0 || width < len("v1 PLAINTEXT") {
				continue
			}
			all := strings.Join(lines, "\n")
			for _, transport := range whole {
				if !strings.Contains(all, transport) {
					t.Errorf("width %d: want %s in\n%s", width, transport, all)
				}
			}
		}
	}
}

func TestRenderQuiet(t *testing.T) {
	r := &status.Report{Snapshot: proxy.Snapshot{Time: at(1), Started: began, Stopping: true}}
	wantLines(t, Render(r, Screen{}), `
Is my Bitcoin traffic encrypted?
Nothing to say yet: no connections.
0 encrypted (v2), 0 plaintext (v1), 0 passed through, 0 failed
bip324-proxy shutting down, no new clients, up 1s, at 2026-09-01 12:00:01
`)
}

func TestAge(t *testing.T) {
	for seconds, want := range map[int]string{-1: "0s", 0: "0s", 59: "59s", 60: "1m0s", 3599: "59m59s", 3600: "1h0m", 86399: "23h59m", 86400: "1d0h", 8_640_000: "100d0h"} {
		if got := age(time.Duration(seconds) * time.Second); got != want {
			t.Errorf("%d s: got %s, want %s", seconds, got, want)
		}
	}
}

func TestAmount(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9_949: "9.9 kB", 9_950: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB", 1<<64 - 1: "18446744.1 TB"} {
		if got := amount(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

// Render does not change the report.
func TestRenderLeavesTheReport(t *testing.T) {
	r, same := report(), report()
	Render(r, Screen{Width: 80, Height: 24})
	if !slices.Equal(r.Sessions, same.Sessions) {
		t.Error("the order of the sessions changed")
	}
}

// The answer is the second line, uncut, in every terminal and without one.
func TestAnswer(t *testing.T) {
	dial := &proxy.Failing{Count: 12, Since: at(5), Kind: "dial", OfKind: 9, Dest: "192.0.2.1:8333", Reason: "no\x1b answer", Hint: "see the network"}
	down := &proxy.Upstream{State: "failed", Reason: "the upstream proxy 127.0.0.1:9050 cannot be reached: connection refused", Hint: "start Tor"}
	for _, c := range []struct {
		live     status.Live
		failing  *proxy.Failing
		upstream *proxy.Upstream
		answer   string
		more     string // somewhere in the lines below, ignoring line breaks
	}{
		{status.Live{}, nil, nil, "Nothing to say yet: no connections.", "0 encrypted (v2)"},
		{status.Live{}, nil, nil, "Nothing to say yet: no connections.", "No client has connected yet. -> set your client's SOCKS5 proxy to 127.0.0.1:1324 0 encrypted"},
		{status.Live{Pending: 3}, nil, nil, "Nothing to say yet: no connections.", "Clients connect, but no peer has answered yet. 0 encrypted (v2)"},
		{status.Live{}, dial, nil, "Nothing is sent: all attempts failed.", "12 failed since 12:00:05, most often (9): 192.0.2.1:8333: no? answer -> see the network"},
		{status.Live{}, dial, down, "Nothing is sent: the upstream is down.", "the upstream proxy 127.0.0.1:9050 cannot be reached: connection refused -> start Tor"},
		{status.Live{V2: 1}, nil, down, "Yes: 1 encrypted, none in plaintext.", "cannot be reached: connection refused -> start Tor"},
		{status.Live{V2: 999}, nil, nil, "Yes: 999 encrypted, none in plaintext.", "999 encrypted (v2)"},
		{status.Live{V1: 999}, nil, nil, "NO: 999 in plaintext (v1).", "999 plaintext (v1)"},
		{status.Live{V1: 1, V2: 1051}, nil, nil, "PARTLY: 1 in plaintext (v1).", "1051 encrypted (v2)"},
		{status.Live{Passthrough: 9, V2: 1}, nil, nil, "Partly: 9 passed through unchanged.",
			"the proxy does not look into it. -> compare session ids in getpeerinfo of both ends: the client's own v2 has one 1 encrypted"},
		{status.Live{Passthrough: 999}, nil, nil, "Unknown: 999 passed through.", "What passes through is the client's own v2 or another protocol"},
		{status.Live{Passthrough: 9, V1: 1, V2: 1}, nil, nil, "PARTLY: 1 in plaintext (v1).", "1 plaintext (v1)"},
	} {
		r := &status.Report{Snapshot: proxy.Snapshot{Time: at(60), Started: began, Counts: proxy.Counts{Failing: c.failing}, Upstream: c.upstream, Listeners: []string{"127.0.0.1:1324", "127.0.0.1:8433"}, SOCKS: []string{"127.0.0.1:1324"}}, Live: c.live}
		for _, width := range []int{40, 60, 80, 200, 0} {
			lines := Render(r, Screen{Width: width, Height: 24})
			if lines[0] != "Is my Bitcoin traffic encrypted?" || lines[1] != c.answer || !strings.Contains(strings.Join(strings.Fields(strings.Join(lines, " ")), " "), c.more) {
				t.Errorf("%d columns: want %q and %q, got\n%s", width, c.answer, c.more, strings.Join(lines, "\n"))
			}
		}
	}
}

// An upstream proxy of some destinations that is down is told beside the answer.
func TestRouteDown(t *testing.T) {
	r := &status.Report{Snapshot: proxy.Snapshot{Time: at(60), Started: began, Listeners: []string{"127.0.0.1:1324"}, SOCKS: []string{"127.0.0.1:1324"}, Routes: []proxy.Upstream{
		{To: "*.onion", State: "failed", Reason: "the upstream proxy 127.0.0.1:9050 cannot be reached: connection refused", Hint: "start Tor"},
		{To: "*.i2p", State: "reached"}}}, Live: status.Live{V2: 1}}
	for _, width := range []int{40, 80, 0} {
		text := strings.Join(strings.Fields(strings.Join(Render(r, Screen{Width: width, Height: 24}), " ")), " ")
		if !strings.Contains(text, "Yes: 1 encrypted, none in plaintext. Connections to *.onion fail: the upstream proxy 127.0.0.1:9050 cannot be reached: connection refused -> start Tor") || strings.Contains(text, "i2p") {
			t.Errorf("%d columns:\n%s", width, text)
		}
	}
}

// Without a connection, it says what to do next: which depends on whether clients connect, and how.
func TestFirstSteps(t *testing.T) {
	none := map[string]uint64{}
	for _, c := range []struct {
		listeners, socks []string
		refused          map[string]uint64
		want             string
	}{
		{[]string{"127.0.0.1:1324", "127.0.0.1:8433"}, []string{"127.0.0.1:1324"}, none, "No client has connected yet.\n-> set your client's SOCKS5 proxy to 127.0.0.1:1324"},
		{[]string{"/run/socks"}, []string{"unix:/run/socks"}, none, "No client has connected yet.\n-> set your client's SOCKS5 proxy to unix:/run/socks"},
		{[]string{"127.0.0.1:8433"}, nil, none, "No client has connected yet.\n-> connect your client to 127.0.0.1:8433 in place of the peer"},
		{[]string{"127.0.0.1:1324"}, []string{"127.0.0.1:1324"}, map[string]uint64{"client_left": 2}, "Clients connect, but no peer has answered yet."},
		{nil, nil, none, ""},
	} {
		r := &status.Report{Snapshot: proxy.Snapshot{Listeners: c.listeners, SOCKS: c.socks, Counts: proxy.Counts{Refused: c.refused}}}
		if got := strings.Join(trouble(r, 0), "\n"); got != c.want {
			t.Errorf("%v, %v, %v: got %q, want %q", c.listeners, c.socks, c.refused, got, c.want)
		}
	}
}

// A proxy that takes only redirected connections, such as that of run, names no address, since
// its listeners may be in another network namespace.
func TestOnlyRedirected(t *testing.T) {
	r := &status.Report{Snapshot: proxy.Snapshot{Listeners: []string{"127.0.0.1:1"}, Transparent: []string{"127.0.0.1:1"}}}
	if got := strings.Join(trouble(r, 0), "\n"); got != "No connection has been redirected to the proxy yet." {
		t.Errorf("first steps: got %q", got)
	}
	if got := about(r); !strings.HasPrefix(got, "bip324-proxy for redirected connections, up ") {
		t.Errorf("got %q", got)
	}
	r.Listeners = append(r.Listeners, "127.0.0.1:1324")
	if got := about(r); !strings.HasPrefix(got, "bip324-proxy on 127.0.0.1:1, 127.0.0.1:1324, up ") {
		t.Errorf("with another listener: got %q", got)
	}
}

// A client that uses the page as its proxy is named, with the address that it should use.
func TestMisdirected(t *testing.T) {
	r := &status.Report{Snapshot: proxy.Snapshot{Listeners: []string{"127.0.0.1:1324"}, SOCKS: []string{"127.0.0.1:1324"}},
		Misdirected: &status.Misdirected{Client: "127.0.0.1:59518"}}
	got := strings.Join(trouble(r, 0), "\n")
	if want := "a client (127.0.0.1:59518) uses this status page's address as its proxy\n-> set its SOCKS5 proxy to 127.0.0.1:1324\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Both directions are shown: inbound peers have an arrow and a line.
func TestRenderInbound(t *testing.T) {
	r := report()
	r.Sessions, r.Refusals = []proxy.SessionInfo{
		{Number: 9, Inbound: true, Began: at(11_000), State: proxy.StateOpen, Client: "127.0.0.1:8334", Dest: "203.0.113.9:50000", Network: "mainnet", Transport: "v2", PeerAgent: "/a:1/"},
	}, r.Refusals[:1]
	r.Live = status.Live{All: 1, V2: 1, Inbound: 1}
	for _, kind := range proxy.InboundRefusalKinds {
		if refusalWords[kind] == "" && kind != proxy.KindStopping && kind != proxy.KindOther {
			t.Errorf("the terminal has no words for %s", kind)
		}
	}
	down := proxy.Failing{Kind: proxy.KindNode, Reason: "cannot connect to the node at 127.0.0.1:8334: connection refused", Hint: "check that the node is running"}
	r.Inbound = &proxy.InboundSnapshot{
		Listeners: []proxy.InboundListener{{Address: "0.0.0.0:8333", Node: "127.0.0.1:8334"}}, MaxSessions: 125, Pending: 2,
		Counts: proxy.Counts{Opened: map[string]uint64{"v2": 40}, Refused: map[string]uint64{"scanner": 1000, "v1_refused": 3, "node": 2}, Failing: &down,
			Refusals: []proxy.Outcome{{Inbound: true, Count: 2, First: at(11_400), Time: at(11_510), Client: "127.0.0.1:8334", Dest: "203.0.113.8:50000", Kind: "node", Reason: down.Reason, Hint: down.Hint}}},
	}
	wantLines(t, Render(r, Screen{}), `
Is my Bitcoin traffic encrypted?
Yes: 1 encrypted, none in plaintext.
No peer can connect: cannot connect to the node at 127.0.0.1:8334: connection refused
-> check that the node is running
1 encrypted (v2), 0 plaintext (v1), 0 passed through, 33 failed
bip324-proxy 1.2.3 on 127.0.0.1:1324, [::1]:1324, up 3h12m, at 2026-09-01 15:12:10
inbound on 0.0.0.0:8333 -> node 127.0.0.1:8334: 1 of 125 sessions, 40 opened, 2 without VERSION yet; refused: 2 while the node was down, 3 without v2, 1000 from scanners

The last connections that failed:
15:11:50  <- 203.0.113.8:50000: cannot connect to the node at 127.0.0.1:8334: connection refused (2 times since 15:10:00)
          -> check that the node is running
15:11:40  198.51.100.1:8333: the peer hung up during the v2 handshake without an answer
          -> it may speak v1 only, or be full

NO    AGE  TRANSPORT  NETWORK  DESTINATION            IN  OUT  MESSAGES  LAST  PEER
 9  8m50s  v2         mainnet  <- 203.0.113.9:50000  0 B  0 B       0/0  -/-   /a:1/
`)
}
