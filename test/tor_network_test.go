package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// torNetwork is a complete Tor network on loopback that runs the installed Tor. No traffic, name lookups included,
// leaves the host.
//
//	client ──▶ relay ──▶ relay ──▶ exit ──▶ any port on 127.0.0.1        (names: see nameServer)
//	client ──▶ 3 relays ──▶ rendezvous ◀── 3 relays ◀── host ──▶ node    (onion services)
//
// Every relay is also a directory authority: so it knows the others at once, and never refuses to serve one of them as
// unknown. They vote every few seconds; the client and the onion services' host learn the network from them.
type torNetwork struct {
	tors     *torRunner // starts more Tors
	socks    string     // the client's SocksPort, with Tor's defaults
	extended string     // a SocksPort with ExtendedErrors, for onion services
	socket   string     // a SocksPort that is a unix socket; empty on Windows
	names    *nameServer

	control *torControl // the client's
	host    *torControl // the onion services' host's
}

const (
	relays     = 5
	firstVotes = 5 * time.Second // between votes until one succeeds
)

// torSettings are common to all Tors: short intervals, and no rule that so small a network on one address would break.
// Conflux is off, so that a stream has one circuit instead of two; so is vanguards-lite for onion services, because
// with so few relays their circuits would return to their first relay, which relays refuse.
const torSettings = `
TestingTorNetwork 1
Log notice stdout
SafeLogging 0
Address 127.0.0.1
AssumeReachable 1
EnforceDistinctSubnets 0
ClientUseIPv6 0
ConfluxEnabled 0
VanguardsLiteEnabled 0
ShutdownWaitLength 0
PathsNeededToBuildCircuits 0.67
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 20
V3AuthVoteDelay 4
V3AuthDistDelay 4
V3AuthNIntervalsValid 6
`

// relaySettings let the relays serve at every position in a circuit. An exit must allow most of the world to count as
// one, so the source address of its connections is what limits it to this host.
const relaySettings = `
SocksPort 0
ExitRelay 1
ExitPolicy accept *:*
OutboundBindAddress 127.0.0.1
ExitPolicyRejectPrivate 0
ServerDNSDetectHijacking 0
ServerDNSAllowBrokenConfig 1
ServerDNSTestAddresses
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo none
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
`

// startTorNetwork starts all Tors and returns when the client builds circuits to exits. They end with the test.
func startTorNetwork(t *testing.T) *torNetwork {
	t.Helper()
	begin := time.Now()
	tor, gencert := findTor(t)
	n := &torNetwork{names: startNameServer(t)}
	authorities := startAuthorities(t, tor, gencert, n.names.addr)
	if authorities == nil {
		t.Log("the authorities do not agree: votes came too late, on a busy host; trying again")
		if authorities = startAuthorities(t, tor, gencert, n.names.addr); authorities == nil {
			t.Fatal("the authorities do not agree on all relays")
		}
	}
	consensusDone := time.Since(begin)
	settings := "SocksPort 127.0.0.1:auto\nSocksPort 127.0.0.1:auto ExtendedErrors\nControlPort 127.0.0.1:auto\n"
	if runtime.GOOS != "windows" {
		n.socket = shortPath(t, "socks") // Tor requires a directory that only the user can access
		settings += "SocksPort unix:" + n.socket + "\n"
	}
	n.tors = authorities
	client := authorities.run(t, "client", settings)
	host := authorities.run(t, "host", "SocksPort 0\nControlPort 127.0.0.1:auto\n")
	for _, p := range []*program{client, host} {
		p.awaitLine(t, "Bootstrapped 100%", func(line string) bool { return strings.Contains(line, "Bootstrapped 100%") })
	}
	ports := torListeners(client, "Socks") // in the order of the settings
	n.socks, n.extended = ports[0], ports[1]
	n.control = dialTorControl(t, torListeners(client, "Control")[0])
	n.control.command(t, "SETEVENTS STREAM CIRC")
	n.host = dialTorControl(t, torListeners(host, "Control")[0])
	n.host.command(t, "SETEVENTS HS_DESC")
	t.Logf("%s: %d relays, a client and a host, ready after %.1fs (consensus %.1fs)",
		n.control.version(t), relays, time.Since(begin).Seconds(), consensusDone.Seconds())
	return n
}

// torRunner starts the Tors of one network.
type torRunner struct {
	tor, dir string
	common   string // common settings
}

