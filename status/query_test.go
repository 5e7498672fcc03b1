package status

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"bip324proxy/proxy"
)

// crowd returns 1052 sessions: one in plaintext, the oldest; one passed through; one in v1 within
// an overlay; one connecting; one inbound; the rest v2.
func crowd() proxy.Snapshot {
	s := idle()
	for i := range 1052 {
		info := proxy.SessionInfo{Number: uint64(i + 1), Transport: "v2", State: proxy.StateOpen, Client: "127.0.0.1:9",
			Dest: fmt.Sprintf("10.0.%d.%d:8333", i/256, i%256), SessionID: fmt.Sprintf("%064x", i)}
		switch i {
		case 0:
			info.Transport, info.SessionID, info.PeerAgent = "v1", "", "/Old:0.1/"
		case 1:
			info.Transport, info.SessionID = "passthrough", ""
		case 2:
			info.Transport, info.SessionID, info.Overlay = "v1", "", true
		case 3:
			info.Transport, info.SessionID, info.State = "", "", proxy.StateDialing
		case 4:
			info.Inbound, info.Source = true, "127.130.1.2:4000"
		case 5:
			info.Shape = "tunnel"
		}
		s.Sessions = append(s.Sessions, info)
	}
	return s
}

func ask(t *testing.T, query string) map[string]any {
	t.Helper()
	r := get(&Server{Snapshot: crowd}, loopback, "GET", "/api/status"+query, "127.0.0.1:1325")
	if r.StatusCode != 200 {
		t.Fatalf("%s: code %d", query, r.StatusCode)
	}
	return decode(t, r.Body)
}

// Plaintext sessions are listed first, however many encrypted ones are newer, and a report has the
// number of those left out.
func TestPlaintextFirst(t *testing.T) {
	for query, want := range map[string]string{
		"":                               "1 2 1052 1051 / found 1052, left out 52",
		"?sessions=300":                  "1 2 1052 1051 / found 1052, left out 752",
		"?sessions=1":                    "1 / found 1052, left out 1051",
		"?sessions=0":                    " / found 1052, left out 1052",
		"?transport=v1":                  "1 3 / found 2, left out 0",
		"?transport=plaintext":           "1 / found 1, left out 0",
		"?transport=passthrough":         "2 / found 1, left out 0",
		"?transport=pending":             "4 / found 1, left out 0",
		"?transport=v2":                  "1052 1051 1050 1049 / found 1048, left out 48",
		"?q=10.0.0.0":                    "1 / found 1, left out 0",
		"?q=10.0.4.&sessions=2":          "1052 1051 / found 28, left out 26",
		"?q=OLD":                         "1 / found 1, left out 0",
		"?q=plaintext+127.0.0.1":         "1 / found 1, left out 0",
		"?q=dialing":                     "4 / found 1, left out 0",
		"?q=tunnel":                      "6 / found 1, left out 0",
		"?q=inbound":                     "5 / found 1, left out 0",
		"?q=127.130.1.2":                 "5 / found 1, left out 0",
		"?inbound=true":                  "5 / found 1, left out 0",
		"?inbound=false&sessions=1":      "1 / found 1051, left out 1050",
		"?inbound=":                      "1 2 1052 1051 / found 1052, left out 52",
		"?inbound=true&transport=v1":     " / found 0, left out 0",
		"?q=10.0.0.0&transport=v2":       " / found 0, left out 0",
		"?q=198.51.100.1":                " / found 0, left out 0",
		"?q=++&transport=":               "1 2 1052 1051 / found 1052, left out 52",
		"?q=" + fmt.Sprintf("%064x", 77): "78 / found 1, left out 0",
	} {
		got := ask(t, query)
		sessions := got["sessions"].([]any)
		var numbers []string
		for _, s := range sessions[:min(4, len(sessions))] {
			numbers = append(numbers, fmt.Sprint(s.(map[string]any)["number"]))
		}
		if got := fmt.Sprintf("%s / found %v, left out %v", strings.Join(numbers, " "), got["sessions_found"], got["sessions_left_out"]); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
		if live := got["live"].(map[string]any); live["all"] != 1052.0 || live["v1"] != 2.0 || got["encrypted"] != "partly" {
			t.Errorf("%q: live %v, encrypted %v; want the numbers of all sessions", query, live, got["encrypted"])
		}
	}
}

func TestInvalidQuery(t *testing.T) {
	for query, want := range map[string]string{
		"?transport=v3":                        `transport="v3" is invalid; must be one of v2, v1, passthrough, plaintext, pending`,
		"?transport=V1":                        "is invalid",
		"?transport=v1&transport=v2":           `"transport" is given 2 times`,
		"?q=a&q=b":                             `"q" is given 2 times`,
		"?transprt=v1":                         `unknown parameter "transprt"`,
		"?q=" + strings.Repeat("a", 257):       "q has 257 bytes; must be at most 256",
		"?q=%zz":                               "the query is invalid",
		"?q=a;b":                               "the query is invalid",
		"?sessions=many":                       `sessions="many" is invalid`,
		"?inbound=yes":                         `inbound="yes" is invalid; must be true or false`,
		"?" + strings.Repeat("x", 5000) + "=1": "unknown parameter",
		"?transport=" + strings.Repeat("x", 5000): "is invalid",
	} {
		r := get(&Server{Snapshot: crowd}, loopback, "GET", "/api/status"+query, "127.0.0.1:1325")
		b := make([]byte, 10000)
		n, _ := r.Body.Read(b)
		if text := string(b[:n]); r.StatusCode != 400 || !strings.Contains(text, want) || len(text) > 300 {
			t.Errorf("%.60s: got %d %.300s", query, r.StatusCode, text)
		}
	}
}

// Parsing a query never panics, and the sessions found are in order.
func FuzzQuery(f *testing.F) {
	f.Add("sessions=5&transport=v1&q=a+b")
	f.Add("q=%e2%80%ae&sessions=-1")
	some := crowd()
	some.Sessions = some.Sessions[:50]
	server := &Server{Snapshot: func() proxy.Snapshot { return some }}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			return
		}
		values, err := url.ParseQuery(raw)
		if err != nil || len(values.Get("q")) > maxSearch {
			t.Fatalf("%q was accepted: %v", raw, err)
		}
		r := server.report(q)
		listed, found := r.Sessions, r.Found
		if len(listed) != min(found, q.sessions) {
			t.Errorf("%d listed of %d found, want at most %d", len(listed), found, q.sessions)
		}
		for i := range listed {
			if i > 0 && rank(&listed[i]) < rank(&listed[i-1]) {
				t.Errorf("%d comes after %d", listed[i].Number, listed[i-1].Number)
			}
		}
	})
}
