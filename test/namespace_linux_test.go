package test

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// namespace runs the test again in new network and mount namespaces, with only loopback up, and returns true there. In
// the original process it waits for that run and returns false. It needs root. More flags make more namespaces.
func namespace(t *testing.T, more ...uintptr) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		command(t, "ip", "link", "set", "lo", "up")
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getuid() != 0 {
		notRun(t, "a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		notRun(t, "ip(8) is missing; apt-get install iproute2")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), inNamespace+"="+binaries.proxy)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	for _, flag := range more {
		cmd.SysProcAttr.Cloneflags |= flag
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		notRun(t, "namespaces are not allowed here: %v", err)
	}
	t.Logf("in a namespace:\n%s", out)
	if why := whySkipped(string(out)); err == nil && why != "" {
		notRun(t, "%s", why)
	}
	if err != nil {
		t.Error(err)
	}
	return false
}

// command runs a system command.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// useNameservers sets the DNS servers of the namespace.
func useNameservers(t *testing.T, servers ...string) {
	t.Helper()
	var conf []byte
	for _, s := range servers {
		conf = append(conf, "nameserver "+s+"\n"...)
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, conf, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(path, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount("/etc/resolv.conf", syscall.MNT_DETACH) })
}

// serveDNS answers A queries with 127.0.0.1 and AAAA queries with no address; it drops queries for which silent returns
// true.
func serveDNS(t *testing.T, addr string, silent func(ipv6 bool) bool) {
	t.Helper()
	c, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12 + bytes.IndexByte(b[12:n], 0) + 5 // end of the question
			ipv6 := binary.BigEndian.Uint16(b[end-4:]) == 28
			if silent(ipv6) {
				continue
			}
			answer := append([]byte{}, b[:end]...)
			copy(answer[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
			if !ipv6 {
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
			}
			c.WriteTo(answer, from)
		}
	}()
}

func always(bool) bool { return true }
func never(bool) bool  { return false }

// within fails the test if f takes longer than limit.
func within(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %v, want at most %v", what, took, limit)
	}
}
