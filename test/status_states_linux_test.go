package test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	product "bip324proxy/proxy"
	"bip324proxy/status"
)

// madeStatus serves the status page of a proxy in a state that the test chooses.
type madeStatus struct {
	addr string
	now  atomic.Pointer[product.Snapshot]
	stop func()
}

func serveMadeStatus(t *testing.T) *madeStatus {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	made := &madeStatus{addr: l.Addr().String()}
	made.now.Store(madeSnapshot())
	server := &status.Server{
		Version:  "v0.1.0",
		Snapshot: func() product.Snapshot { return *made.now.Load() },
		Settings: func() []status.Setting {
			return []status.Setting{
				{Name: "listen", Value: []string{"127.0.0.1:1324", "[::1]:1324"}, Origin: "default"},
				{Name: "v1-fallback", Value: "always", Origin: "/etc/bip324-proxy/a-directory-with-a-long-name/config.toml:17"},
				{Name: "deny", Value: []string{"*.example", "2001:db8::/32", "192.0.2.0/24"}, Origin: "flag"},
				{Name: "upstream", Value: "", Origin: "default"},
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, l) }()
	made.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(made.stop)
	return made
}

var madeTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// madeSnapshot returns a snapshot without sessions.
func madeSnapshot(sessions ...product.SessionInfo) *product.Snapshot {
	s := &product.Snapshot{
		Time: madeTime, Started: madeTime.Add(-50 * time.Hour), Listeners: []string{"127.0.0.1:1324", "[::1]:1324"}, SOCKS: []string{"127.0.0.1:1324", "[::1]:1324"}, MaxSessions: 3317,
		Sessions: sessions, Counts: product.Counts{
			Opened: map[string]uint64{"v2": 0, "v1": 0, "passthrough": 0}, Fallbacks: map[string]uint64{}, Refused: map[string]uint64{},
			Traffic: map[string]product.Traffic{}, Dropped: map[string]uint64{},
			Refusals: []product.Outcome{}, Closed: []product.Outcome{},
		},
	}
	for i := range sessions {
		s.Sessions[i].Number, s.Sessions[i].Began = uint64(i+1), madeTime.Add(time.Duration(i-len(sessions))*7*time.Second)
		if sessions[i].Transport != "" {
			s.Opened[sessions[i].Transport]++
		}
	}
	return s
}

func onionOf(n int) string { return fmt.Sprint(n) + strings.TrimPrefix(onion, "examples") }

// madeSession returns a session on v2, which differs by n from others.
func madeSession(n int) product.SessionInfo {
	dest := fmt.Sprintf("198.51.%d.%d:8333", n/256, n%256)
	switch n % 9 {
	case 4:
		dest = fmt.Sprintf("[2001:db8:85a3:%x:1319:8a2e:370:7344]:8333", n)
	case 7:
		dest = onionOf(n)
	}
	return product.SessionInfo{
		State: product.StateOpen, Client: fmt.Sprintf("127.0.0.1:%d", 40000+n), Dest: dest, Network: "mainnet", Transport: "v2",
		SessionID: fmt.Sprintf("%x", sha256.Sum256([]byte(dest))), ClientAgent: "/Satoshi:29.1.0/", PeerAgent: "/Satoshi:30.0.0/",
		Traffic:    product.Traffic{MessagesToPeer: 7, MessagesToClient: uint64(n), BytesToPeer: 1000, BytesToClient: uint64(n) * 100},
		LastToPeer: "getheaders", LastToClient: "inv",
	}
}

// madeStates are states of the proxy, by name.
var madeStates = map[string]func() *product.Snapshot{
	"empty": func() *product.Snapshot { return madeSnapshot() },
	"one":   func() *product.Snapshot { return madeSnapshot(madeSession(0)) },
	"thousand": func() *product.Snapshot {
		var all []product.SessionInfo
		for n := range 1000 {
			all = append(all, madeSession(n))
		}
		return madeSnapshot(all...)
	},
	"plaintext": func() *product.Snapshot {
		v1, overlay, through := madeSession(0), madeSession(7), madeSession(2)
		v1.Transport, v1.SessionID, v1.Fallback = "v1", "", "hung_up"
		overlay.Transport, overlay.SessionID, overlay.Fallback, overlay.Overlay = "v1", "", "known_v1", true
		through.Transport, through.SessionID, through.Network, through.ClientAgent, through.PeerAgent = "passthrough", "", "", "", ""
		through.LastToPeer, through.LastToClient = "", ""
		return madeSnapshot(madeSession(1), overlay, through, v1)
	},
	"newcomer": func() *product.Snapshot {
		hangs := product.SessionInfo{State: product.StateHandshake, Client: "127.0.0.1:40009", Dest: "203.0.113.9:8333", Network: "mainnet", ClientAgent: "/Satoshi:29.1.0/"}
		s := madeSnapshot(madeSession(0), madeSession(1), madeSession(7), hangs)
		s.Sessions[3].Began = madeTime.Add(-23 * time.Second)
		s.Traffic["v2"] = product.Traffic{BytesToPeer: 4000, BytesToClient: 1 << 20}
		s.Opened["v2"] = 81
		for i, kind := range []string{"dial", "no_v2_answer", "resolve", "dial"} {
			s.Refusals = append(s.Refusals, product.Outcome{
				Number: uint64(90 - i), Count: []uint64{27, 3, 1, 1}[i], First: madeTime.Add(-time.Hour), Time: madeTime.Add(-time.Duration(i) * time.Minute),
				Client: "127.0.0.1:40001", Dest: madeSession(20 + i).Dest, Network: "mainnet", Kind: kind,
				Reason: "the peer hung up during the v2 handshake without an answer", Hint: "to speak v1 to such peers, in plaintext, run with --v1-fallback always",
			})
			s.Refused[kind] += s.Refusals[i].Count
		}
		s.Refused["client"] = 4
		return s
	},
	"hostile": func() *product.Snapshot {
		wide, markup, spaces, asking := madeSession(7), madeSession(1), madeSession(2), product.SessionInfo{State: product.StateAsking, Client: "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:65535"}
		wide.PeerAgent, wide.ClientAgent = strings.Repeat("W", 256), strings.Repeat("m", 256)
		wide.Dest = strings.Repeat("m", 56) + ".onion:18333"
		wide.LastToPeer, wide.LastToClient = strings.Repeat("W", 12), strings.Repeat("W", 12)
		wide.Traffic = product.Traffic{MessagesToPeer: 1 << 40, MessagesToClient: 1 << 40, BytesToPeer: 1 << 50, BytesToClient: 1 << 50, Dropped: 1 << 30}
		markup.PeerAgent = strings.Repeat(hostileAgent, 8)
		markup.Dest = "<b>" + strings.Repeat("not.a.name.", 20) + "example:65535"
		spaces.PeerAgent = "/" + strings.Repeat("a b ", 63) + "/"
		spaces.Transport, spaces.SessionID, spaces.Fallback = "v1", "", "refused_v2"
		s := madeSnapshot(wide, markup, spaces, asking)
		s.Refusals = append(s.Refusals, product.Outcome{
			Count: 1 << 40, First: madeTime.Add(-40 * time.Hour), Time: madeTime, Client: asking.Client, Dest: wide.Dest, PeerAgent: wide.PeerAgent,
			Kind: "passthrough_denied", Reason: strings.Repeat("W", 300), Hint: strings.Repeat("--an-option=of-many-", 20) + strings.Repeat("m", 200),
		})
		return s
	},
	"inbound": madeInbound,
	"shaped":  madeShaped,
	"failing": func() *product.Snapshot {
		s := madeSnapshot()
		kinds := []string{"dial", "no_v2_answer", "resolve", "denied"}
		for i := range 50 {
			s.Refusals = append(s.Refusals, product.Outcome{
				Number: uint64(100 - i), Count: uint64(1 + i%3), First: madeTime.Add(-time.Hour), Time: madeTime.Add(-time.Duration(i*i) * time.Second), Seconds: 3,
				Client: "127.0.0.1:40001", Dest: madeSession(i).Dest, Network: "mainnet", Kind: kinds[i%4],
				Reason: "the peer hung up during the v2 handshake without an answer, as peers do that speak only v1",
				Hint:   "to speak v1 to such peers, in plaintext, run with --v1-fallback always",
			})
		}
		s.Refused["no_v2_answer"], s.Refused["dial"] = 300, 1200
		s.Failing = &product.Failing{Count: 1500, Since: madeTime.Add(-time.Hour), Kind: "dial", OfKind: 1200, Dest: "192.0.2.1:8333",
			Reason: "connection refused", Hint: "check this machine's connection to the Internet, and its firewall"}
		return s
	},
	"down": func() *product.Snapshot {
		s := madeSnapshot()
		s.Opened["v2"] = 12
		s.Upstream = &product.Upstream{Address: "socks5://127.0.0.1:9050", State: "failed", Since: madeTime,
			Reason: "the upstream proxy 127.0.0.1:9050 cannot be reached: connection refused", Hint: "start that proxy, or correct --upstream"}
		return s
	},
}
