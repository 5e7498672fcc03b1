package command

import (
	"bytes"
	"strings"
	"testing"

	"bip324proxy/proxy"
)

// The error about a command line of run says what to write, with the exit code of a failure of
// run.
func TestRunArguments(t *testing.T) {
	for args, says := range map[string]string{
		"run":                                        "run needs a command: write bip324-proxy run -- COMMAND [ARG…]; to run only the proxy, write bip324-proxy without run",
		"run --":                                     "run needs a command",
		"run --pulbish x -- true":                    "unknown flag --pulbish; did you mean --publish?",
		"run --publish -- true":                      "--publish needs a value; write --publish HOST:PORT=PORT",
		"run --fence jail -- true":                   `--fence: "jail" is invalid; must be namespace, seccomp or auto`,
		"run --log-file= -- true":                    "--log-file: must not be empty; omit it for stderr",
		"run --publish 8332 -- true":                 `--publish: "8332" is invalid; must be HOST:PORT=PORT, such as 127.0.0.1:8332=8332`,
		"run --publish 8332=8332 -- true":            `--publish: "8332" is not a valid address`,
		"run --publish :8332=8332 -- true":           `--publish: ":8332" has no host`,
		"run --publish 127.0.0.1:8332=rpc -- true":   `--publish: "127.0.0.1:8332=rpc" ends with an invalid port; must be from 1 to 65535`,
		"run --publish 127.0.0.1:8332=0 -- true":     "ends with an invalid port",
		"run --publish 127.0.0.1:8332=65536 -- true": "ends with an invalid port",
		"run --publish 127.0.0.1:8332=1 --publish 127.0.0.1:8332=2 -- true":     "--publish: 127.0.0.1:8332 is given twice; remove one, or use another port",
		"run --publish 127.0.0.1:8332=1 --fence seccomp -- true":                "--publish: has no effect with --fence seccomp",
		"run --proxy localhost -- true":                                         "--proxy: the address is invalid; must be that of a bip324-proxy's --listen",
		"run --proxy http://user:hunter2@127.0.0.1:1324 -- true":                "--proxy: the address is invalid",
		"run --proxy 127.0.0.1:1324 --v1-fallback always -- true":               "--v1-fallback: has no effect with run --proxy: that proxy's own settings count; remove it, or --proxy",
		"--deny *:25 run --proxy 127.0.0.1:1324 -- true":                        "--deny: has no effect with run --proxy",
		"run --proxy 127.0.0.1:1324 --upstream socks5://127.0.0.1:9050 -- ls x": "--upstream: has no effect with run --proxy",
		"run --listen nowhere -- true":                                          `--listen: "nowhere"`,
		"--publish 127.0.0.1:1=1 run -- true":                                   "--publish is a flag of run; write it after the command: bip324-proxy run --publish",
	} {
		want := exitRunFailed
		if strings.HasPrefix(args, "--publish") {
			want = 2 // run is not reached
		}
		var stdout, stderr bytes.Buffer
		if code := Run(append([]string{"bip324-proxy"}, strings.Fields(args)...), &stdout, &stderr); code != want {
			t.Errorf("%s: exit code %d, want %d", args, code, want)
		}
		checkOneLine(t, args, stderr.String(), says)
		if strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("%s: shows a password: %s", args, &stderr)
		}
	}
}

// The address of --proxy is written like that of a listener, or as a URL.
func TestParseProxy(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:1324":                      "socks5://127.0.0.1:1324",
		"[::1]:1324":                          "socks5://[::1]:1324",
		"localhost:1324":                      "socks5://localhost:1324",
		"unix:/run/bip324-proxy/socks":        "socks5+unix:///run/bip324-proxy/socks",
		"socks5://user:word@127.0.0.1:1324":   "socks5://127.0.0.1:1324",
		"user:word@127.0.0.1:1324":            "socks5://127.0.0.1:1324",
		"socks5+unix:///run/bip324-proxy.s":   "socks5+unix:///run/bip324-proxy.s",
		"socks5+unix://user:word@/run/bip324": "socks5+unix:///run/bip324",
	} {
		up, err := parseProxy(text)
		if err != nil || up.String() != want {
			t.Errorf("%s: got %v, %v; want %s", text, up, err, want)
		} else if hasUser := strings.Contains(text, "@"); hasUser != (up.Credentials != nil) {
			t.Errorf("%s: got the credentials %v", text, up.Credentials)
		}
	}
}

// The summary names what there was, and refusals by kind.
func TestRunSummary(t *testing.T) {
	for _, test := range []struct {
		opened, refused map[string]uint64
		failing         string
		hide            bool
		lookups         uint64
		want            string
	}{
		{nil, map[string]uint64{"dial": 0}, "", false, 0, "bip324-proxy: the command made no connection\n"},
		{map[string]uint64{"v2": 3, "v1": 0}, nil, "", false, 2, "bip324-proxy: connections: 3 on v2; names looked up: 2\n"},
		{map[string]uint64{"v2": 3, "v1": 1, "passthrough": 2}, map[string]uint64{"dial": 4, "denied": 1}, "cannot connect", false, 0,
			"bip324-proxy: connections: 3 on v2, 1 on v1 by fallback, 2 passed through, 5 refused (1 denied, 4 dial)\n"},
		{nil, map[string]uint64{"dial": 4}, "cannot connect: connection refused", false, 1,
			"bip324-proxy: connections: 4 refused (4 dial), most often: cannot connect: connection refused; names looked up: 1\n"},
		{nil, map[string]uint64{"resolve": 4}, "a name", true, 0, "bip324-proxy: connections: 4 refused (4 resolve)\n"},
	} {
		var lines bytes.Buffer
		g := &guest{lines: &lines, summary: func() summary {
			now := proxy.Snapshot{Counts: proxy.Counts{Opened: test.opened, Refused: test.refused}}
			if test.failing != "" {
				now.Failing = &proxy.Failing{Reason: test.failing}
			}
			return serverSummary(now, test.hide)
		}}
		g.lookups.Store(test.lookups)
		if g.tellSummary(); lines.String() != test.want {
			t.Errorf("got %q, want %q", &lines, test.want)
		}
	}
}
