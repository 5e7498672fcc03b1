package status

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// busy returns a snapshot with a value in every field.
func busy() proxy.Snapshot {
	s := idle()
	s.Started = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	s.Time = s.Started.Add(90 * time.Second)
	s.Stopping, s.Listeners, s.MaxSessions = true, []string{"127.0.0.1:1324", "/run/socket"}, 100
	s.SOCKS = []string{"unix:/run/socket"}
	s.Sessions = []proxy.SessionInfo{
		{Number: 1, Began: s.Started, State: proxy.StateOpen, Client: "127.0.0.1:1", Dest: "192.0.2.1:8333", Network: "mainnet", Transport: "v2", SessionID: strings.Repeat("ab", 32),
			ClientAgent: "/client:1/", PeerAgent: "/peer:1/", Traffic: proxy.Traffic{MessagesToPeer: 1, MessagesToClient: 2, BytesToPeer: 3, BytesToClient: 4, Dropped: 5}, LastToPeer: "ping", LastToClient: "pong"},
		{Number: 2, State: proxy.StateOpen, Transport: "v1", Fallback: "silent", Overlay: true},
		{Number: 3, State: proxy.StateOpen, Transport: "v1", Fallback: "hung_up"},
		{Number: 4, State: proxy.StateOpen, Transport: "passthrough"},
		{Number: 5, State: proxy.StateDialing, Client: "127.0.0.1:2", Dest: "192.0.2.2:8333"},
	}
	s.Opened = map[string]uint64{"v2": 10, "v1": 20, "passthrough": 30}
	s.Fallbacks["silent"], s.Fallbacks["hung_up"] = 12, 8
	s.Refused["dial"], s.Refused["no_v2_answer"] = 40, 60
	s.Traffic = map[string]proxy.Traffic{
		"v2":          {MessagesToPeer: 11, MessagesToClient: 12, BytesToPeer: 13, BytesToClient: 14, Dropped: 15},
		"v1":          {BytesToPeer: 16, BytesToClient: 17},
		"passthrough": {BytesToPeer: 18, BytesToClient: 19},
	}
	s.Dropped["unknown_id"], s.Dropped["wrong_checksum"] = 14, 1
	s.Handshakes = proxy.Histogram{Count: 7, Sum: 8.5, Bounds: []float64{0.5, 1}, Buckets: []uint64{3, 6}}
	s.Refusals = []proxy.Outcome{{Number: 6, Count: 3, First: s.Started, Time: s.Time, Seconds: 1.5, Client: "127.0.0.1:3", Dest: "192.0.2.3:8333", Kind: "dial", Reason: "why", Hint: "what to do"}}
	s.Closed = []proxy.Outcome{{Number: 7, Count: 1, First: s.Time, Time: s.Time, Seconds: 2.5, Client: "127.0.0.1:4", Dest: "192.0.2.4:8333", Network: "mainnet", Transport: "v2", PeerAgent: "/peer:2/", Reason: "the end"}}
	s.Failing = &proxy.Failing{Count: 9, Since: s.Started, Kind: "upstream", OfKind: 8, Dest: "192.0.2.3:8333", Reason: "why", Hint: "what to do"}
	s.Upstream = &proxy.Upstream{Address: "socks5://127.0.0.1:9050", State: "failed", Since: s.Started, Reason: "why", Hint: "what to do"}
	s.Peers = fallback.PeerCounts{V2: 21, V1: 22, RefusedV2: 23}
	s.MessageMemory = transport.MemoryUsage{Size: 1024, Taken: 512, Waiting: 2}
	return s
}

