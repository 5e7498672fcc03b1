//go:build unix

package command

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/proxy"
	"bip324proxy/settings"
	"bip324proxy/transport"
)

// handshake performs a v2 handshake with the listener at addr, as a peer of regtest.
func handshake(t *testing.T, addr string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := transport.Client(t.Context(), nc, transport.Config{Magic: transport.Regtest.Magic}); err != nil {
		t.Errorf("%s: got %v", addr, err)
	}
}

// The log says what each inbound listener is for, without the public address if addresses are hidden.
func TestInboundInLog(t *testing.T) {
	const node, announced = "127.0.0.1:9", "203.0.113.7:8333"
	for _, shown := range []string{"true", "false"} {
		p := startProgram(t, "--listen", "127.0.0.1:0", "--inbound", "0.0.0.0:0="+node, "--inbound-network", "regtest", "--inbound-source", "none",
			"--inbound-v1", "overlay", "--announce-v2", announced, "--log-addresses="+shown)
		if line := p.next(t, "listening"); line["inbound"] != nil || line["v1_fallback"] != "never" {
			t.Errorf("the log says %v", line)
		}
		line := p.next(t, "listening")
		if line["inbound"] != true || line["network"] != "regtest" || line["inbound_v1"] != "overlay" || line["source"] != "none" || line["node"] != node ||
			(line["announce_v2"] == announced) != (shown == "true") || line["v1_fallback"] != nil {
			t.Errorf("the log says %v", line)
		}
		_, port, _ := net.SplitHostPort(line["addr"].(string))
		handshake(t, net.JoinHostPort("127.0.0.1", port))
		if text := p.stop(t); strings.Contains(text, announced) == (shown == "false") {
			t.Errorf("log-addresses=%s: the log says\n%s", shown, text)
		}
	}
}

// The log says what it means if v1 is allowed, or nothing announced.
func TestInboundAdvice(t *testing.T) {
	for flags, want := range map[string][2]bool{
		"":                               {true, false},
		"--announce-v2=203.0.113.7:8333": {false, false},
		"--inbound-v1=always":            {true, true},
		"--inbound-v1=overlay":           {true, false},
		"--inbound-v1=always --announce-v2=203.0.113.7:8333":   {false, true},
		"--inbound-v1=overlay --announce-v2=203.0.113.7:18444": {false, false},
	} {
		p := startProgram(t, append(strings.Fields(flags), "--listen", "127.0.0.1:0", "--inbound", "127.0.0.1:0=127.0.0.1:9",
			"--inbound-network", "regtest", "--inbound-source", "none")...)
		p.next(t, "listening")
		handshake(t, p.next(t, "listening")["addr"].(string))
		text := p.stop(t)
		if got := [2]bool{strings.Contains(text, "announce-v2 is not set"), strings.Contains(text, "peers without v2 are accepted in plaintext v1")}; got != want {
			t.Errorf("%s: got %v, want %v:\n%s", flags, got, want, text)
		}
	}
}

// An address in use is most likely the node's: the error says where to move it.
func TestInboundInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := runProgram("--listen", "127.0.0.1:0", "--inbound", l.Addr().String()+"=127.0.0.1:9", "--inbound-network", "regtest", "--inbound-source", "none")
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	checkOneLine(t, "an address in use", stderr, "perhaps the node: let the node listen on another one, such as 127.0.0.1:8335 (Bitcoin Core: bind=127.0.0.1:8335;")
	checkOneLine(t, "an address in use", stderr, "to use another address, set --inbound")
}

