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
	s.Transparent = []string{"127.0.0.1:1324"}
	s.Sessions = []proxy.SessionInfo{
		{Number: 1, Began: s.Started, State: proxy.StateOpen, Client: "127.0.0.1:1", Dest: "192.0.2.1:8333", Network: "mainnet", Transport: "v2", SessionID: strings.Repeat("ab", 32),
			ClientAgent: "/client:1/", PeerAgent: "/peer:1/", Traffic: proxy.Traffic{MessagesToPeer: 1, MessagesToClient: 2, BytesToPeer: 3, BytesToClient: 4, Dropped: 5},
			Shaping: proxy.Shaping{Shape: "cover", FillerToPeer: 51, FillerFromPeer: 52, ShapeOverflows: 53}, LastToPeer: "ping", LastToClient: "pong"},
		{Number: 2, State: proxy.StateOpen, Transport: "v1", Fallback: "silent", Overlay: true},
		{Number: 3, State: proxy.StateOpen, Transport: "v1", Fallback: "hung_up"},
		{Number: 4, State: proxy.StateOpen, Transport: "passthrough"},
		{Number: 5, State: proxy.StateDialing, Client: "127.0.0.1:2", Dest: "192.0.2.2:8333"},
		{Number: 8, Inbound: true, State: proxy.StateOpen, Client: "127.0.0.1:8334", Dest: "203.0.113.1:5000", Source: "127.130.1.2:4000", Transport: "v2"},
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
	s.ShapingTotals = proxy.ShapingTotals{Filler: proxy.Filler{ToPeer: 54, FromPeer: 55}, ShapeOverflows: 56}
	s.Handshakes = proxy.Histogram{Count: 7, Sum: 8.5, Bounds: []float64{0.5, 1}, Buckets: []uint64{3, 6}}
	s.Refusals = []proxy.Outcome{{Number: 6, Count: 3, First: s.Started, Time: s.Time, Seconds: 1.5, Client: "127.0.0.1:3", Dest: "192.0.2.3:8333", Kind: "dial", Reason: "why", Hint: "what to do"}}
	s.Closed = []proxy.Outcome{{Number: 7, Count: 1, First: s.Time, Time: s.Time, Seconds: 2.5, Client: "127.0.0.1:4", Dest: "192.0.2.4:8333", Network: "mainnet", Transport: "v2", PeerAgent: "/peer:2/", Reason: "the end"}}
	s.Failing = &proxy.Failing{Count: 9, Since: s.Started, Kind: "upstream", OfKind: 8, Dest: "192.0.2.3:8333", Reason: "why", Hint: "what to do"}
	s.Upstream = &proxy.Upstream{Address: "socks5://127.0.0.1:9050", State: "failed", Since: s.Started, Reason: "why", Hint: "what to do"}
	s.Routes = []proxy.Upstream{{To: "*.onion", Address: "socks5://127.0.0.1:9150", State: "reached", Since: s.Started}}
	s.Peers = fallback.PeerCounts{V2: 21, V1: 22, RefusedV2: 23}
	s.MessageMemory = transport.MemoryUsage{Size: 1024, Taken: 512, Waiting: 2}
	s.Inbound = busyInbound(s.Started)
	return s
}

// busyInbound returns the part of busy about peers.
func busyInbound(began time.Time) *proxy.InboundSnapshot {
	in := &proxy.InboundSnapshot{
		Listeners:   []proxy.InboundListener{{Address: "0.0.0.0:8333", Node: "127.0.0.1:8334", Network: "mainnet", Source: "127.128.0.0/9"}},
		V1:          "never",
		MaxSessions: 125, Pending: 31, Evicted: 32, Counts: idle().Counts,
		MessageMemory: transport.MemoryUsage{Size: 2048, Taken: 33, Waiting: 34},
	}
	in.Opened["v2"], in.Fallbacks["spoke_v1"], in.Dropped["empty"] = 35, 36, 37
	in.Refused = map[string]uint64{"scanner": 38, "node": 39}
	in.Traffic["v2"] = proxy.Traffic{MessagesToPeer: 40, MessagesToClient: 41, BytesToPeer: 42, BytesToClient: 43}
	in.ShapingTotals = proxy.ShapingTotals{Filler: proxy.Filler{ToPeer: 57, FromPeer: 58}, ShapeOverflows: 59}
	in.Handshakes = proxy.Histogram{Count: 3, Sum: 0.5, Bounds: []float64{0.5, 1}, Buckets: []uint64{2, 3}}
	in.Closed = []proxy.Outcome{{Number: 9, Inbound: true, Count: 1, First: began, Time: began, Client: "127.0.0.1:8334", Dest: "203.0.113.2:5000", Source: "127.130.1.3:4000", Transport: "v2", Reason: "the end"}}
	return in
}

