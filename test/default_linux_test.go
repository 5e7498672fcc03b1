package test

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// By default the proxy listens on both loopback addresses, or on the one that exists if there is no IPv6; the addresses
// of --listen must exist.
func TestDefaultListeners(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	serve := func(flags ...string) *proxy {
		t.Helper()
		return &proxy{program: start(t, "bip324-proxy", binaries.proxy, append([]string{"--log-format", "json"}, flags...)...)}
	}
	ask := func(server string) {
		t.Helper()
		conn, reply := socksRequest{server: server, command: socksConnect, dest: "127.0.0.1:1324"}.send(t)
		conn.Close()
		if !bytes.Equal(reply[:2], []byte{5, 2}) { // a loop to the proxy itself
			t.Errorf("%s: got reply % x, want 05 02", server, reply)
		}
	}
	check := func(want string) {
		t.Helper()
		_, out, _ := run(t, "check")
		if out = strings.Join(strings.Fields(out), " "); !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	p := serve()
	p.awaitListener(t, "127.0.0.1:1324")
	p.awaitListener(t, "[::1]:1324")
	ask("127.0.0.1:1324")
	ask("[::1]:1324")
	conn, reply := socksRequest{server: "127.0.0.1:1324", command: socksConnect, dest: "[::1]:1324"}.send(t)
	conn.Close()
	if reply[1] != 2 {
		t.Errorf("from one listener to the other: got reply % x, want code 2", reply)
	}
	check("[::1]:1324: a SOCKS5 proxy answers")
	p.kill()

	p = serve("--listen", "127.0.0.1:1324")
	p.awaitListener(t, "127.0.0.1:1324")
	check("[::1]:1324: nothing is listening there")
	p.kill()
	for _, upstream := range []string{"127.0.0.1:1324", "[::1]:1324"} {
		if code, _, errs := run(t, "--upstream", "socks5://"+upstream); code != 2 || !strings.Contains(errs, "is this proxy's own address") {
			t.Errorf("--upstream %s: got exit code %d, %s; want 2", upstream, code, errs)
		}
	}

	if err := os.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	p = serve()
	p.awaitListener(t, "127.0.0.1:1324")
	p.await(t, "a line about [::1]", func(e event) bool {
		return e.Level == "INFO" && strings.Contains(e.Msg, "default address skipped")
	})
	ask("127.0.0.1:1324")
	check("[::1]:1324: this machine has no such address")
	p.kill()
	p = serve("--listen", "127.0.0.1:1324", "--listen", "[::1]:1324")
	p.await(t, "that it waits for the given address", func(e event) bool {
		return e.Addr == "[::1]:1324" && strings.Contains(e.Msg, "waiting for an address")
	})
	if !long {
		return
	}
	<-p.done // after a minute
	if all := strings.Join(p.out.all(), "\n"); p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(all, "cannot listen: listen tcp [::1]:1324") {
		t.Errorf("a given address that is missing: %v, %s", p.cmd.ProcessState, all)
	}
}
