package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// patience bounds the wait for a program to be ready.
const patience = time.Minute

// program is a running process whose output is in a file.
type program struct {
	name string
	cmd  *exec.Cmd
	log  string // path
	done chan struct{}
	proc *process.Process
}

// build compiles a package of go.mod and returns the program's path.
func build(ctx context.Context, dir, name, pkg string) (string, error) {
	path := filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// start runs a program with a directory of dir as its home; its output goes to a file in logs.
func start(dir, logs, name, path string, args ...string) (*program, error) {
	home := filepath.Join(dir, name)
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(logs, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &program{name: name, cmd: exec.Command(path, args...), log: log.Name(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(environment(), "HOME="+home, "LOCALAPPDATA="+home, "APPDATA="+home)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait() // what ended too early is reported by those who need it
	}()
	if p.proc, err = process.NewProcess(int32(p.cmd.Process.Pid)); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// environment returns the environment without settings of the proxy, which would change what is recorded.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "BIP324_PROXY_") })
}

func (p *program) stop() {
	if p != nil {
		p.cmd.Process.Kill() // fails only if it has ended
		<-p.done
	}
}

// cpu returns the CPU time that the program has used.
func (p *program) cpu() (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	times, err := p.proc.Times()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.name, err)
	}
	return time.Duration((times.User + times.System) * float64(time.Second)), nil
}

// await polls until ready returns true.
func (p *program) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.done:
			return p.fail(errors.New("it has ended"))
		case <-ctx.Done():
			return p.fail(fmt.Errorf("it is not ready: %w", ctx.Err()))
		}
	}
	return nil
}

// fail returns an error with the end of the program's output.
func (p *program) fail(err error) error {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("%s: %w; its last lines:\n%s", p.name, err, strings.Join(lines[max(0, len(lines)-10):], "\n"))
}

// freeAddr returns an unused loopback address, for programs that cannot be given port 0. The port is below the range of
// ephemeral ports, so that no connection takes it first.
func freeAddr() (string, error) {
	const lowest, end = 10_000, 32_000
	var err error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(end-lowest)))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no port is free: %w", err)
}
