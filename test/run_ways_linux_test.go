package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/test/hostile"
)

// Programs outside reach a published port of the command: many at once, both ways to the end of the stream.
func TestRunPublish(t *testing.T) {
	t.Parallel()
	requireRun(t)
	requireInstalled(t, python)
	addr := freeAddr(t)
	socket := filepath.Join(t.TempDir(), "socket")
	p, end := startToEnd(t, "--publish", addr+"=7", "--publish", "unix:"+socket+"=7", "--publish", "127.0.0.1:0=9",
		"--", python, "testdata/direct/echo.py", "7") // its own ports below 1024 are a user's, too
	p.awaitLine(t, "the server", func(line string) bool { return line == "ready" })
	var all sync.WaitGroup
	for i := range 100 {
		network, at := "tcp", addr
		if i%2 > 0 {
			network, at = "unix", socket
		}
		all.Go(func() {
			if err := echoAt(network, at); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		})
	}
	all.Wait()
	end()
}

// startToEnd starts `run`. The caller calls end, which ends it with its command.
func startToEnd(t *testing.T, args ...string) (p *program, end func()) {
	t.Helper()
	p = start(t, "run", binaries.proxy, append([]string{"run"}, args...)...)
	end = func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Errorf("run is still running %v after a SIGTERM", patience)
		}
	}
	t.Cleanup(end) // also if the test fails: a command that outlives run keeps its output open
	return p, end
}

// echoAt sends bytes to an echo server, ends the stream, and reads until its end.
func echoAt(network, addr string) error {
	nc, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	sent := bytes.Repeat([]byte(addr), 20_000)
	wrote := make(chan error, 1)
	go func() {
		_, err := nc.Write(sent)
		nc.(interface{ CloseWrite() error }).CloseWrite()
		wrote <- err
	}()
	got, err := io.ReadAll(nc)
	err = errors.Join(err, <-wrote) // a reset is an error of only one of them
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("got %d bytes, not the %d that were sent", len(got), len(sent))
	}
	return err
}

// A published port at which the command does not listen resets connections, and the log says so once.
func TestRunPublishNobody(t *testing.T) {
	t.Parallel()
	requireRun(t)
	addr := freeAddr(t)
	p, end := startToEnd(t, "--publish", addr+"=8332", "--", "sh", "-c", "echo ready; exec sleep 1000")
	p.awaitLine(t, "the command", func(line string) bool { return line == "ready" })
	for range 3 {
		if err := echoAt("tcp", addr); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("got %v, want a reset", err)
		}
	}
	p.awaitLine(t, "the warning", func(line string) bool { return strings.Contains(line, "cannot connect to a published port") })
	end()
	if n := p.out.count("cannot connect to a published port"); n != 1 {
		t.Errorf("the warning is there %d times, want once", n)
	}
}

// With --proxy a running proxy makes the connections and looks names up. While it is down nothing gets out.
func TestRunWithProxy(t *testing.T) {
	t.Parallel()
	requireInstalled(t, python, "setpriv")
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		p := startProxy(t)
		for _, fence := range []string{"namespace", "seccomp"} {
			for _, host := range []string{runNode4, runNode6, runName4} {
				_, code, stdout := runOnce(t, ordinaryUser, versionFrom(t), []string{"--proxy", p.addr, "--fence", fence},
					python, copyTo(t, dirOf(t, ordinaryUser), "testdata/direct/client.py"), host, w.port)
				name, payload, err := hostile.ReadV1On(regtestMagic, bytes.NewReader(stdout))
				if code != 0 || err != nil || name != "version" || !bytes.Contains(payload, []byte("/btcd")) {
					t.Fatalf("%s to %s: got exit code %d, %s (%v) %q", fence, host, code, name, err, payload)
				}
			}
		}
		for range 6 {
			if e := p.opened(t); e.Transport != "v2" {
				t.Errorf("the proxy logged %+v, want transport v2", e)
			}
		}
		p.kill()
		script := copyTo(t, dirOf(t, ordinaryUser), "testdata/direct/client.py")
		r, code, stdout := runOnce(t, ordinaryUser, versionFrom(t), []string{"--proxy", p.addr}, "sh", "-c",
			`for host; do "`+python+`" "`+script+`" $host `+w.port+` </dev/null 2>/dev/null && echo reached; done; exit 5`, "sh", runNode4, runNode6, runName6, runNode4)
		if code != 5 || len(stdout) > 0 {
			t.Errorf("without the proxy: got exit code %d, %q", code, stdout)
		}
		if asked := w.asked(); slices.Contains(asked, runName6+".") {
			t.Errorf("without the proxy DNS was asked: %q", asked)
		}
		told := 0
		for _, e := range r.events(t) {
			if strings.HasPrefix(e.Msg, "the proxy of --proxy cannot be used") && e.Level == "WARN" {
				told++
			}
		}
		if told != 1 {
			t.Errorf("the log says %d times that the proxy is down, want once", told)
		}
	})
}

// Connections beyond the limit are reset, and a line says so.
func TestRunTooManyConnections(t *testing.T) {
	t.Parallel()
	requireInstalled(t, python, "setpriv")
	const most, number = 20, 120
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		p := startProxy(t)
		silent, err := net.Listen("tcp", net.JoinHostPort(runNode4, "9"))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close() // it accepts nothing, but the system does
		script := copyTo(t, dirOf(t, ordinaryUser), "testdata/direct/limit.py")
		for _, flags := range [][]string{{}, {"--fence", "seccomp"}, {"--proxy", p.addr}} {
			r, code, stdout := runOnce(t, ordinaryUser, nil, append(flags, "--max-sessions", fmt.Sprint(most)), python, script, fmt.Sprint(number), runNode4, "9")
			if want := fmt.Sprintln(number - most); code != 0 || string(stdout) != want {
				t.Errorf("%q: got exit code %d and %q resets, want %s", flags, code, stdout, want)
			}
			r.await(t, "a line about the limit", func(e event) bool {
				return strings.Contains(e.Msg+e.Reason, "too many connections") || strings.Contains(e.Reason, "the limit of sessions")
			})
		}
		reached(t, w)
	})
}

// reached makes a connection to the node that the eavesdropper of w hears.
func reached(t *testing.T, w *runWorld) {
	t.Helper()
	w.reach(t, 0, []string{python, copyTo(t, dirOf(t, 0), "testdata/direct/client.py")}, runNode4)
}
