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

// newMetrics returns the handler of /metrics.
func newMetrics(s *Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{s},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// collector turns a snapshot into metrics. Labels have values from fixed lists, never from the
// network.
type collector struct{ *Server }

// Describe derives the descriptions from what Collect sends.
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect sends the metrics of a new snapshot.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	// labels are pairs of a name and a value.
	send := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		set := prometheus.Labels{}
		for i := 0; i < len(labels); i += 2 {
			set[labels[i]] = labels[i+1]
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("bip324_proxy_"+name, help, nil, set), kind, value)
	}
	gauge := func(name, help string, value float64, labels ...string) {
		send(prometheus.GaugeValue, name, help, value, labels...)
	}
	counter := func(name, help string, value uint64, labels ...string) {
		send(prometheus.CounterValue, name, help, float64(value), labels...)
	}
	now := c.Snapshot()
	gauge("build_info", "1, with the running version.", 1, "version", c.Version, "goversion", runtime.Version())
	gauge("start_time_seconds", "Start of the proxy, in seconds since 1970.", float64(now.Started.UnixMilli())/1000)
	gauge("stopping", "1 if no more clients are accepted, else 0.", map[bool]float64{true: 1}[now.Stopping])
	gauge("listeners", "Addresses on which clients are accepted.", float64(len(now.Listeners)))

	live := countLive(now.Sessions)
	open := map[string]int{"v2": live.V2, "v1": live.V1, "passthrough": live.Passthrough}
	pending := map[proxy.State]int{}
	for _, s := range now.Sessions {
		pending[s.State]++
	}
	gauge("sessions_limit", "Maximum number of live sessions.", float64(now.MaxSessions))
	gauge("sessions_v1_overlay", "Open sessions on v1 within a network that encrypts: .onion or CJDNS.", float64(live.V1Overlay))
	for _, state := range []proxy.State{proxy.StateAsking, proxy.StateDialing, proxy.StateGranted, proxy.StateHandshake} {
		gauge("sessions_pending", "Live sessions that are not open yet.", float64(pending[state]), "state", string(state))
	}
	for _, kind := range proxy.RefusalKinds {
		counter("sessions_refused_total", "Sessions that failed before they were open, by reason.", now.Refused[kind], "reason", kind)
	}
	for _, cause := range proxy.FallbackCauses {
		counter("fallbacks_total", "Sessions opened on v1, by cause.", now.Fallbacks[cause], "cause", cause)
	}

	var all proxy.Traffic
	for _, transport := range proxy.Transports {
		t := now.Traffic[transport]
		all.MessagesToPeer += t.MessagesToPeer
		all.MessagesToClient += t.MessagesToClient
		gauge("sessions", "Open sessions.", float64(open[transport]), "transport", transport)
		counter("sessions_opened_total", "Sessions that were opened.", now.Opened[transport], "transport", transport)
		const bytes, help = "bytes_total", "Bytes relayed; of translated messages, their size in v1."
		counter(bytes, help, t.BytesToPeer, "transport", transport, "direction", "to_peer")
		counter(bytes, help, t.BytesToClient, "transport", transport, "direction", "to_client")
	}
	const messages, help = "messages_total", "Messages translated between v1 and v2."
	counter(messages, help, all.MessagesToPeer, "direction", "to_peer")
	counter(messages, help, all.MessagesToClient, "direction", "to_client")
	for _, reason := range v1v2.Reasons {
		counter("messages_dropped_total", "Messages dropped instead of translated, by reason; Bitcoin Core drops them, too.",
			now.Dropped[reason.String()], "reason", reason.String())
	}

	buckets := make(map[float64]uint64, len(now.Handshakes.Bounds))
	for i, bound := range now.Handshakes.Bounds {
		buckets[bound] = now.Handshakes.Buckets[i]
	}
	handshakes := prometheus.NewDesc("bip324_proxy_handshake_duration_seconds", "Duration of v2 handshakes that succeeded.", nil, nil)
	ch <- prometheus.MustNewConstHistogram(handshakes, now.Handshakes.Count, now.Handshakes.Sum, buckets)
	for speaks, n := range map[string]int{"v2": now.Peers.V2, "v1": now.Peers.V1, "refused_v2": now.Peers.RefusedV2} {
		gauge("peers", "Known peers, by what they speak.", float64(n), "speaks", speaks)
	}

	gauge("message_memory_limit_bytes", "Memory that messages of over 16 KiB may take, all sessions together.", float64(now.MessageMemory.Size))
	gauge("message_memory_bytes", "Memory that messages of over 16 KiB take.", float64(now.MessageMemory.Taken))
	gauge("message_memory_waiting", "Messages that wait for memory.", float64(now.MessageMemory.Waiting))
	if c.LogLost != nil {
		counter("log_lines_lost_total", "Log lines that could not be written, or not in time.", c.LogLost())
	}
}
