package status

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bip324proxy/proxy"
	"bip324proxy/v1v2"
)

// newMetrics answers /metrics.
func newMetrics(s *Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&collector{snapshot: s.Snapshot, version: s.Version, logLost: s.LogLost},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// collector has a snapshot as metrics. What comes from the network is no label:
// each has the values of a list.
type collector struct {
	snapshot func() proxy.Snapshot
	version  string
	logLost  func() uint64 // or nil
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("bip324_proxy_"+name, help, labels, nil)
}

var (
	descBuild       = describe("build_info", "1, for the version that runs.", "version", "goversion")
	descStarted     = describe("start_time_seconds", "When the proxy began, in seconds since 1970.")
	descStopping    = describe("stopping", "1 if no more clients are accepted, else 0.")
	descListeners   = describe("listeners", "Addresses on which clients are accepted.")
	descSessions    = describe("sessions", "Live sessions that are open.", "transport")
	descOverlay     = describe("sessions_v1_overlay", "Those of the open sessions on v1 that are within a network which encrypts: .onion or CJDNS.")
	descPending     = describe("sessions_pending", "Live sessions that are not open yet.", "state")
	descMax         = describe("sessions_limit", "Sessions that there may be at a time.")
	descOpened      = describe("sessions_opened_total", "Sessions that were opened.", "transport")
	descRefused     = describe("sessions_refused_total", "Sessions that failed before they were open, by why.", "reason")
	descFallbacks   = describe("fallbacks_total", "Sessions opened on v1, by why.", "cause")
	descBytes       = describe("bytes_total", "Bytes moved, as v1 has them where messages are translated.", "transport", "direction")
	descMessages    = describe("messages_total", "Messages translated between v1 and v2.", "direction")
	descDropped     = describe("messages_dropped_total", "Messages not translated, as Bitcoin Core drops them, too, by why.", "reason")
	descHandshakes  = describe("handshake_duration_seconds", "How long v2 handshakes took that succeeded.")
	descPeers       = describe("peers", "Peers in the peer memory, by what they are known to speak.", "speaks")
	descMemoryLimit = describe("message_memory_limit_bytes", "Memory that messages of over 16 KiB may take, all sessions together.")
	descMemory      = describe("message_memory_bytes", "Memory that messages of over 16 KiB take.")
	descWaiting     = describe("message_memory_waiting", "Messages that wait for memory.")
	descLogLost     = describe("log_lines_lost_total", "Lines of the log that could not be written, or not in time.")
)

// Describe has no descriptions to send: what they are shows in what Collect does.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect takes a snapshot.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	now := c.snapshot()
	gauge(descBuild, 1, c.version, runtime.Version())
	gauge(descStarted, float64(now.Started.UnixMilli())/1000)
	gauge(descStopping, map[bool]float64{true: 1}[now.Stopping])
	gauge(descListeners, float64(len(now.Listeners)))
	gauge(descMax, float64(now.MaxSessions))

	live := count(now.Sessions)
	gauge(descOverlay, float64(live.V1Overlay))
	open := map[string]int{"v2": live.V2, "v1": live.V1, "passthrough": live.Passthrough}
	pending := map[proxy.State]int{}
	for _, s := range now.Sessions {
		pending[s.State]++
	}
	for _, state := range []proxy.State{proxy.StateAsking, proxy.StateDialing, proxy.StateGranted, proxy.StateHandshake} {
		gauge(descPending, float64(pending[state]), string(state))
	}

	var all proxy.Traffic
	for _, transport := range proxy.Transports {
		t := now.Traffic[transport]
		gauge(descSessions, float64(open[transport]), transport)
		counter(descOpened, now.Opened[transport], transport)
		counter(descBytes, t.BytesToPeer, transport, "to_peer")
		counter(descBytes, t.BytesToClient, transport, "to_client")
		all.MessagesToPeer += t.MessagesToPeer
		all.MessagesToClient += t.MessagesToClient
	}
	counter(descMessages, all.MessagesToPeer, "to_peer")
	counter(descMessages, all.MessagesToClient, "to_client")
	for _, reason := range v1v2.Reasons {
		counter(descDropped, now.Dropped[reason.String()], reason.String())
	}
	for _, kind := range proxy.RefusalKinds {
		counter(descRefused, now.Refused[kind], kind)
	}
	for _, cause := range proxy.FallbackCauses {
		counter(descFallbacks, now.Fallbacks[cause], cause)
	}
	buckets := make(map[float64]uint64, len(now.Handshakes.Bounds))
	for i, bound := range now.Handshakes.Bounds {
		buckets[bound] = now.Handshakes.Buckets[i]
	}
	ch <- prometheus.MustNewConstHistogram(descHandshakes, now.Handshakes.Count, now.Handshakes.Sum, buckets)

	gauge(descPeers, float64(now.Peers.V2), "v2")
	gauge(descPeers, float64(now.Peers.V1), "v1")
	gauge(descPeers, float64(now.Peers.RefusedV2), "refused_v2")
	gauge(descMemoryLimit, float64(now.MessageMemory.Size))
	gauge(descMemory, float64(now.MessageMemory.Taken))
	gauge(descWaiting, float64(now.MessageMemory.Waiting))
	if c.logLost != nil {
		counter(descLogLost, c.logLost())
	}
}
