package status

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"bip324proxy/proxy"
)

// wantReport is /api/status for busy, without what is counted by kind.
const wantReport = `{
	"time": "2026-01-02T03:05:35.006Z", "started": "2026-01-02T03:04:05.006Z", "uptime_seconds": 90, "version": "1.2.3",
	"stopping": true, "listeners": ["127.0.0.1:1324", "/run/socket"], "socks_listeners": ["unix:/run/socket"], "transparent_listeners": ["127.0.0.1:1324"], "max_sessions": 100,
	"live": {"all": 6, "v2": 2, "v1": 2, "v1_overlay": 1, "passthrough": 1, "pending": 1, "inbound": 1},
	"encrypted": "partly",
	"sessions_found": 6, "sessions_left_out": 0,
	"sessions": [
		{"number": 3, "began": "0001-01-01T00:00:00Z", "state": "open", "client": "", "transport": "v1", "fallback": "hung_up",
			"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 0, "bytes_to_client": 0, "dropped": 0},
		{"number": 4, "began": "0001-01-01T00:00:00Z", "state": "open", "client": "", "transport": "passthrough",
			"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 0, "bytes_to_client": 0, "dropped": 0},
		{"number": 8, "began": "0001-01-01T00:00:00Z", "inbound": true, "state": "open", "client": "127.0.0.1:8334", "dest": "203.0.113.1:5000", "source": "127.130.1.2:4000", "transport": "v2",
			"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 0, "bytes_to_client": 0, "dropped": 0},
		{"number": 5, "began": "0001-01-01T00:00:00Z", "state": "dialing", "client": "127.0.0.1:2", "dest": "192.0.2.2:8333",
			"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 0, "bytes_to_client": 0, "dropped": 0},
		{"number": 2, "began": "0001-01-01T00:00:00Z", "state": "open", "client": "", "transport": "v1", "fallback": "silent", "overlay": true,
			"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 0, "bytes_to_client": 0, "dropped": 0},
		{"number": 1, "began": "2026-01-02T03:04:05.006Z", "state": "open", "client": "127.0.0.1:1", "dest": "192.0.2.1:8333", "network": "mainnet",
			"transport": "v2", "session_id": "abababababababababababababababababababababababababababababababab",
			"client_agent": "/client:1/", "peer_agent": "/peer:1/",
			"messages_to_peer": 1, "messages_to_client": 2, "bytes_to_peer": 3, "bytes_to_client": 4, "dropped": 5,
			"shape": "cover", "filler_to_peer": 51, "filler_from_peer": 52, "shape_overflows": 53,
			"last_to_peer": "ping", "last_to_client": "pong"}
	],
	"opened": {"v2": 10, "v1": 20, "passthrough": 30},
	"fallbacks": {"silent": 12, "hung_up": 8, "spoke_v1": 0, "known_v1": 0, "refused_v2": 0},
	"traffic": {
		"v2": {"messages_to_peer": 11, "messages_to_client": 12, "bytes_to_peer": 13, "bytes_to_client": 14, "dropped": 15},
		"v1": {"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 16, "bytes_to_client": 17, "dropped": 0},
		"passthrough": {"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 18, "bytes_to_client": 19, "dropped": 0}
	},
	"dropped": {"unknown_id": 14, "empty": 0, "short_type": 0, "invalid_type": 0, "wrong_checksum": 1},
	"filler": {"to_peer": 54, "from_peer": 55}, "shape_overflows": 56,
	"handshakes": {"count": 7, "sum_seconds": 8.5, "bounds_seconds": [0.5, 1], "buckets": [3, 6]},
	"failing": {"count": 9, "since": "2026-01-02T03:04:05.006Z", "kind": "upstream", "of_kind": 8, "dest": "192.0.2.3:8333", "reason": "why", "hint": "what to do"},
	"upstream": {"address": "socks5://127.0.0.1:9050", "state": "failed", "since": "2026-01-02T03:04:05.006Z", "reason": "why", "hint": "what to do"},
	"routes": [{"to": "*.onion", "address": "socks5://127.0.0.1:9150", "state": "reached", "since": "2026-01-02T03:04:05.006Z"}],
	"refusals": [{"number": 6, "count": 3, "first": "2026-01-02T03:04:05.006Z", "time": "2026-01-02T03:05:35.006Z", "seconds": 1.5, "client": "127.0.0.1:3", "dest": "192.0.2.3:8333",
		"kind": "dial", "reason": "why", "hint": "what to do"}],
	"closed": [{"number": 7, "count": 1, "first": "2026-01-02T03:05:35.006Z", "time": "2026-01-02T03:05:35.006Z", "seconds": 2.5, "client": "127.0.0.1:4", "dest": "192.0.2.4:8333", "network": "mainnet",
		"transport": "v2", "peer_agent": "/peer:2/", "reason": "the end"}],
	"inbound": {
		"listeners": [{"address": "0.0.0.0:8333", "node": "127.0.0.1:8334", "network": "mainnet", "source": "127.128.0.0/9"}],
		"v1": "never", "max_sessions": 125, "pending": 31, "evicted": 32,
		"opened": {"v2": 35, "v1": 0, "passthrough": 0},
		"fallbacks": {"silent": 0, "hung_up": 0, "spoke_v1": 36, "known_v1": 0, "refused_v2": 0},
		"refused": {"scanner": 38, "node": 39},
		"traffic": {
			"v2": {"messages_to_peer": 40, "messages_to_client": 41, "bytes_to_peer": 42, "bytes_to_client": 43, "dropped": 0},
			"v1": {"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 0, "bytes_to_client": 0, "dropped": 0},
			"passthrough": {"messages_to_peer": 0, "messages_to_client": 0, "bytes_to_peer": 0, "bytes_to_client": 0, "dropped": 0}
		},
		"dropped": {"unknown_id": 0, "empty": 37, "short_type": 0, "invalid_type": 0, "wrong_checksum": 0},
		"filler": {"to_peer": 57, "from_peer": 58}, "shape_overflows": 59,
		"handshakes": {"count": 3, "sum_seconds": 0.5, "bounds_seconds": [0.5, 1], "buckets": [2, 3]},
		"refusals": [],
		"closed": [{"number": 9, "inbound": true, "count": 1, "first": "2026-01-02T03:04:05.006Z", "time": "2026-01-02T03:04:05.006Z", "seconds": 0, "client": "127.0.0.1:8334", "dest": "203.0.113.2:5000", "source": "127.130.1.3:4000",
			"transport": "v2", "reason": "the end"}],
		"message_memory": {"size_bytes": 2048, "taken_bytes": 33, "waiting": 34}
	},
	"peers": {"v2": 21, "v1": 22, "refused_v2": 23},
	"message_memory": {"size_bytes": 1024, "taken_bytes": 512, "waiting": 2},
	"shaped": {"live": {"core": 0, "pad": 0, "cover": 1, "tunnel": 0}, "filler_last_day": {"to_peer": 111, "from_peer": 113}},
	"throughput": {"interval_seconds": 2, "until": "0001-01-01T00:00:00Z", "bytes_to_peer_per_second": [], "bytes_to_client_per_second": []},
	"settings": [
		{"name": "listen", "value": ["127.0.0.1:1324"], "origin": "default"},
		{"name": "v1-fallback", "value": "always", "origin": "/etc/bip324-proxy.toml:3"},
		{"name": "max-sessions", "value": 100, "origin": "flag"}
	]
}`

