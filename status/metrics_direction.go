package status

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// direction is what the sessions of one direction have in metrics.
type direction struct {
	inbound string // the value of the label, "true" or "false"
	*census
	*proxy.Counts
	limit   int
	states  []proxy.State // of sessions that are not open
	refused []string
	memory  transport.MemoryUsage
}

// directions returns those that now has: there is no inbound one without a listener for peers.
func directions(now proxy.Snapshot, of map[bool]*census) []direction {
	all := []direction{{
		strconv.FormatBool(false), of[false], &now.Counts, now.MaxSessions,
		[]proxy.State{proxy.StateAsking, proxy.StateDialing, proxy.StateGranted, proxy.StateHandshake}, proxy.RefusalKinds, now.MessageMemory,
	}}
	if in := now.Inbound; in != nil {
		all = append(all, direction{
			strconv.FormatBool(true), of[true], &in.Counts, in.MaxSessions, []proxy.State{proxy.StateDialing}, proxy.InboundRefusalKinds, in.MessageMemory,
		})
	}
	return all
}

// labels returns the labels that all metrics of the direction have.
func (d direction) labels() prometheus.Labels { return prometheus.Labels{"inbound": d.inbound} }

// collect sends the direction's metrics.
func (d direction) collect(s sender) {
	live := d.live
	open := map[string]int{"v2": live.V2, "v1": live.V1, "passthrough": live.Passthrough}
	s.gauge("sessions_limit", "Maximum number of live sessions.", float64(d.limit))
	s.gauge("sessions_v1_overlay", "Open sessions on v1 within a network that encrypts: .onion or CJDNS.", float64(live.V1Overlay))
	for _, state := range d.states {
		s.gauge("sessions_pending", "Live sessions that are not open yet.", float64(d.pending[state]), "state", string(state))
	}
	for _, kind := range d.refused {
		s.counter("sessions_refused_total", "Sessions that failed before they were open, by reason.", d.Refused[kind], "reason", kind)
	}
	for _, cause := range proxy.FallbackCauses {
		s.counter("fallbacks_total", "Sessions opened on v1, by cause.", d.Fallbacks[cause], "cause", cause)
	}

	var all proxy.Traffic
	for _, transport := range proxy.Transports {
		t := d.Traffic[transport]
		all.MessagesToPeer += t.MessagesToPeer
		all.MessagesToClient += t.MessagesToClient
		s.gauge("sessions", "Open sessions.", float64(open[transport]), "transport", transport)
		s.counter("sessions_opened_total", "Sessions that were opened.", d.Opened[transport], "transport", transport)
		const bytes, help = "bytes_total", "Bytes relayed; of translated messages, their size in v1."
		s.counter(bytes, help, t.BytesToPeer, "transport", transport, "direction", "to_peer")
		s.counter(bytes, help, t.BytesToClient, "transport", transport, "direction", "to_client")
	}
	const messages, help = "messages_total", "Messages translated between v1 and v2."
	s.counter(messages, help, all.MessagesToPeer, "direction", "to_peer")
	s.counter(messages, help, all.MessagesToClient, "direction", "to_client")
	for _, reason := range v1v2.Reasons {
		s.counter("messages_dropped_total", "Messages dropped instead of translated, by reason; Bitcoin Core drops them, too.",
			d.Dropped[reason.String()], "reason", reason.String())
	}

	for _, shape := range proxy.Shapes {
		s.gauge("sessions_shaped", "Open sessions whose traffic is shaped, by the shape in force.", float64(d.shaped[shape]), "shape", shape)
	}
	const filler, fillerHelp = "filler_bytes_total", "Bytes of decoys, which bytes_total leaves out."
	s.counter(filler, fillerHelp, d.Filler.ToPeer, "direction", "to_peer")
	s.counter(filler, fillerHelp, d.Filler.FromPeer, "direction", "from_peer")
	s.counter("shape_overflows_total", "Times that a backlog was too large for the shape of its session.", d.ShapeOverflows)

	s.histogram("handshake_duration_seconds", "Duration of v2 handshakes that succeeded.", d.Handshakes)
	s.gauge("message_memory_limit_bytes", "Memory that messages of over 16 KiB may take, all sessions together.", float64(d.memory.Size))
	s.gauge("message_memory_bytes", "Memory that messages of over 16 KiB take.", float64(d.memory.Taken))
	s.gauge("message_memory_waiting", "Messages that wait for memory.", float64(d.memory.Waiting))
}
