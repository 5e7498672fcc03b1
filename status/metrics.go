package status

import (
	"maps"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bip324proxy/proxy"
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
	gauge, counter := sender{ch: ch}.gauge, sender{ch: ch}.counter
	inbound := map[bool]*census{false: newCensus(), true: newCensus()}
	now := c.selected(0, func(s *proxy.SessionInfo) bool {
		inbound[s.Inbound].add(s)
		return false
	})
	gauge("build_info", "1, with the running version.", 1, "version", c.Version, "goversion", runtime.Version())
	gauge("start_time_seconds", "Start of the proxy, in seconds since 1970.", float64(now.Started.UnixMilli())/1000)
	gauge("stopping", "1 if no more clients are accepted, else 0.", map[bool]float64{true: 1}[now.Stopping])
	gauge("listeners", "Addresses on which clients are accepted.", float64(len(now.Listeners)))

	for _, each := range directions(now, inbound) {
		each.collect(sender{ch, each.labels()})
	}
	if in := now.Inbound; in != nil {
		gauge("inbound_pending", "Inbound connections that have sent no VERSION yet.", float64(in.Pending))
		counter("inbound_evicted_total", "Inbound sessions that were ended for a peer of another network.", in.Evicted)
	}
	for speaks, n := range map[string]int{"v2": now.Peers.V2, "v1": now.Peers.V1, "refused_v2": now.Peers.RefusedV2} {
		gauge("peers", "Known peers, by what they speak.", float64(n), "speaks", speaks)
	}

	if c.LogLost != nil {
		counter("log_lines_lost_total", "Log lines that could not be written, or not in time.", c.LogLost())
	}
}

// sender sends metrics that have labels in common.
type sender struct {
	ch     chan<- prometheus.Metric
	common prometheus.Labels
}

// send sends a metric with more labels: pairs of a name and a value.
func (s sender) send(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
	all := prometheus.Labels{}
	maps.Copy(all, s.common)
	for i := 0; i < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	s.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("bip324_proxy_"+name, help, nil, all), kind, value)
}

func (s sender) gauge(name, help string, value float64, labels ...string) {
	s.send(prometheus.GaugeValue, name, help, value, labels...)
}

func (s sender) counter(name, help string, value uint64, labels ...string) {
	s.send(prometheus.CounterValue, name, help, float64(value), labels...)
}

func (s sender) histogram(name, help string, h proxy.Histogram) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	for i, bound := range h.Bounds {
		buckets[bound] = h.Buckets[i]
	}
	s.ch <- prometheus.MustNewConstHistogram(prometheus.NewDesc("bip324_proxy_"+name, help, nil, s.common), h.Count, h.Sum, buckets)
}
