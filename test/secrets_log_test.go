package test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// Secrets that must not appear in a log, in any encoding.
const (
	logUser, logPassword = "front-user-7f3a", "front-password-91bd"
	upUser, upPassword   = "upstream-user-2c4e", "upstream-password-8d0f"
	wrongPassword        = "mistyped-password-5a6b"
	logPayload           = "payload-of-a-message-3e9c"
)

// login returns a SOCKS greeting with a user name and a password.
func login(user, password string) []byte {
	return slices.Concat([]byte{5, 1, 2, 1, byte(len(user))}, []byte(user), []byte{byte(len(password))}, []byte(password))
}

// startLogging runs the program with that log level and format.
func startLogging(t *testing.T, level, format string, flags ...string) (p *program, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the log may lack the listening address
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	p = start(t, "bip324-proxy", binaries.proxy, append([]string{"--listen", addr, "--log-level", level, "--log-format", format}, flags...)...)
	eventually(t, "the program listens", func() bool {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	return p, addr
}

// No log, at any level, and no goroutine dump contains a password, a key or message contents.
func TestLogsHoldNoSecret(t *testing.T) {
	for _, c := range [][2]string{{"debug", "json"}, {"debug", "text"}, {"info", "text"}, {"warn", "json"}, {"error", "text"}} {
		t.Run(c[0]+" "+c[1], func(t *testing.T) {
			t.Parallel()
			behind, behindAddr := startLogging(t, c[0], c[1], "--auth", upUser+":"+upPassword)
			front, addr := startLogging(t, c[0], c[1], "--auth", logUser+":"+logPassword,
				"--upstream", fmt.Sprintf("socks5://%s:%s@%s", upUser, upPassword, behindAddr))
			astray, astrayAddr := startLogging(t, c[0], c[1], "--upstream", fmt.Sprintf("socks5://%s:%s@%s", upUser, wrongPassword, behindAddr))

			secrets := map[string][]byte{"user": []byte(logUser), "password": []byte(logPassword), "upstream's user": []byte(upUser),
				"upstream's password": []byte(upPassword), "wrong password": []byte(wrongPassword), "payload": []byte(logPayload)}
			keys := make(chan *hostile.Keys, 20)
			peers := []func(nc *net.TCPConn){
				func(nc *net.TCPConn) { // follows BIP324
					if e, err := (hostile.Script{}).Shake(nc, false); err == nil {
						keys <- &e.Keys
						e.Send(hostile.V2("tx", []byte(logPayload)))
						e.Receive()
						e.Receive()
					}
				},
				func(nc *net.TCPConn) { // fails
					if e, err := (hostile.Script{FlipBit: 3, Filler: bytes.Repeat([]byte(logPayload), 300)}).Speak(nc, false); err == nil {
						keys <- &e.Keys
					}
				},
				func(nc *net.TCPConn) { io.WriteString(nc, logPayload) },
			}
			good := login(logUser, logPassword)
			said := hostile.V1("version", bytes.Repeat([]byte(logPayload), 5))
			for _, says := range [][]byte{
				slices.Concat(said, v1(message{"ping", []byte(logPayload)})),
				slices.Concat(said, []byte(logPayload)), // instead of a header
				slices.Concat(said, hostile.BadChecksum("tx", []byte(logPayload)), said[:60]),
				[]byte(logPayload), // not Bitcoin
				said[:40],
			} {
				for _, f := range peers {
					s := play(t, func(nc *net.TCPConn) { f(nc); nc.CloseWrite(); io.Copy(io.Discard, nc) })
					talk(t, addr, slices.Concat(good, hostile.Request(1, s.addr), says))
					s.over()
				}
			}
			close(keys)
			for k := range keys {
				for name, key := range map[string][32]byte{"ECDH secret": k.ECDH, "PRK": k.PRK, "initiator_L": k.InitiatorL,
					"initiator_P": k.InitiatorP, "responder_L": k.ResponderL, "responder_P": k.ResponderP} {
					secrets[fmt.Sprintf("%s of %x", name, k.SessionID[:4])] = bytes.Clone(key[:])
				}
			}
			if len(secrets) < 6+6*2 {
				t.Error("no session opened, so this test proves little")
			}
			for _, says := range [][]byte{
				login(logUser, wrongPassword), login(wrongPassword, logPassword), login(logPassword, logUser), good, good[:20],
				slices.Concat(good, hostile.Request(2, "node.example:1")), slices.Concat(good, hostile.Request(1, "127.0.0.1:1")),
				slices.Concat([]byte{5, 1, 2}, []byte(wrongPassword)), []byte("GET /" + logPayload + " HTTP/1.1\r\nProxy-Authorization: " + logPassword + "\r\n\r\n"),
			} {
				talk(t, addr, says)
			}
			talk(t, astrayAddr, slices.Concat(hostile.Greeting, hostile.Request(1, "127.0.0.1:1"), said))
			requireSilence(t, secrets, front, behind, astray)
		})
	}
}

// talk sends says to the proxy and reads all answers.
func talk(t *testing.T, addr string, says []byte) {
	t.Helper()
	client, err := hostile.Dial(addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Write(says)
	client.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // a short wait for any answer
	io.Copy(io.Discard, client)
	client.SetReadDeadline(time.Now().Add(patience))
	client.CloseWrite()
	io.Copy(io.Discard, client)
}

// requireSilence makes the programs print their goroutines, as in a panic, and searches all their output for secrets.
func requireSilence(t *testing.T, secrets map[string][]byte, programs ...*program) {
	t.Helper()
	for _, p := range programs {
		if runtime.GOOS != "windows" {
			p.cmd.Process.Signal(syscall.SIGQUIT)
			<-p.done
		}
		text := strings.ToLower(strings.Join(p.out.all(), "\n"))
		if runtime.GOOS != "windows" && !strings.Contains(text, "goroutine 1 ") {
			t.Error("the program did not print its goroutines")
		}
		for name, secret := range secrets {
			for _, form := range []string{string(secret), hex.EncodeToString(secret), fmt.Sprintf("% x", secret),
				strings.TrimRight(base64.StdEncoding.EncodeToString(secret), "="), strings.Trim(fmt.Sprint(secret), "[]")} {
				if strings.Contains(text, strings.ToLower(form)) {
					t.Errorf("the log contains %s, as %q", name, form)
				}
			}
		}
	}
}
