package status

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"bip324proxy/proxy"
)

// metricNames returns the names of all metrics in /metrics, including those that a histogram adds.
func metricNames(t *testing.T) (names []string) {
	t.Helper()
	r := registryOf(collector{&Server{Snapshot: busy, Version: "1", LogLost: func() uint64 { return 17 }}})
	r.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
		if f.GetType().String() == "HISTOGRAM" {
			names = append(names, f.GetName()+"_bucket")
		}
	}
	return append(names, "process_resident_memory_bytes") // on most systems
}

var metricName = regexp.MustCompile(`(?:bip324_proxy|process)_[a-z0-9_]+`)

// The dashboard can be imported by Grafana and queries existing metrics only.
func TestDashboard(t *testing.T) {
	b, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Inputs        []struct{ Name, Type string } `json:"__inputs"`
		SchemaVersion int
		Title, UID    string
		Panels        []struct {
			ID          int
			Type, Title string
			Datasource  struct{ UID string }
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr, RefID string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query struct{ Query string }
			}
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Inputs) != 1 || dashboard.Inputs[0].Name != "DS_PROMETHEUS" || dashboard.SchemaVersion < 30 || dashboard.Title == "" || dashboard.UID == "" {
		t.Errorf("got %+v", dashboard)
	}
	names := metricNames(t)
	asked := make(map[string]bool)
	check := func(title, query string) {
		found := metricName.FindAllString(query, -1)
		if len(found) == 0 || strings.Count(query, "(") != strings.Count(query, ")") || strings.Count(query, "{") != strings.Count(query, "}") {
			t.Errorf("%s: got %s", title, query)
		}
		for _, name := range found {
			if asked[name] = true; !slices.Contains(names, name) {
				t.Errorf("%s: the metric %s does not exist", title, name)
			}
		}
	}
	ids := make(map[int]bool)
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Datasource.UID != "${DS_PROMETHEUS}" || len(p.Targets) == 0 || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("got %+v", p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		check(v.Name, v.Query.Query)
	}
	for _, name := range []string{"sessions", "sessions_refused_total", "fallbacks_total", "bytes_total", "handshake_duration_seconds_bucket", "message_memory_bytes", "sessions_shaped", "filler_bytes_total"} {
		if !asked["bip324_proxy_"+name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// docs/status.md has each field, metric and kind, and names no others.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/status.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	names := metricNames(t)
	for _, name := range metricName.FindAllString(text, -1) {
		if !slices.Contains(names, name) && name != "bip324_proxy_" {
			t.Errorf("docs/status.md: %s does not exist", name)
		}
	}
	report, err := json.Marshal((&Server{Snapshot: busy}).report(query{sessions: 10}))
	if err != nil {
		t.Fatal(err)
	}
	documented := []string{"version", "overlay"}
	for _, name := range names {
		if short, ours := strings.CutPrefix(name, "bip324_proxy_"); ours && !strings.HasSuffix(short, "_bucket") {
			documented = append(documented, short)
		}
	}
	for _, m := range regexp.MustCompile(`"([a-z_0-9]+)":`).FindAllSubmatch(report, -1) {
		documented = append(documented, string(m[1]))
	}
	for _, name := range slices.Concat(documented, proxy.RefusalKinds, proxy.InboundRefusalKinds, proxy.FallbackCauses) {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/status.md lacks `%s`", name)
		}
	}
}