func settings() []Setting {
	return []Setting{
		{"listen", []string{"127.0.0.1:1324"}, "default"},
		{"v1-fallback", "always", "/etc/bip324-proxy.toml:3"},
		{"max-sessions", 100, "flag"},
	}
}

func decode(t *testing.T, r io.Reader) (v map[string]any) {
	t.Helper()
	if err := json.NewDecoder(r).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEncrypted(t *testing.T) {
	for live, want := range map[Live]Verdict{
		{}:                                    None,
		{Pending: 3}:                          None,
		{V2: 3, Pending: 1}:                   Yes,
		{V2: 3, V1: 1, V1Overlay: 1}:          Yes,
		{Passthrough: 2}:                      Unknown,
		{V1: 2}:                               No,
		{V1: 2, Passthrough: 1}:               No,
		{V1: 2, V2: 1}:                        Partly,
		{V2: 1, Passthrough: 1}:               Partly,
		{V1: 2, V1Overlay: 1}:                 Partly,
		{V1: 1, V1Overlay: 1, Passthrough: 1}: Partly,
	} {
		if got := live.Encrypted(); got != want {
			t.Errorf("%+v: got %s, want %s", live, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	r := get(&Server{Snapshot: busy, Settings: settings, Version: "1.2.3"}, loopback, "GET", "/api/status", "127.0.0.1:1325")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d, %v", r.StatusCode, r.Header)
	}
	got := decode(t, r.Body)
	var want map[string]any
	if err := json.Unmarshal([]byte(wantReport), &want); err != nil {
		t.Fatal(err)
	}
	refused := got["refused"].(map[string]any)
	if len(refused) != len(proxy.RefusalKinds) || refused["dial"] != 40.0 || refused["no_v2_answer"] != 60.0 || refused["client"] != 0.0 {
		t.Errorf("refused: got %v", refused)
	}
	var shares float64
	outcomes := got["outcomes"].([]any)
	for i, o := range outcomes {
		share := o.(map[string]any)["share"].(float64)
		if i > 0 && share > outcomes[i-1].(map[string]any)["share"].(float64) {
			t.Errorf("outcome %d is more frequent than the one before it", i)
		}
		shares += share
	}
	if len(outcomes) != 2+len(proxy.FallbackCauses)+len(proxy.RefusalKinds) || shares < 0.999 || shares > 1.001 {
		t.Errorf("%d outcomes, shares %v", len(outcomes), shares)
	}
	for i, want := range []string{
		"map[cause:no_v2_answer count:60 outcome:refused share:0.375]",
		"map[cause:dial count:40 outcome:refused share:0.25]",
		"map[count:30 outcome:passthrough share:0.1875]",
		"map[cause:silent count:12 outcome:v1 share:0.075]",
		"map[count:10 outcome:v2 share:0.0625]",
		"map[cause:hung_up count:8 outcome:v1 share:0.05]",
	} {
		if got := fmt.Sprint(outcomes[i]); got != want {
			t.Errorf("outcome %d: got %s, want %s", i, got, want)
		}
	}
	delete(got, "refused")
	delete(got, "outcomes")
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s: got %v\nwant %v", name, got[name], want[name])
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("unexpected fields: %v", got)
	}
}

// No field is null: programs can rely on it.
func TestReportOfNothing(t *testing.T) {
	r := get(new(Server), loopback, "GET", "/api/status", "127.0.0.1:1325")
	for name, v := range decode(t, r.Body) {
		if v == nil {
			t.Errorf("%s is null", name)
		}
	}
}

func TestReportOfFewSessions(t *testing.T) {
	many := func() proxy.Snapshot {
		s := idle()
		for i := range 3000 {
			s.Sessions = append(s.Sessions, proxy.SessionInfo{Number: uint64(i + 1), Transport: "v2", State: proxy.StateOpen})
		}
		return s
	}
	for query, want := range map[string]int{"": 1000, "?sessions=": 1000, "?sessions=0": 0, "?sessions=7": 7, "?sessions=3000": 3000, "?sessions=99999": 3000} {
		got := decode(t, get(&Server{Snapshot: many}, loopback, "GET", "/api/status"+query, "127.0.0.1:1325").Body)
		sessions := got["sessions"].([]any)
		if len(sessions) != want || want > 0 && sessions[0].(map[string]any)["number"] != 3000.0 || got["live"].(map[string]any)["v2"] != 3000.0 {
			t.Errorf("%q: got %d sessions, live %v", query, len(sessions), got["live"])
		}
	}
	for _, query := range []string{"?sessions=-1", "?sessions=many", "?sessions=1.5", "?sessions=99999999999999999999"} {
		if r := get(&Server{Snapshot: many}, loopback, "GET", "/api/status"+query, "127.0.0.1:1325"); r.StatusCode != 400 {
			t.Errorf("%s: got %d", query, r.StatusCode)
		}
	}
}

func TestHealth(t *testing.T) {
	for path, want := range map[string][3]string{
		"/healthz": {"200 ok\n", "200 ok\n", "200 ok\n"},
		"/readyz":  {"200 ok\n", "503 not listening\n", "503 stopping\n"},
	} {
		for i, s := range []proxy.Snapshot{{Listeners: []string{"x"}}, {}, {Listeners: []string{"x"}, Stopping: true}} {
			r := get(&Server{Snapshot: func() proxy.Snapshot { return s }}, loopback, "GET", path, "127.0.0.1:1325")
			b, _ := io.ReadAll(r.Body)
			if got := fmt.Sprintf("%d %s", r.StatusCode, b); got != want[i] {
				t.Errorf("%s: got %q, want %q", path, got, want[i])
			}
		}
	}
}

// BenchmarkReport measures a report with the default maximum of sessions; the sampling, the page
// and Prometheus each take a snapshot now and then.
func BenchmarkReport(b *testing.B) {
	s := idle()
	for i := range 4096 {
		s.Sessions = append(s.Sessions, proxy.SessionInfo{Number: uint64(i), Began: time.Now(), Transport: "v2", State: proxy.StateOpen, Dest: "192.0.2.1:8333"})
	}
	server := &Server{Snapshot: func() proxy.Snapshot {
		now := s
		now.Sessions = append([]proxy.SessionInfo{}, s.Sessions...)
		return now
	}}
	b.ReportAllocs()
	for b.Loop() {
		get(server, loopback, "GET", "/api/status", "127.0.0.1:1325")
	}
}