// wantMetrics is the whole expected output.
const wantMetrics = `
# HELP bip324_proxy_bytes_total Bytes relayed; of translated messages, their size in v1.
# TYPE bip324_proxy_bytes_total counter
bip324_proxy_bytes_total{direction="to_client",inbound="false",transport="passthrough"} 19
bip324_proxy_bytes_total{direction="to_client",inbound="false",transport="v1"} 17
bip324_proxy_bytes_total{direction="to_client",inbound="false",transport="v2"} 14
bip324_proxy_bytes_total{direction="to_client",inbound="true",transport="passthrough"} 0
bip324_proxy_bytes_total{direction="to_client",inbound="true",transport="v1"} 0
bip324_proxy_bytes_total{direction="to_client",inbound="true",transport="v2"} 43
bip324_proxy_bytes_total{direction="to_peer",inbound="false",transport="passthrough"} 18
bip324_proxy_bytes_total{direction="to_peer",inbound="false",transport="v1"} 16
bip324_proxy_bytes_total{direction="to_peer",inbound="false",transport="v2"} 13
bip324_proxy_bytes_total{direction="to_peer",inbound="true",transport="passthrough"} 0
bip324_proxy_bytes_total{direction="to_peer",inbound="true",transport="v1"} 0
bip324_proxy_bytes_total{direction="to_peer",inbound="true",transport="v2"} 42
# HELP bip324_proxy_fallbacks_total Sessions opened on v1, by cause.
# TYPE bip324_proxy_fallbacks_total counter
bip324_proxy_fallbacks_total{cause="hung_up",inbound="false"} 8
bip324_proxy_fallbacks_total{cause="hung_up",inbound="true"} 0
bip324_proxy_fallbacks_total{cause="known_v1",inbound="false"} 0
bip324_proxy_fallbacks_total{cause="known_v1",inbound="true"} 0
bip324_proxy_fallbacks_total{cause="refused_v2",inbound="false"} 0
bip324_proxy_fallbacks_total{cause="refused_v2",inbound="true"} 0
bip324_proxy_fallbacks_total{cause="silent",inbound="false"} 12
bip324_proxy_fallbacks_total{cause="silent",inbound="true"} 0
bip324_proxy_fallbacks_total{cause="spoke_v1",inbound="false"} 0
bip324_proxy_fallbacks_total{cause="spoke_v1",inbound="true"} 36
# HELP bip324_proxy_filler_bytes_total Bytes of decoys, which bytes_total leaves out.
# TYPE bip324_proxy_filler_bytes_total counter
bip324_proxy_filler_bytes_total{direction="from_peer",inbound="false"} 55
bip324_proxy_filler_bytes_total{direction="from_peer",inbound="true"} 58
bip324_proxy_filler_bytes_total{direction="to_peer",inbound="false"} 54
bip324_proxy_filler_bytes_total{direction="to_peer",inbound="true"} 57
# HELP bip324_proxy_handshake_duration_seconds Duration of v2 handshakes that succeeded.
# TYPE bip324_proxy_handshake_duration_seconds histogram
bip324_proxy_handshake_duration_seconds_bucket{inbound="false",le="0.5"} 3
bip324_proxy_handshake_duration_seconds_bucket{inbound="false",le="1"} 6
bip324_proxy_handshake_duration_seconds_bucket{inbound="false",le="+Inf"} 7
bip324_proxy_handshake_duration_seconds_sum{inbound="false"} 8.5
bip324_proxy_handshake_duration_seconds_count{inbound="false"} 7
bip324_proxy_handshake_duration_seconds_bucket{inbound="true",le="0.5"} 2
bip324_proxy_handshake_duration_seconds_bucket{inbound="true",le="1"} 3
bip324_proxy_handshake_duration_seconds_bucket{inbound="true",le="+Inf"} 3
bip324_proxy_handshake_duration_seconds_sum{inbound="true"} 0.5
bip324_proxy_handshake_duration_seconds_count{inbound="true"} 3
# HELP bip324_proxy_inbound_evicted_total Inbound sessions that were ended for a peer of another network.
# TYPE bip324_proxy_inbound_evicted_total counter
bip324_proxy_inbound_evicted_total 32
# HELP bip324_proxy_inbound_pending Inbound connections that have sent no VERSION yet.
# TYPE bip324_proxy_inbound_pending gauge
bip324_proxy_inbound_pending 31
# HELP bip324_proxy_listeners Addresses on which clients are accepted.
# TYPE bip324_proxy_listeners gauge
bip324_proxy_listeners 2
# HELP bip324_proxy_message_memory_bytes Memory that messages of over 16 KiB take.
# TYPE bip324_proxy_message_memory_bytes gauge
bip324_proxy_message_memory_bytes{inbound="false"} 512
bip324_proxy_message_memory_bytes{inbound="true"} 33
# HELP bip324_proxy_message_memory_limit_bytes Memory that messages of over 16 KiB may take, all sessions together.
# TYPE bip324_proxy_message_memory_limit_bytes gauge
bip324_proxy_message_memory_limit_bytes{inbound="false"} 1024
bip324_proxy_message_memory_limit_bytes{inbound="true"} 2048
# HELP bip324_proxy_message_memory_waiting Messages that wait for memory.
# TYPE bip324_proxy_message_memory_waiting gauge
bip324_proxy_message_memory_waiting{inbound="false"} 2
bip324_proxy_message_memory_waiting{inbound="true"} 34
# HELP bip324_proxy_messages_dropped_total Messages dropped instead of translated, by reason; Bitcoin Core drops them, too.
# TYPE bip324_proxy_messages_dropped_total counter
bip324_proxy_messages_dropped_total{inbound="false",reason="empty"} 0
bip324_proxy_messages_dropped_total{inbound="false",reason="invalid_type"} 0
bip324_proxy_messages_dropped_total{inbound="false",reason="short_type"} 0
bip324_proxy_messages_dropped_total{inbound="false",reason="unknown_id"} 14
bip324_proxy_messages_dropped_total{inbound="false",reason="wrong_checksum"} 1
bip324_proxy_messages_dropped_total{inbound="true",reason="empty"} 37
bip324_proxy_messages_dropped_total{inbound="true",reason="invalid_type"} 0
bip324_proxy_messages_dropped_total{inbound="true",reason="short_type"} 0
bip324_proxy_messages_dropped_total{inbound="true",reason="unknown_id"} 0
bip324_proxy_messages_dropped_total{inbound="true",reason="wrong_checksum"} 0
# HELP bip324_proxy_messages_total Messages translated between v1 and v2.
# TYPE bip324_proxy_messages_total counter
bip324_proxy_messages_total{direction="to_client",inbound="false"} 12
bip324_proxy_messages_total{direction="to_client",inbound="true"} 41
bip324_proxy_messages_total{direction="to_peer",inbound="false"} 11
bip324_proxy_messages_total{direction="to_peer",inbound="true"} 40
# HELP bip324_proxy_peers Known peers, by what they speak.
# TYPE bip324_proxy_peers gauge
bip324_proxy_peers{speaks="refused_v2"} 23
bip324_proxy_peers{speaks="v1"} 22
bip324_proxy_peers{speaks="v2"} 21
# HELP bip324_proxy_sessions Open sessions.
# TYPE bip324_proxy_sessions gauge
bip324_proxy_sessions{inbound="false",transport="passthrough"} 1
bip324_proxy_sessions{inbound="false",transport="v1"} 2
bip324_proxy_sessions{inbound="false",transport="v2"} 1
bip324_proxy_sessions{inbound="true",transport="passthrough"} 0
bip324_proxy_sessions{inbound="true",transport="v1"} 0
bip324_proxy_sessions{inbound="true",transport="v2"} 1
# HELP bip324_proxy_sessions_limit Maximum number of live sessions.
# TYPE bip324_proxy_sessions_limit gauge
bip324_proxy_sessions_limit{inbound="false"} 100
bip324_proxy_sessions_limit{inbound="true"} 125
# HELP bip324_proxy_sessions_opened_total Sessions that were opened.
# TYPE bip324_proxy_sessions_opened_total counter
bip324_proxy_sessions_opened_total{inbound="false",transport="passthrough"} 30
bip324_proxy_sessions_opened_total{inbound="false",transport="v1"} 20
bip324_proxy_sessions_opened_total{inbound="false",transport="v2"} 10
bip324_proxy_sessions_opened_total{inbound="true",transport="passthrough"} 0
bip324_proxy_sessions_opened_total{inbound="true",transport="v1"} 0
bip324_proxy_sessions_opened_total{inbound="true",transport="v2"} 35
# HELP bip324_proxy_sessions_pending Live sessions that are not open yet.
# TYPE bip324_proxy_sessions_pending gauge
bip324_proxy_sessions_pending{inbound="false",state="asking"} 0
bip324_proxy_sessions_pending{inbound="false",state="dialing"} 1
bip324_proxy_sessions_pending{inbound="false",state="granted"} 0
bip324_proxy_sessions_pending{inbound="false",state="handshake"} 0
bip324_proxy_sessions_pending{inbound="true",state="dialing"} 0
# HELP bip324_proxy_sessions_shaped Open sessions whose traffic is shaped, by the shape in force.
# TYPE bip324_proxy_sessions_shaped gauge
bip324_proxy_sessions_shaped{inbound="false",shape="core"} 0
bip324_proxy_sessions_shaped{inbound="false",shape="cover"} 1
bip324_proxy_sessions_shaped{inbound="false",shape="pad"} 0
bip324_proxy_sessions_shaped{inbound="false",shape="tunnel"} 0
bip324_proxy_sessions_shaped{inbound="true",shape="core"} 0
bip324_proxy_sessions_shaped{inbound="true",shape="cover"} 0
bip324_proxy_sessions_shaped{inbound="true",shape="pad"} 0
bip324_proxy_sessions_shaped{inbound="true",shape="tunnel"} 0
# HELP bip324_proxy_sessions_v1_overlay Open sessions on v1 within a network that encrypts: .onion or CJDNS.
# TYPE bip324_proxy_sessions_v1_overlay gauge
bip324_proxy_sessions_v1_overlay{inbound="false"} 1
bip324_proxy_sessions_v1_overlay{inbound="true"} 0
# HELP bip324_proxy_shape_overflows_total Times that a backlog was too large for the shape of its session.
# TYPE bip324_proxy_shape_overflows_total counter
bip324_proxy_shape_overflows_total{inbound="false"} 56
bip324_proxy_shape_overflows_total{inbound="true"} 59
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
	for inbound, kinds := range map[string][]string{"false": proxy.RefusalKinds, "true": proxy.InboundRefusalKinds} {
		for _, kind := range kinds { // including those that never happened
			want := map[string]string{"dial": "40", "no_v2_answer": "60", "scanner": "38", "node": "39"}[kind]
			if want == "" {
				want = "0"
			}
			if line := `bip324_proxy_sessions_refused_total{inbound="` + inbound + `",reason="` + kind + `"} ` + want + "\n"; !strings.Contains(text, line) {
				t.Errorf("the metrics lack %s", line)
			}
		}
		if n := strings.Count(text, `bip324_proxy_sessions_refused_total{inbound="`+inbound+`"`); n != len(kinds) {
			t.Errorf("inbound=%s: %d kinds of refusals, want %d", inbound, n, len(kinds))
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

// Without a listener for peers there is nothing inbound.
func TestMetricsOutbound(t *testing.T) {
	b, err := io.ReadAll(get(new(Server), loopback, "GET", "/metrics", "127.0.0.1:1325").Body)
	if err != nil || strings.Contains(string(b), `inbound="true"`) || strings.Contains(string(b), "inbound_") || !strings.Contains(string(b), `inbound="false"`) {
		t.Errorf("got %v\n%s", err, b)
	}
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
