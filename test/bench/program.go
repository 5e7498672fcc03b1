package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// program is a running process that relays sessions.
type program struct {
	cmd   *exec.Cmd
	addr  string // its SOCKS5 address
	peers string // where it takes peers in, with --inbound
	proc  *process.Process
}

// bench is the state that all scenarios share.
type bench struct {
	quick       bool
	rounds      int      // how often the proxy and its limit alternate, so that disturbances affect both
	descriptors int      // limit per process
	dir         string   // temporary
	binary      string   // bip324-proxy
	relay       *program // copying
	proxy       *program
	v1, v2      *node
	after       string // a table of other programs
	points      points // of the growth scenarios
}

func newBench(quick bool, rounds int) (b *bench, err error) {
	b = &bench{quick: quick, rounds: rounds}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	b.descriptors = descriptors()
	if b.dir, err = os.MkdirTemp("", "bip324-bench"); err != nil {
		return b, err
	}
	b.binary = filepath.Join(b.dir, "bip324-proxy")
	if out, err := exec.Command("go", "build", "-o", b.binary, "bip324proxy").CombinedOutput(); err != nil {
		return b, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if b.v1, err = listenV1(); err != nil {
		return b, err
	}
	if b.v2, err = listenV2("127.0.0.1"); err != nil {
		return b, err
	}
	if b.relay, err = b.startRelay(copying); err != nil {
		return b, err
	}
	b.proxy, err = b.startProxy()
	return b, err
}

func (b *bench) close() {
	for _, p := range []*program{b.relay, b.proxy} {
		p.stop()
	}
	os.RemoveAll(b.dir)
}

// size returns n, or less for a quick run.
func (b *bench) size(n int) int {
	if b.quick {
		return max(1, n/50)
	}
	return n
}

// startProxy runs the proxy with its log in a file, as most users run it.
func (b *bench) startProxy(flags ...string) (*program, error) {
	log, err := os.CreateTemp(b.dir, "log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{"--listen", "127.0.0.1:0", "--log-format", "json"}, flags...)
	p := &program{cmd: exec.Command(b.binary, args...)}
	p.cmd.Stderr = log
	if err := p.start(); err != nil {
		return nil, err
	}
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(log.Name())
		for line := range strings.Lines(string(text)) {
			var event struct {
				Msg, Addr string
				Inbound   bool
			}
			switch {
			case json.Unmarshal([]byte(line), &event) != nil || event.Msg != "listening":
			case event.Inbound:
				p.peers = event.Addr
			default:
				p.addr = event.Addr
			}
		}
		if p.addr != "" && (p.peers != "" || !slices.Contains(flags, "--inbound")) {
			return p, nil
		}
	}
	p.stop()
	text, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("the proxy does not listen: %s", text)
}

// startRelay runs this program as a relay that passes bytes on in this way.
func (b *bench) startRelay(way string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &program{cmd: exec.Command(self, relayCommand, way)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	p.addr = strings.TrimSpace(line)
	return p, err
}

func (p *program) start() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	var err error
	p.proc, err = process.NewProcess(int32(p.cmd.Process.Pid))
	return err
}

func (p *program) stop() {
	if p != nil && p.cmd.Process != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// cpu returns the user and system CPU time, in seconds, that the process has used so far.
func (p *program) cpu() float64 {
	t, err := cpuTime(p.proc.Pid)
	if err != nil {
		panic(err) // the process has died: later figures would be meaningless
	}
	return t.Seconds()
}

// resident returns the process's resident memory, in bytes.
func (p *program) resident() float64 {
	m, err := p.proc.MemoryInfo()
	if err != nil {
		panic(err)
	}
	return float64(m.RSS)
}

// path is a way from the client to a node.
type path struct {
	via *program // nil: direct
	to  *node
}

func (b *bench) viaProxy() path { return path{b.proxy, b.v2} }
func (b *bench) viaRelay() path { return path{b.relay, b.v1} }
func (b *bench) directly() path { return path{nil, b.v1} }