func (r *torRunner) run(t *testing.T, name, settings string) *program {
	t.Helper()
	torrc := filepath.Join(r.dir, name+".torrc")
	writeFile(t, torrc, fmt.Sprintf("Nickname %s\nDataDirectory %s\n%s%s", name, filepath.Join(r.dir, name), r.common, settings))
	return start(t, "tor "+name, r.tor, "-f", torrc, "--defaults-torrc", filepath.Join(r.dir, "defaults"))
}

// startAuthorities starts the relays. If they do not agree it stops them and returns nil.
func startAuthorities(t *testing.T, tor, gencert, nameServer string) *torRunner {
	t.Helper()
	r := &torRunner{tor: tor, dir: t.TempDir(), common: torSettings}
	resolver := filepath.Join(r.dir, "resolv.conf")
	writeFile(t, resolver, "nameserver "+nameServer+"\n")
	writeFile(t, filepath.Join(r.dir, "defaults"), "") // replaces the system's
	members := makeAuthorities(t, r.dir, tor, gencert)
	awaitTimeToVote()
	var addrs []string // every relay's OrPort and DirPort
	for range 2 * relays {
		addrs = append(addrs, freeAddr(t))
	}
	for i, a := range members {
		r.common += fmt.Sprintf("DirAuthority %s orport=%s v3ident=%s %s %s\n",
			a.name, port(t, addrs[2*i]), a.identity, addrs[2*i+1], a.fingerprint)
	}
	var running []*program
	for i, a := range members {
		writeFile(t, filepath.Join(r.dir, a.name, "state"), bandwidthHistory())
		running = append(running, r.run(t, a.name, relaySettings+
			fmt.Sprintf("ServerDNSResolvConfFile %s\nOrPort %s\nDirPort %s\n", resolver, addrs[2*i], addrs[2*i+1])))
	}
	deadline := time.Now().Add(patience / 2)
	for i := range members {
		for !hasConsensus("http://" + addrs[2*i+1]) {
			if time.Now().After(deadline) {
				for _, p := range running {
					p.cmd.Process.Kill()
				}
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return r
}

// bandwidthHistory returns a relay's state that claims a megabyte a second since yesterday. Without history, the first
// relay with any traffic would seem the only good one: circuits would return to it, which relays refuse.
func bandwidthHistory() string {
	const day, rate = int64(24 * 60 * 60), 1_000_000
	state := ""
	for _, direction := range []string{"Read", "Write"} {
		state += fmt.Sprintf("BWHistory%[1]sEnds %[2]s\nBWHistory%[1]sInterval %[3]d\nBWHistory%[1]sValues %[4]d\nBWHistory%[1]sMaxima %[5]d\n",
			direction, time.Now().Add(-time.Minute).UTC().Format(time.DateTime), day, day*rate, rate)
	}
	return state
}

// torListeners returns the addresses that a Tor reports for one purpose, in the order of its settings.
func torListeners(p *program, purpose string) []string {
	var addrs []string
	for _, line := range p.out.all() {
		if _, addr, ok := strings.Cut(line, "Opened "+purpose+" listener connection (ready) on "); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// findTor returns the programs of Debian's package tor, or those next to the one that the environment names.
func findTor(t *testing.T) (tor, gencert string) {
	t.Helper()
	otherProgram(t)
	tor = os.Getenv("TOR")
	if tor == "" {
		var err error
		if tor, err = exec.LookPath("tor"); err != nil {
			notRun(t, "Tor is missing; apt-get install tor, or TOR=/path/to/tor runs them")
		}
	}
	gencert = filepath.Join(filepath.Dir(tor), "tor-gencert"+filepath.Ext(tor))
	if _, err := os.Stat(gencert); err != nil {
		if gencert, err = exec.LookPath("tor-gencert"); err != nil {
			notRun(t, "tor-gencert is neither next to %s nor in PATH; apt-get install tor", tor)
		}
	}
	return tor, gencert
}

// authority is what the others know of a directory authority, apart from its addresses.
type authority struct{ name, identity, fingerprint string }

// makeAuthorities makes the keys of all authorities in parallel: RSA keys are slow.
func makeAuthorities(t *testing.T, dir, tor, gencert string) []authority {
	t.Helper()
	all, errs := make([]authority, relays), make([]error, relays)
	var making sync.WaitGroup
	for i := range all {
		making.Go(func() { all[i], errs[i] = newAuthority(dir, tor, gencert, fmt.Sprintf("relay%d", i)) })
	}
	making.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return all
}

func newAuthority(dir, tor, gencert, name string) (authority, error) {
	a := authority{name: name}
	keys := filepath.Join(dir, name, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return a, err
	}
	os.Chmod(filepath.Dir(keys), 0o700)
	make := exec.Command(gencert, "--create-identity-key", "-m", "12", "--passphrase-fd", "0",
		"-i", filepath.Join(keys, "authority_identity_key"), "-s", filepath.Join(keys, "authority_signing_key"),
		"-c", filepath.Join(keys, "authority_certificate"))
	make.Stdin = strings.NewReader("passphrase\n")
	if out, err := make.CombinedOutput(); err != nil {
		return a, fmt.Errorf("%s: %w\n%s", gencert, err, out)
	}
	cert, err := os.ReadFile(filepath.Join(keys, "authority_certificate"))
	if err != nil {
		return a, err
	}
	identity := regexp.MustCompile(`(?m)^fingerprint ([0-9A-F]{40})`).FindSubmatch(cert)

	// Tor creates the relay's key and prints its fingerprint; the authority on the command line only keeps it from
	// contacting the public ones.
	list := exec.Command(tor, "--list-fingerprint", "--quiet", "-f", filepath.Join(dir, "none"), "--ignore-missing-torrc",
		"--defaults-torrc", filepath.Join(dir, "defaults"), "--datadirectory", filepath.Join(dir, name),
		"--nickname", name, "--orport", "1", "--dirauthority", "none 127.0.0.1:1 "+strings.Repeat("f", 40))
	out, err := list.Output()
	if err != nil {
		return a, fmt.Errorf("tor --list-fingerprint: %w\n%s", err, out)
	}
	fingerprint := bytes.ReplaceAll(bytes.TrimPrefix(bytes.TrimSpace(out), []byte(name+" ")), []byte(" "), nil)
	if identity == nil || len(fingerprint) != 40 {
		return a, fmt.Errorf("no fingerprints for %s in %q and %q", name, cert, out)
	}
	a.identity, a.fingerprint = string(identity[1]), string(fingerprint)
	return a, nil
}

// awaitTimeToVote waits until just after the next vote. The authorities vote every firstVotes by the clock; a vote
// before they know the relays yields an empty network until the next one.
func awaitTimeToVote() {
	now := time.Now()
	time.Sleep(now.Add(firstVotes - 1).Truncate(firstVotes).Sub(now))
}

// hasConsensus reports whether an authority has agreed with the others that all relays, exits included, are there.
func hasConsensus(authority string) bool {
	client := http.Client{Transport: &http.Transport{DisableCompression: true}, // Go and Tor disagree about it
		Timeout: patience / 10}
	defer client.CloseIdleConnections()
	resp, err := client.Get(authority + "/tor/status-vote/current/consensus-microdesc")
	if err != nil {
		return false // not listening yet
	}
	defer resp.Body.Close()
	consensus, err := io.ReadAll(resp.Body)
	return err == nil && len(regexp.MustCompile(`(?m)^s .*\bExit\b.*\bRunning\b`).FindAll(consensus, -1)) == relays
}

// onion creates an onion service for target ("host:port") on port 8333 and returns its name once all directories that
// may be asked have its descriptor. flags are ADD_ONION's, if any.
func (n *torNetwork) onion(t *testing.T, target string, flags ...string) (name string) {
	t.Helper()
	command := "ADD_ONION NEW:ED25519-V3 Port=8333," + target
	if flags != nil {
		command += " " + strings.Join(flags, " ")
	}
	var id string
	for _, line := range n.host.command(t, command) {
		if rest, ok := strings.CutPrefix(line, "250-ServiceID="); ok {
			id = rest
		}
	}
	if id == "" {
		t.Fatal("ADD_ONION did not name the service")
	}
	eventually(t, "the descriptor of "+id+" is published everywhere", func() bool {
		events := map[string]int{}
		for _, line := range n.host.out.all() {
			for _, event := range []string{"UPLOAD ", "UPLOADED ", "FAILED "} {
				if strings.HasPrefix(line, "650 HS_DESC "+event+id) {
					events[event]++
				}
			}
		}
		return events["UPLOADED "] > 0 && events["UPLOADED "]+events["FAILED "] == events["UPLOAD "]
	})
	return id + ".onion"
}

// shortPath returns a file name in a new directory that only the user can access, short enough for a unix socket.
func shortPath(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, name)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
}
