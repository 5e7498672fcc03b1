//go:build unix

package command

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangUp writes content to the program's configuration file, reloads it and returns the log line
// about the reload.
func (p *program) hangUp(t *testing.T, file, content string) map[string]any {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p.signalHangup(t)
}

func (p *program) signalHangup(t *testing.T) map[string]any {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	return p.await(t, "configuration")
}

// await returns the next line of the log whose message contains what.
func (p *program) await(t *testing.T, what string) map[string]any {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the program exited:\n%s", &p.text)
			}
			if strings.Contains(line["msg"].(string), what) {
				return line
			}
		case <-timeout:
			t.Fatalf("no line with %q", what)
		}
	}
}

// socksTo connects to dest through the proxy and returns the connection and the reply code.
func socksTo(t *testing.T, proxy, dest string) (net.Conn, byte) {
	t.Helper()
	nc, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	to, err := net.ResolveTCPAddr("tcp", dest)
	if err != nil {
		t.Fatal(err)
	}
	nc.Write(slices.Concat([]byte("\x05\x01\x00\x05\x01\x00\x01"), to.IP.To4(), binary.BigEndian.AppendUint16(nil, uint16(to.Port))))
	b := make([]byte, 12)
	if _, err := io.ReadFull(nc, b); err != nil {
		t.Fatal(err)
	}
	return nc, b[3]
}

func wantEcho(t *testing.T, nc net.Conn) {
	t.Helper()
	const says = "neither SOCKS nor Bitcoin, but long enough"
	io.WriteString(nc, says)
	b := make([]byte, len(says))
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != says {
		t.Errorf("echo %q, %v", b, err)
	}
}