// A node that is one of the proxy's own listeners would have peers go round in circles.
func TestInboundNodeIsOwnListener(t *testing.T) {
	for listens, nodes := range map[string][]string{
		"127.0.0.1:0": {"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"},
		"0.0.0.0:0":   {"127.0.0.1", "127.0.0.2", "localhost"},
		"[::]:0":      {"127.0.0.1", "[::1]", "localhost"},
	} {
		l, err := net.Listen("tcp", listens)
		if err != nil {
			t.Logf("%s: not run: %v", listens, err)
			continue
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		for _, host := range nodes {
			for _, own := range []bool{true, false} {
				node := host + ":" + port
				if !own {
					node = host + ":9"
				}
				s := &settings.Settings{Inbound: []settings.InboundListener{{Inbound: proxy.Inbound{Node: &inbound.Node{Network: "tcp", Address: node}}}}}
				err := checkNodes(s, []listener{{Listener: l}})
				if (err != nil) != own || own && !strings.Contains(err.Error(), "is this proxy's own listener at "+l.Addr().String()) {
					t.Errorf("node %s, listener %v: got %v", node, l.Addr(), err)
				}
			}
		}
	}
	socket := filepath.Join(t.TempDir(), "socket")
	code, _, stderr := runProgram("--listen", "unix:"+socket, "--inbound", "127.0.0.1:0=unix:"+socket, "--inbound-network", "regtest", "--inbound-source", "none")
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	checkOneLine(t, "a unix socket", stderr, "--inbound: the node unix:"+socket+" is this proxy's own listener at "+socket)
}

// Sockets from systemd let peers in if --inbound has their name, and clients if not.
func TestInboundActivated(t *testing.T) {
	socket := func() (*os.File, string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f, l.Addr().String()
	}
	one, oneAddr := socket()
	two, twoAddr := socket()
	three, threeAddr := socket()
	start := func(names, flags string) *program {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_FDS=3 LISTEN_PID=$$ exec "$0" --log-format json --grace 0 `+flags, os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_BIP324_PROXY_MAIN=1", "LISTEN_FDNAMES="+names)
		cmd.ExtraFiles = []*os.File{one, two, three}
		return launchCommand(t, cmd)
	}
	const regtest = " --inbound-source none --inbound-network regtest"
	p := start("bip324-proxy.socket:inbound:inbound", "--inbound systemd:inbound=127.0.0.1:9"+regtest)
	for i, addr := range []string{oneAddr, twoAddr, threeAddr} {
		line := p.next(t, "listening")
		if line["addr"] != addr || (line["inbound"] == true) != (i > 0) {
			t.Errorf("the log says %v", line)
		}
	}
	if got := exchange(t, "tcp", oneAddr, "\x05\x01\x00", 2); got != "\x05\x00" {
		t.Errorf("the client's socket: answer % x", got)
	}
	handshake(t, twoAddr)
	handshake(t, threeAddr)
	p.stop(t)

	// Without a socket for clients, there are the listeners of --listen.
	p = start("a:a:b", "--listen 127.0.0.1:0 --inbound systemd:a=127.0.0.1:9,systemd:b=127.0.0.1:10"+regtest)
	for i, node := range []any{"127.0.0.1:9", "127.0.0.1:9", "127.0.0.1:10", nil} {
		if line := p.next(t, "listening"); line["node"] != node {
			t.Errorf("listener %d: the log says %v, want node %v", i, line, node)
		}
	}
	p.stop(t)

	for _, c := range []struct{ names, flags, says string }{
		{"a:b:c", "--inbound systemd:inbound=127.0.0.1:9" + regtest, `--inbound: systemd passes no socket named "inbound"; start its .socket unit, which needs FileDescriptorName=inbound, before the service`},
		{"a:inbound:c", "--inbound systemd:a=127.0.0.1:9" + regtest, `--inbound: systemd passes the socket ` + twoAddr + ` for peers, which no --inbound uses; add systemd:inbound=NODE`},
		{"a:b:inbound", "", `for peers, which no --inbound uses`},
		{"a:inbound:c", "--inbound systemd:inbound=" + twoAddr + regtest, "--inbound: the node " + twoAddr + " is this proxy's own listener"},
		{"a:inbound:c", "--inbound systemd:inbound=" + oneAddr + regtest, "--inbound: the node " + oneAddr + " is this proxy's own listener"},
		{"a:inbound:c", "--inbound-source none --inbound systemd:inbound=127.0.0.1:9", `--inbound-network: required, because ` + twoAddr},
	} {
		p := start(c.names, c.flags)
		if err := p.ended(); err == nil || p.cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%s: got %v, want exit code 2", c.flags, err)
		}
		checkOneLine(t, c.flags, p.text.String(), c.says)
	}
}

// A reload changes inbound-v1 and announce-v2, and nothing else of what comes in.
func TestReloadInbound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	const always = "listen = [\"127.0.0.1:0\"]\ninbound-source = \"none\"\ninbound-network = \"regtest\"\n"
	const inbound = always + "inbound = [\"127.0.0.1:0=127.0.0.1:9\"]\n"
	if err := os.WriteFile(file, []byte(inbound), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "--config", file)
	p.next(t, "listening")
	p.next(t, "listening")
	line := p.hangUp(t, file, inbound+"inbound-v1 = \"overlay\"\nannounce-v2 = [\"203.0.113.7:8333\"]\n")
	if line["changed"] != "inbound-v1, announce-v2" {
		t.Errorf("the log says %v", line)
	}
	if line := p.next(t, "plaintext v1 is now allowed to peers where it was not"); line["inbound_v1"] != "overlay" {
		t.Errorf("the log says %v", line)
	}
	line = p.hangUp(t, file, inbound+"inbound-sessions = 7\ninbound-v1 = \"overlay\"\n")
	if line["changed"] != "announce-v2" {
		t.Errorf("the log says %v", line)
	}
	if line := p.next(t, "these changes take effect after a restart"); line["settings"] != "inbound-sessions" {
		t.Errorf("the log says %v", line)
	}
	line = p.hangUp(t, file, always+"inbound = [\"127.0.0.1:0=127.0.0.1:10\"]\n")
	if line["changed"] != "inbound-v1" {
		t.Errorf("the log says %v", line)
	}
	if line := p.next(t, "these changes take effect after a restart"); line["settings"] != "inbound" {
		t.Errorf("the log says %v", line)
	}
	if err := os.WriteFile(file, []byte(always+"inbound-v1 = \"always\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGHUP)
	if line := p.await(t, "reload failed"); !strings.Contains(line["err"].(string), "has no effect without --inbound") {
		t.Errorf("the log says %v", line)
	}
	p.stop(t)
}
