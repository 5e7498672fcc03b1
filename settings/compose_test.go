package settings

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The compose files have valid settings, connect bitcoind and btcd to the proxy's address once it
// is healthy, and publish no port but that of inbound.yaml, where peers come in. btcd cannot use a
// unix socket.
func TestComposeFiles(t *testing.T) {
	files, err := filepath.Glob("../packaging/compose/*.yaml")
	if err != nil || len(files) != 4 {
		t.Fatalf("got %v, %v", files, err)
	}
	variable := regexp.MustCompile(`(?m)^      (BIP324_PROXY_[A-Z0-9_]+): (\S+)$`)
	proxyFlag := regexp.MustCompile(`command: \[--?proxy=([^,\]]+)`)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		var environ []string
		text = strings.ReplaceAll(text, "${ANNOUNCE_V2:?}", "203.0.113.7:8333")
		for _, match := range variable.FindAllStringSubmatch(text, -1) {
			environ = append(environ, match[1]+"="+match[2])
		}
		if n := strings.Count(text, "BIP324_PROXY_"); n != len(environ) || n == 0 {
			t.Errorf("%s: %d of %d settings are known", file, len(environ), n)
		}
		said, err := readEnvironment(environ)
		if err != nil {
			t.Errorf("%s: got %v", file, err)
			continue
		}
		s, err := combine([]map[string]given{said})
		if err != nil {
			t.Errorf("%s: got %v", file, err)
			continue
		}
		listen, _, _ := strings.Cut(s.Listen[0], "?")
		clients := proxyFlag.FindAllStringSubmatch(text, -1)
		for _, client := range clients {
			if client[1] != listen {
				t.Errorf("%s: a client connects to %q, but the proxy listens on %q", file, client[1], s.Listen)
			}
		}
		want := 2
		if strings.HasPrefix(listen, "unix:") {
			want = 1
		}
		if n := strings.Count(text, "condition: service_healthy"); len(clients) != want || n != want {
			t.Errorf("%s: %d clients, %d of them wait for the proxy; want %d", file, len(clients), n, want)
		}
		if len(s.Inbound) > 0 {
			node := s.Inbound[0].Node.Address
			for _, must := range []string{"\n    ports: [\"8333:8333\"]\n", "\"-bind=" + node + "\"", "\"--listen=" + node + "\"", "\"-externalip=203.0.113.7:8333\"", "\"--externalip=203.0.113.7:8333\""} {
				if !strings.Contains(text, must) {
					t.Errorf("%s lacks %s", file, must)
				}
			}
			text = strings.Replace(text, "\n    ports: [", "\n    ", 1)
		}
		for _, line := range strings.Split(text, "\n") {
			if key := strings.TrimSpace(line); slices.Contains([]string{"ports:", "expose:", "privileged:"}, strings.Fields(key + " -")[0]) || strings.HasPrefix(key, "network_mode: host") || strings.Contains(line, "\t") {
				t.Errorf("%s has %q", file, line)
			}
		}
		for _, host := range s.Clients { // Core has that address, the proxy the one it listens on
			if !strings.Contains(text, "ipv4_address: "+host+"\n") {
				t.Errorf("%s: no container has the address %s", file, host)
			}
		}
		if host, _, tcp := strings.Cut(s.Listen[0], ":1324"); tcp && host != "127.0.0.1" && !strings.Contains(text, "ipv4_address: "+host+"\n") {
			t.Errorf("%s: no container has the address %s", file, host)
		}
		for _, must := range []string{"dockerfile: packaging/Dockerfile", "read_only: true", "cap_drop: [ALL]", "${BITCOIND_IMAGE:-", "test: [CMD, /bip324-proxy, check, --listeners"} {
			if !strings.Contains(text, must) {
				t.Errorf("%s lacks %s", file, must)
			}
		}
	}
}
