package command

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestWrongTransparent(t *testing.T) {
	const rules = "transparent-rules "
	const local = " --transparent 127.0.0.1:1326"
	for args, says := range map[string]string{
		"--transparent 1326":                               "--transparent: \"1326\" is not a valid address; write HOST:PORT",
		"--transparent unix:/s":                            "no connection is redirected to a unix socket; write HOST:PORT, such as 127.0.0.1:1326",
		"--transparent 0.0.0.0:0":                          "redirected clients cannot send a password; add --clients",
		"--transparent [::]:0 --auth user:secret":          "redirected clients cannot send a password; add --clients",
		"--transparent systemd:":                           `"systemd:" is invalid; must be systemd:NAME`,
		"--transparent systemd:a:b":                        `"systemd:a:b" is invalid; must be systemd:NAME`,
		"--transparent systemd:a":                          `systemd passes no socket named "a"`,
		rules:                                              "add --user USER, --service UNIT or --router INTERFACE",
		rules + "--router eth0":                            "connections of eth0 cannot be redirected to a loopback address; add --transparent 0.0.0.0:1326",
		rules + "--user bin --transparent 127.0.0.1:0":     "a rule needs the address and the port",
		rules + "--user bin --transparent localhost:1326":  "a rule needs the address and the port",
		rules + "--user bin --transparent systemd:a":       "a rule needs the address and the port",
		rules + "--user no-such-user-here" + local:         `--user: unknown user "no-such-user-here"`,
		rules + "--user 4294967296" + local:                `--user: unknown user "4294967296"`,
		rules + "--user root" + local:                      "--user: root runs the system's own programs",
		rules + "--user 0" + local:                         "--user: root runs the system's own programs",
		rules + "--service=-x" + local:                     `--service: "-x" is not the name of a unit`,
		rules + "--service=bitcoin*" + local:               `--service: "bitcoin*" is not the name of a unit`,
		rules + "--router eth0;x" + local:                  `--router: "eth0;x" is not the name of an interface`,
		rules + "--router eth0" + local:                    "connections of eth0 cannot be redirected to a loopback address; add --transparent 0.0.0.0:1326",
		rules + "now --user bin" + local:                   `transparent-rules takes no arguments; remove "now"`,
		"check --redirected 127.0.0.1:8333":                "--redirected is about this user's connections; remove it, or 127.0.0.1:8333",
		"check --redirected --listeners":                   "--redirected is about this user's connections; remove it, or --listeners",
		rules + "--router eth0 --transparent 0.0.0.0:1326": "add --clients",
		rules + "--user bin --transparent unix:/s":         "no connection is redirected to a unix socket",

		"--transparent 127.0.0.1:9 --upstream *.onion=socks5://127.0.0.1:9": "--upstream: 127.0.0.1:9 is this proxy's own address",
	} {
		var stdout, stderr bytes.Buffer
		if code := Run(append([]string{"bip324-proxy"}, strings.Fields(args)...), &stdout, &stderr); code != 2 {
			t.Errorf("%s: exit code %d, want 2", args, code)
		}
		checkOneLine(t, args, stderr.String(), says)
		if stdout.Len() > 0 {
			t.Errorf("%s: printed %q, want nothing", args, &stdout)
		}
	}
}

// Without --transparent the rules are for the addresses of the documentation.
func TestUsualTransparentRules(t *testing.T) {
	var usual, given, stderr bytes.Buffer
	rules := strings.Fields("bip324-proxy transparent-rules --user 4000000000")
	if code := Run(rules, &usual, &stderr) + Run(append(rules, "--transparent", "127.0.0.1:1326", "--transparent", "[::1]:1326"), &given, &stderr); code != 0 {
		t.Fatal(&stderr)
	}
	if usual.String() != given.String() || !strings.Contains(usual.String(), "127.0.0.1:1326") {
		t.Errorf("got\n%swant\n%s", &usual, &given)
	}
}

