package socks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests here run in synctest bubbles: their clock stands still until all
// goroutines wait, and the test fails if one is left behind.

// serve negotiates on one end of a pipe and returns the other, and the outcome.
func serve(cfg Config) (client net.Conn, outcome <-chan error) {
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		_, err := cfg.Negotiate(server, bufio.NewReader(server))
		done <- err
	}()
	return client, done
}

func TestDeadline(t *testing.T) {
	greeting := unhex("05 01 02")
	tests := map[string]struct {
		cfg    Config
		want   time.Duration
		stage  Stage
		client func(net.Conn)
	}{
		"silent client":  {Config{}, 20 * time.Second, StageGreeting, func(net.Conn) {}},
		"shorter limit":  {Config{Timeout: 3 * time.Second}, 3 * time.Second, StageGreeting, func(net.Conn) {}},
		"reads no reply": {Config{}, 20 * time.Second, StageAuth, func(c net.Conn) { c.Write(greeting) }},
		"silent after greeting": {Config{}, 20 * time.Second, StageAuth, func(c net.Conn) {
			c.Write(greeting)
			io.ReadFull(c, make([]byte, 2))
		}},
		"a byte at a time": {Config{}, 20 * time.Second, StageAuth, func(c net.Conn) {
			c.Write(greeting)
			go io.Copy(io.Discard, c)
			for _, b := range append([]byte{1}, bytes.Repeat([]byte{255}, 100)...) {
				time.Sleep(3 * time.Second)
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				client, outcome := serve(tt.cfg)
				var wg sync.WaitGroup
				wg.Go(func() { tt.client(client) })
				defer wg.Wait()
				defer client.Close()
				err := <-outcome
				if took := time.Since(start); took != tt.want {
					t.Errorf("ended after %v, want %v", took, tt.want)
				}
				var nerr *NegotiationError
				if !errors.As(err, &nerr) || nerr.Stage != tt.stage || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v, want the deadline in stage %s", err, tt.stage)
				}
				if !strings.Contains(err.Error(), "in time") {
					t.Errorf("error %q, want one about time", err)
				}
			})
		})
	}
}

// Closing after any byte ends the negotiation at once, without leaving anything running.
func TestAbort(t *testing.T) {
	for name, tt := range valid() {
		in := unhex(tt.in)
		for cut := range in {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				client, outcome := serve(Config{})
				go io.Copy(io.Discard, client)
				if _, err := client.Write(in[:cut]); err != nil {
					t.Fatalf("%s cut at %d: %v", name, cut, err)
				}
				client.Close()
				if err := <-outcome; err == nil {
					t.Errorf("%s cut at %d: no error", name, cut)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("%s cut at %d: took %v", name, cut, took)
				}
			})
		}
	}
}

// A session may outlive the negotiation's and the reply's deadlines.
func TestDeadlinesCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		go func() {
			defer client.Close()
			client.Write(unhex(noAuth + toHost))
			io.ReadFull(client, make([]byte, 2+10))
			time.Sleep(time.Hour)
			io.Copy(client, client)
		}()
		r := bufio.NewReader(server)
		req, err := Config{}.Negotiate(server, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := req.Reply(Succeeded); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatalf("write after an hour: %v", err)
		}
		if b, err := r.ReadByte(); err != nil || b != 'x' {
			t.Fatalf("read after an hour: got %q, %v", b, err)
		}
	})
}

func TestReplyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		start := time.Now()
		err := (&Request{conn: server}).Reply(Succeeded)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != replyTimeout {
			t.Errorf("client that does not read: %v after %v", err, time.Since(start))
		}
	})
}

// If a refusal cannot be delivered, the error keeps its reason and says that no reply was sent.
func TestRefusalUndelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, outcome := serve(Config{})
		client.Write(unhex(noAuth))
		io.ReadFull(client, make([]byte, 2))
		client.Write(unhex("05 02 00 01 01020304 208d"))
		client.Close()
		err := <-outcome
		var nerr *NegotiationError
		if !errors.As(err, &nerr) || nerr.Reply != Succeeded || !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "BIND") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCredentialsStayOut(t *testing.T) {
	const user, password = "isolation-user", "isolation-password"
	in := "05 01 02 01" + field(user) + field(password)
	req, _, err := negotiate(play(unhex(in+toHost), 0))
	if err != nil || req.Credentials != (Credentials{user, password}) {
		t.Fatalf("request %v, %v", req, err)
	}
	var printed []string
	pair := req.Credentials
	holder := struct{ R *Request }{req}
	byValue := struct {
		R Request
		C Credentials
		S Config
		U Upstream
	}{*req, pair, Config{Auth: &pair}, Upstream{Network: "tcp", Address: "host:1", Credentials: &pair}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b"} {
		for _, v := range []any{req, *req, holder, byValue, []Request{*req}, map[string]Request{"": *req},
			pair, &pair, []Credentials{pair}, byValue.S, &byValue.U} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Error("x", "req", req, "value", *req, "holder", holder, "by value", byValue, "list", []*Request{req}, "pair", pair, "upstream", &byValue.U)
	}
	asJSON, err := json.Marshal(byValue)
	if err != nil {
		t.Fatal(err)
	}
	printed = append(printed, log.String(), string(asJSON))
	for _, rest := range []string{"", "05 02 00 01 01020304 208d", "05 01 00 09", "09", "05010003 00 208d"} {
		_, _, err := negotiate(play(unhex(in+rest), 0))
		printed = append(printed, err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err))
	}
	for _, p := range printed {
		for _, secret := range []string{user, password} {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
				if strings.Contains(p, form) {
					t.Errorf("%q shows the credentials", p)
				}
			}
		}
	}
	if got, want := fmt.Sprintf("%+v", req), "CONNECT host:8333"; got != want {
		t.Errorf("request prints as %q, want %q", got, want)
	}
}
