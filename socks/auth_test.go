package socks

import (
	"bufio"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// If credentials are configured, only these are accepted, and the request does not contain them.
func TestAuth(t *testing.T) {
	long := strings.Repeat(long255, 17)
	login := func(user, password string) string { return "01" + field(user) + field(password) }
	for name, tt := range map[string]struct {
		auth   Credentials
		in     string
		writes []string
		text   string // part of the error; empty: no error
	}{
		"right":               {Credentials{"user", "pass"}, "050102" + login("user", "pass") + toHost, []string{"0502", "0100"}, ""},
		"right, both offered": {Credentials{"user", "pass"}, "05020002" + login("user", "pass") + toHost, []string{"0502", "0100"}, ""},
		"longest":             {Credentials{long, long}, "050102" + login(long, long) + toHost, []string{"0502", "0100"}, ""},
		"for a RESOLVE":       {Credentials{"user", "pass"}, "050102" + login("user", "pass") + "05f00003 04'host'0000", []string{"0502", "0100"}, ""},
		"wrong user name":     {Credentials{"user", "pass"}, "050102" + login("User", "pass"), []string{"0502", "0101"}, "wrong"},
		"wrong password":      {Credentials{"user", "pass"}, "050102" + login("user", "pasS"), []string{"0502", "0101"}, "wrong"},
		"swapped":             {Credentials{"user", "pass"}, "050102" + login("pass", "user"), []string{"0502", "0101"}, "wrong"},
		"cut elsewhere":       {Credentials{"user", "pass"}, "050102" + login("userp", "ass"), []string{"0502", "0101"}, "wrong"},
		"prefixes":            {Credentials{"user", "pass"}, "050102" + login("use", "pas"), []string{"0502", "0101"}, "wrong"},
		"empty":               {Credentials{"user", "pass"}, "050102" + login("", ""), []string{"0502", "0101"}, "wrong"},
		"empty password":      {Credentials{"user", "pass"}, "050102" + login("user", ""), []string{"0502", "0101"}, "wrong"},
		"longer by a NUL":     {Credentials{"user", "pass"}, "050102" + login("user\x00", "pass"), []string{"0502", "0101"}, "wrong"},
		"none offered":        {Credentials{"user", "pass"}, "050100", []string{"05ff"}, "offers only the authentication methods [00]"},
		"none offered, unasked": {Credentials{"user", "pass"}, "050100" + login("user", "pass") + toHost, []string{"05ff"},
			"set it to the user name and password"},
		"GSSAPI":        {Credentials{"user", "pass"}, "050101", []string{"05ff"}, "[01]"},
		"skipped":       {Credentials{"user", "pass"}, "050102" + toHost, []string{"0502", "0101"}, "did not send them"},
		"demands empty": {Credentials{}, "050102" + login("", "x"), []string{"0502", "0101"}, "wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 1} {
				tp := play(unhex(tt.in), size)
				tp.auth = &tt.auth
				req, _, err := negotiate(tp)
				if tt.text == "" {
					if err != nil || !req.Credentials.isZero() || req.Dest.Host != hostName {
						t.Fatalf("request %v, %v, with the credentials in it: %v", req, err, !req.Credentials.isZero())
					}
					if err := req.Reply(Succeeded); err != nil {
						t.Error(err)
					}
					checkWrites(t, tp.writes, []string{tt.writes[0], tt.writes[1], succeeded}, size == 1)
					continue
				}
				checkWrites(t, tp.writes, tt.writes, size == 1)
				var nerr *NegotiationError
				if req != nil || !errors.As(err, &nerr) || nerr.Stage != StageAuth || nerr.Reply != Succeeded || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("request %v, error %v", req, err)
				}
				if strings.Contains(err.Error(), "pass ") || strings.Contains(err.Error(), "user\"") {
					t.Errorf("error %q shows credentials", err)
				}
			}
		})
	}
}

// Answers to a client that does not wait for them are sent together, when the proxy has to wait for
// the client. "|" is where the client pauses; the last of writes has the answer to the request.
func TestPipelining(t *testing.T) {
	const auth = "01 01'u' 01'p'"
	resolve := "05f00003" + field("0.0.0.0") + "0000"
	for name, tt := range map[string]struct {
		in     string
		writes []string
	}{
		"the search for Tor":        {noAuth + resolve, []string{"0500" + succeeded}},
		"with credentials":          {"050102" + auth + resolve, []string{"0502 0100" + succeeded}},
		"with credentials, unasked": {noAuth + auth + resolve, []string{"0500 0100" + succeeded}},
		"with data behind":          {noAuth + resolve + bitcoinV1, []string{"0500" + succeeded}},
		"greeting apart":            {noAuth + "|" + resolve, []string{"0500", succeeded}},
		"request in two parts":      {noAuth + resolve[:8] + "|" + resolve[8:], []string{"0500", succeeded}},
		"last byte apart":           {noAuth + resolve[:len(resolve)-2] + "|00", []string{"0500", succeeded}},
		"request apart":             {"050102" + auth + "|" + resolve, []string{"0502 0100", succeeded}},
		"auth and request together": {"050102 |" + auth + resolve, []string{"0502", "0100" + succeeded}},
		"each waited for":           {"050102 |" + auth + "|" + resolve, []string{"0502", "0100", succeeded}},
		// A dial may take long: answer before it, so that the client knows that it is served.
		"CONNECT":                  {noAuth + toHost, []string{"0500", succeeded}},
		"CONNECT with credentials": {"050102" + auth + toHost, []string{"0502 0100", succeeded}},
		"BIND":                     {noAuth + "05020001 00000000 0000", []string{"0500" + refused7}},
		"no authentication":        {"050102" + resolve, []string{"0502 0101"}},
	} {
		tp := &tape{}
		for segment := range strings.SplitSeq(tt.in, "|") {
			tp.segments = append(tp.segments, unhex(segment))
		}
		req, err := Config{}.Negotiate(tp, bufio.NewReader(tp))
		switch {
		case err != nil:
		case req.Command == CommandResolve:
			err = req.ReplyAddr(netip.IPv4Unspecified())
		default:
			err = req.Reply(Succeeded)
		}
		if strings.HasSuffix(tt.writes[len(tt.writes)-1], succeeded) != (err == nil) {
			t.Errorf("%s: got %v", name, err)
		}
		t.Run(name, func(t *testing.T) { checkWrites(t, tp.writes, tt.writes, true) })
	}
}