// wantMetrics is the whole expected output.
const wantMetrics = `
# HELP bip324_proxy_bytes_total Bytes relayed; of translated messages, their size in v1.
# TYPE bip324_proxy_bytes_total counter
bip324_proxy_bytes_total{direction="to_client",transport="passthrough"} 19
bip324_proxy_bytes_total{direction="to_client",transport="v1"} 17
bip324_proxy_bytes_total{direction="to_client",transport="v2"} 14
bip324_proxy_bytes_total{direction="to_peer",transport="passthrough"} 18
bip324_proxy_bytes_total{direction="to_peer",transport="v1"} 16
bip324_proxy_bytes_total{direction="to_peer",transport="v2"} 13
# HELP bip324_proxy_fallbacks_total Sessions opened on v1, by cause.
# TYPE bip324_proxy_fallbacks_total counter
bip324_proxy_fallbacks_total{cause="hung_up"} 8
bip324_proxy_fallbacks_total{cause="known_v1"} 0
bip324_proxy_fallbacks_total{cause="refused_v2"} 0
bip324_proxy_fallbacks_total{cause="silent"} 12
bip324_proxy_fallbacks_total{cause="spoke_v1"} 0
# HELP bip324_proxy_handshake_duration_seconds Duration of v2 handshakes that succeeded.
# TYPE bip324_proxy_handshake_duration_seconds histogram
bip324_proxy_handshake_duration_seconds_bucket{le="0.5"} 3
bip324_proxy_handshake_duration_seconds_bucket{le="1"} 6
bip324_proxy_handshake_duration_seconds_bucket{le="+Inf"} 7
bip324_proxy_handshake_duration_seconds_sum 8.5
bip324_proxy_handshake_duration_seconds_count 7
# HELP bip324_proxy_listeners Addresses on which clients are accepted.
# TYPE bip324_proxy_listeners gauge
bip324_proxy_listeners 2
# HELP bip324_proxy_message_memory_bytes Memory that messages of over 16 KiB take.
# TYPE bip324_proxy_message_memory_bytes gauge
bip324_proxy_message_memory_bytes 512
# HELP bip324_proxy_message_memory_limit_bytes Memory that messages of over 16 KiB may take, all sessions together.
# TYPE bip324_proxy_message_memory_limit_bytes gauge
bip324_proxy_message_memory_limit_bytes 1024
# HELP bip324_proxy_message_memory_waiting Messages that wait for memory.
# TYPE bip324_proxy_message_memory_waiting gauge
bip324_proxy_message_memory_waiting 2
# HELP bip324_proxy_messages_dropped_total Messages dropped instead of translated, by reason; Bitcoin Core drops them, too.
# TYPE bip324_proxy_messages_dropped_total counter
bip324_proxy_messages_dropped_total{reason="empty"} 0
bip324_proxy_messages_dropped_total{reason="invalid_type"} 0
bip324_proxy_messages_dropped_total{reason="short_type"} 0
bip324_proxy_messages_dropped_total{reason="unknown_id"} 14
bip324_proxy_messages_dropped_total{reason="wrong_checksum"} 1
# HELP bip324_proxy_messages_total Messages translated between v1 and v2.
# TYPE bip324_proxy_messages_total counter
bip324_proxy_messages_total{direction="to_client"} 12
bip324_proxy_messages_total{direction="to_peer"} 11
# HELP bip324_proxy_peers Known peers, by what they speak.
# TYPE bip324_proxy_peers gauge
bip324_proxy_peers{speaks="refused_v2"} 23
bip324_proxy_peers{speaks="v1"} 22
bip324_proxy_peers{speaks="v2"} 21
# HELP bip324_proxy_sessions Open sessions.
# TYPE bip324_proxy_sessions gauge
bip324_proxy_sessions{transport="passthrough"} 1
bip324_proxy_sessions{transport="v1"} 2
bip324_proxy_sessions{transport="v2"} 1
# HELP bip324_proxy_sessions_limit Maximum number of live sessions.
# TYPE bip324_proxy_sessions_limit gauge
bip324_proxy_sessions_limit 100
# HELP bip324_proxy_sessions_opened_total Sessions that were opened.
# TYPE bip324_proxy_sessions_opened_total counter
bip324_proxy_sessions_opened_total{transport="passthrough"} 30
bip324_proxy_sessions_opened_total{transport="v1"} 20
bip324_proxy_sessions_opened_total{transport="v2"} 10
# HELP bip324_proxy_sessions_pending Live sessions that are not open yet.
# TYPE bip324_proxy_sessions_pending gauge
bip324_proxy_sessions_pending{state="asking"} 0
bip324_proxy_sessions_pending{state="dialing"} 1
bip324_proxy_sessions_pending{state="granted"} 0
bip324_proxy_sessions_pending{state="handshake"} 0
# HELP bip324_proxy_sessions_v1_overlay Open sessions on v1 within a network that encrypts: .onion or CJDNS.
# TYPE bip324_proxy_sessions_v1_overlay gauge
bip324_proxy_sessions_v1_overlay 1
# HELP bip324_proxy_start_time_seconds Start of the proxy, in seconds since 1970.
# TYPE bip324_proxy_start_time_seconds gauge
bip324_proxy_start_time_seconds 1.767323045006e+09
# HELP bip324_proxy_stopping 1 if no more clients are accepted, else 0.
# TYPE bip324_proxy_stopping gauge
bip324_proxy_stopping 1
`

func TestMetrics(t *testing.T) {
	c := collector{&Server{Snapshot: busy, Version: "1.2.3"}}
	var names []string
	for line := range strings.Lines(wantMetrics) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.CollectAndCompare(c, strings.NewReader(wantMetrics), names...); err != nil {
		t.Error(err)
	}
	families, err := registryOf(c).Gather()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(families), len(names)+2; got != want { // build_info and sessions_refused_total are below
		t.Errorf("%d metrics, want %d", got, want)
	}
	r := get(&Server{Snapshot: busy, Version: "1.2.3"}, loopback, "GET", "/metrics", "127.0.0.1:1325")
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("got %d, %v, %v", r.StatusCode, r.Header, err)
	}
	text := string(b)
	for _, kind := range proxy.RefusalKinds { // including those that never happened
		want := map[string]string{"dial": "40", "no_v2_answer": "60"}[kind]
		if want == "" {
			want = "0"
		}
		if line := `bip324_proxy_sessions_refused_total{reason="` + kind + `"} ` + want + "\n"; !strings.Contains(text, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	for _, want := range []string{`bip324_proxy_build_info{goversion="go`, `",version="1.2.3"} 1`, "go_goroutines ", "go_memstats_alloc_bytes "} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, stranger := range []string{"192.0.2", "127.0.0.1", "/peer:1/", "/client:1/", "abab"} {
		if strings.Contains(text, stranger) {
			t.Errorf("%s is in the metrics", stranger)
		}
	}
}

func registryOf(c prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	return r
}

// The names follow Prometheus's conventions.
func TestMetricsLint(t *testing.T) {
	for _, snapshot := range []func() proxy.Snapshot{idle, busy} {
		problems, err := testutil.GatherAndLint(registryOf(collector{&Server{Snapshot: snapshot, Version: "1", LogLost: func() uint64 { return 17 }}}))
		if err != nil {
			t.Error(err)
		}
		for _, p := range problems {
			t.Errorf("%s: got %s", p.Metric, p.Text)
		}
	}
}
