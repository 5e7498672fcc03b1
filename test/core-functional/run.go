package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// limit is a test's time limit. The framework, when interrupted, stops its nodes.
const limit = 10 * time.Minute

// outcome is the result of a test.
type outcome struct {
	err        error  // nil: passed
	line       string // the failing line of the test
	skipped    string // why it did not run, as printed
	output     []byte
	seconds    int
	sessions   int  // v2 sessions of the proxy
	proxyFault bool // the proxy, or microsocks in its place, is to blame for err
	proxyLog   []byte
}

func (w *workshop) runDirect(ctx context.Context, i int, name string) outcome {
	return w.python(ctx, w.direct, name+".py", i, name+".direct")
}

// runThrough runs a test of the changed copy with a new proxy, started as users start it.
func (w *workshop) runThrough(ctx context.Context, i int, name string) outcome {
	proxy, addr, err := w.startProxy(i)
	if err != nil {
		return outcome{err: err, proxyFault: true}
	}
	o := w.python(ctx, w.through, name+".py", i, name+".through", "CORE_FUNCTIONAL_PROXY="+addr)
	if err := proxy.end(); err != nil {
		o.err, o.proxyFault = err, true
	}
	o.proxyLog = proxy.log.Bytes()
	for line := range bytes.Lines(o.proxyLog) {
		var e struct{ Msg, Transport string }
		if err := json.Unmarshal(line, &e); err != nil {
			o.err, o.proxyFault = fmt.Errorf("the proxy printed %q", line), true
			break
		}
		if e.Msg == "session opened" && e.Transport == "v2" {
			o.sessions++
		}
	}
	return o
}

// python runs a script of the tree's functional tests.
func (w *workshop) python(ctx context.Context, tree, script string, i int, tmp string, env ...string) (o outcome) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", filepath.Join(tree, "test/functional", script),
		"--cachedir="+filepath.Join(w.dir, "cache"), "--tmpdir="+filepath.Join(w.dir, tmp), "--portseed="+strconv.Itoa(i))
	if w.inbound {
		cmd.Args = append(cmd.Args, "--v2transport")
	}
	cmd.Env = append(append(os.Environ(), "BITCOIND="+w.bitcoind, "BITCOINCLI="+w.cli, "PYTHONDONTWRITEBYTECODE=1"), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	began := time.Now()
	o.output, o.err = cmd.CombinedOutput()
	o.seconds = int(time.Since(began).Seconds())
	var exit *exec.ExitError
	const skip = 77 // the framework's exit code for it
	switch {
	case ctx.Err() != nil:
		o.err = fmt.Errorf("still running after %v", limit)
	case errors.As(o.err, &exit) && exit.ExitCode() == skip:
		o.err = nil
		_, why, _ := strings.Cut(string(o.output), "Test Skipped: ")
		o.skipped, _, _ = strings.Cut(why, "\n")
	case o.err != nil:
		o.err = errors.New(strings.ReplaceAll(lastError(o.output), w.dir+string(filepath.Separator), ""))
		for _, at := range regexp.MustCompile(regexp.QuoteMeta(script)+`", line (\d+)`).FindAllSubmatch(o.output, -1) {
			o.line = string(at[1]) // the last match is the innermost frame
		}
	}
	return o
}

// lastError returns the last Python error that a failed test printed, such as "AssertionError: …".
func lastError(output []byte) string {
	last := "it fails"
	for line := range strings.Lines(string(output)) {
		line = strings.TrimSpace(line)
		name, _, _ := strings.Cut(line, ":")
		if name, _, _ = strings.Cut(name, "("); !strings.Contains(name, " ") &&
			(strings.HasSuffix(name, "Error") || strings.HasSuffix(name, "Exception")) {
			last = line
		}
	}
	return last[:min(len(last), 120)]
}

type runningProxy struct {
	cmd  *exec.Cmd
	log  bytes.Buffer // complete once end returns
	done chan struct{}
}

// startProxy starts a proxy for the test number i, and returns the address for clients.
func (w *workshop) startProxy(i int) (p *runningProxy, addr string, err error) {
	flags := []string{"--listen", "127.0.0.1:0", "--log-format", "json"}
	if w.inbound {
		flags = append(flags, inboundFlags(i)...)
	}
	p = &runningProxy{cmd: exec.Command(w.proxy, flags...), done: make(chan struct{})}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, "", err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, "", err
	}
	listening := make(chan string, 1)
	go func() {
		defer close(p.done)
		defer close(listening)
		clients, closed := "", 1 // how many listeners are not open yet
		if w.inbound {
			closed += maxNodes
		}
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.log.Write(lines.Bytes())
			p.log.WriteByte('\n')
			var e struct {
				Msg, Addr string
				Inbound   bool
			}
			if json.Unmarshal(lines.Bytes(), &e) != nil || e.Msg != "listening" {
				continue
			}
			if !e.Inbound {
				clients = e.Addr
			}
			if closed--; closed == 0 {
				listening <- clients
			}
		}
	}()
	if addr = <-listening; addr == "" {
		return nil, "", errors.Join(errors.New("the proxy does not listen"), p.cmd.Wait())
	}
	return p, addr, nil
}

// end stops the proxy as users do. It must exit cleanly after every test.
func (p *runningProxy) end() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("the proxy had already exited: %w", err)
	}
	<-p.done
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the proxy: %w", err)
	}
	return nil
}