// The rules name each user and interface once, by number and name, and the listeners that they
// can reach.
func TestTransparentRules(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Run(strings.Fields("bip324-proxy transparent-rules --user 4000000000 --user 4000000001 --user 4000000000 --router lan0 --router lan0 --router br-1.5@x "+
		"--transparent 127.0.0.1:1 --transparent 192.168.7.1:2 --transparent [::]:3 --clients 192.168.7.0/24"), &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	for _, want := range []string{
		"elements = { 4000000000, 4000000001 } # uid 4000000000, uid 4000000001\n",
		`elements = { "lan0", "br-1.5@x" }` + "\n",
		"meta nfproto ipv4 meta l4proto tcp dnat ip to 127.0.0.1:1\n",
		"meta nfproto ipv4 meta l4proto tcp dnat ip to 192.168.7.1:2\n",
		"meta nfproto ipv6 meta l4proto tcp redirect to :3\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &stdout)
		}
	}
}

// The user of a unit is looked up like another; an error names the unit.
func TestTransparentRulesOfUnit(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for user, says := range map[string]string{
		"4000000000":        "",
		"no-such-user-here": `--service node.service: unknown user "no-such-user-here"`,
		"root":              "--service node.service: root runs the system's own programs",
		"":                  "--service: node.service runs as root; set User= in the unit",
	} {
		systemctl := "#!/bin/sh\necho LoadState=loaded\necho User=" + user + "\necho DynamicUser=no\n"
		if err := os.WriteFile(dir+"/systemctl", []byte(systemctl), 0o700); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code := Run(strings.Fields("bip324-proxy transparent-rules --service node.service"), &stdout, &stderr)
		if says == "" {
			if code != 0 || !strings.Contains(stdout.String(), "elements = { "+user+" }") {
				t.Errorf("exit code %d: %s%s", code, &stdout, &stderr)
			}
			continue
		}
		if code != 2 {
			t.Errorf("%q: exit code %d, want 2", user, code)
		}
		checkOneLine(t, user, stderr.String(), says)
	}
}

// Sockets from systemd take redirected connections if --transparent has their name, and SOCKS
// clients if not.
func TestTransparentActivated(t *testing.T) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	three, err := net.Listen("unix", t.TempDir()+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer three.Close()
	start := func(names, flags string) *program {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_FDS=3 LISTEN_PID=$$ exec "$0" --log-format json --grace 0 `+flags, os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_BIP324_PROXY_MAIN=1", "LISTEN_FDNAMES="+names)
		for _, l := range []interface{ File() (*os.File, error) }{one.(*net.TCPListener), two.(*net.TCPListener), three.(*net.UnixListener)} {
			f, err := l.File()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
		return launchCommand(t, cmd)
	}
	p := start("a:transparent:c", "--transparent systemd:transparent")
	for i := range 3 {
		if line := p.next(t, "listening"); (line["transparent"] != nil) != (i == 1) {
			t.Errorf("listener %d: the log says %v", i, line)
		}
	}
	if got := exchange(t, "tcp", one.Addr().String(), "\x05\x01\x00", 2); got != "\x05\x00" {
		t.Errorf("the client's socket: answer % x", got)
	}
	p.stop(t)
	for _, c := range []struct{ names, flags, says string }{
		{"a:transparent:c", "", "for redirected connections, which no --transparent uses; add systemd:transparent"},
		{"a:b:c", "--transparent systemd:x", `systemd passes no socket named "x"; start its .socket unit`},
		{"a:b:c", "--transparent systemd:c", "no connection is redirected to the unix socket"},
		{"a:b:c", "--transparent systemd:b --inbound systemd:b=127.0.0.1:9 --inbound-source none --inbound-network regtest", "is also for --inbound"},
	} {
		p := start(c.names, c.flags)
		if err := p.ended(); err == nil || p.cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%s: got %v, want exit code 2", c.flags, err)
		}
		checkOneLine(t, c.flags, p.text.String(), c.says)
	}
}
