package test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Clients authenticate with a password from a file written on Windows. A trailing space is part of the password; the
// log warns of it without showing the password.
func TestPasswordFileFromWindows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content, password string
		warns             bool
	}{
		"BOM, CRLF": {"\xef\xbb\xbfuser:secret-word\r\n", "secret-word", false},
		"UTF-16":    {"\xff\xfeu\x00s\x00e\x00r\x00:\x00s\x00e\x00c\x00r\x00e\x00t\x00\r\x00\n\x00", "secret", false},
		"space":     {"user:secret-word \r\n", "secret-word ", true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "auth")
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			p := startProxy(t, "--auth-file", file)
			for password, want := range map[string]byte{c.password: 0, c.password + "x": 1, "\ufeff" + c.password: 1} {
				nc, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				nc.SetDeadline(time.Now().Add(patience))
				greeting := append([]byte{5, 1, 2, 1, 4}, "user"...)
				greeting = append(append(greeting, byte(len(password))), password...)
				nc.Write(greeting)
				answer := make([]byte, 4)
				n, _ := nc.Read(answer)
				for n < 4 {
					more, err := nc.Read(answer[n:])
					if n += more; err != nil {
						break
					}
				}
				nc.Close() // the proxy would wait for it when it stops
				if !bytes.Equal(answer[:3], []byte{5, 2, 1}) || (answer[3] == 0) != (want == 0) {
					t.Errorf("with %q: got % x, want status %d", password, answer, want)
				}
			}
			p.cmd.Process.Signal(syscall.SIGTERM)
			<-p.done // the log is complete
			log := strings.Join(p.out.all(), "\n")
			if strings.Contains(log, "begins or ends with a space") != c.warns || strings.Contains(log, "secret") {
				t.Errorf("unexpected log:\n%s", log)
			}
		})
	}
}
