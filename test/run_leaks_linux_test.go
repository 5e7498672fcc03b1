package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/internal/testkit"
)

// When the proxy is killed, the client under run is cut off: it gets no other connection, and no name is looked up.
func TestRunKilledProxy(t *testing.T) {
	t.Parallel()
	requireInstalled(t, python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		for name, uid := range map[string]int{"root": 0, "ordinary user": ordinaryUser} {
			t.Run(name, func(t *testing.T) { w.killProxy(t, uid, nil) })
		}
	})
}

// The same with btcd, which goes on trying.
func TestRunKilledProxyOfBtcd(t *testing.T) {
	t.Parallel()
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		client, r := startBtcdUnderRun(t, ordinaryUser, "--connect="+w.node.p2p, "--debuglevel=CMGR=debug")
		w.requireV2(t, r, w.node.p2p)
		btcd := childOf(t, r.cmd.Process.Pid, binaries.btcd)
		r.cmd.Process.Kill()
		client.awaitLine(t, "it cannot connect", func(line string) bool {
			return strings.Contains(line, "Failed to connect") && strings.Contains(line, "connection refused")
		})
		if peers := ask[[]peer](t, w.node, "getpeerinfo"); len(peers) > 0 {
			t.Errorf("without the proxy the node has the peers %+v", peers)
		}
		syscall.Kill(btcd, syscall.SIGKILL) // it would never end
	})
}

// childOf returns the id of the process's child that runs the program.
func childOf(t *testing.T, parent int, program string) (child int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if exe, _ := os.Readlink(dir + "/exe"); filepath.Base(exe) == filepath.Base(program) && procStatus(pid, "PPid") == int64(parent) {
			return pid
		}
	}
	t.Fatalf("process %d has no child that runs %s", parent, program)
	return 0
}

// killProxy kills the proxy of a connected client under run with flags, and requires that the client is cut off.
func (w *runWorld) killProxy(t *testing.T, uid int, flags []string) {
	t.Helper()
	version := filepath.Join(dirOf(t, uid), "version")
	writeFile(t, version, string(versionFrom(t)))
	os.Chmod(version, 0o644)
	script := copyTo(t, dirOf(t, uid), "testdata/direct/killed.py")
	r := startRun(t, uid, flags, "sh", "-c", `version=$1; shift; exec "$@" <"$version"`, "sh", version,
		python, script, w.port, runNode4, runNode6, runName4)
	is := func(want string) func(string) bool { return func(line string) bool { return line == want } }
	r.awaitLine(t, "it is connected", is("connected"))
	w.requireV2(t, r, w.at(runNode4))
	before := len(w.asked())
	r.cmd.Process.Kill()
	r.awaitLine(t, "it is cut off", is("cut off"))
	r.awaitLine(t, "it has tried again", is("the end"))
	for _, line := range r.out.all() {
		if strings.HasPrefix(line, "heard from") {
			t.Errorf("without the proxy the client %s", line)
		}
	}
	if asked := w.asked(); len(asked) != before {
		t.Errorf("without the proxy DNS was asked for %q", asked)
	}
	eventually(t, "the node has no peer", func() bool { return len(ask[[]peer](t, w.node, "getpeerinfo")) == 0 })
}

// Under run, nothing but TCP gets out, and there is no way to the machine's loopback and abstract sockets.
func TestRunOtherWays(t *testing.T) {
	t.Parallel()
	requireInstalled(t, python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		outside := w.otherWays(t, "")
		// The script is right: outside the namespace it finds ways.
		out, err := exec.Command(python, "testdata/direct/other_ways.py", "127.0.0.1", w.port, outside).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("loopback connected")) || !bytes.Contains(out, []byte("abstract socket connected")) {
			t.Errorf("outside the namespace the script (%v) prints:\n%s", err, out)
		}
		w.reach(t, ordinaryUser, []string{python, copyTo(t, dirOf(t, ordinaryUser), "testdata/direct/client.py")}, runNode4)
	})
}

// otherWays requires that a program under run finds only the ways in want, in which OUTSIDE stands for the port that a
// service has on the machine's loopback, and in the name of an abstract socket. It returns that.
func (w *runWorld) otherWays(t *testing.T, want string) (outside string) {
	t.Helper()
	outside = port(t, testkit.Echo(t))
	l, err := net.Listen("unix", "@other ways "+outside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	want = strings.ReplaceAll(want, "OUTSIDE", outside)
	for name, uid := range map[string]int{"root": 0, "ordinary user": ordinaryUser} {
		t.Run(name, func(t *testing.T) {
			script := copyTo(t, dirOf(t, uid), "testdata/direct/other_ways.py")
			if _, code, out := runOnce(t, uid, nil, w.flags, python, script, runNode4, w.port, outside); code != 0 || string(out) != want {
				t.Errorf("exit code %d, want 0; got out by\n%q, want\n%q", code, out, want)
			}
		})
	}
	return outside
}

// Other kinds of TCP go through the proxy, too.
func TestRunOtherTCP(t *testing.T) {
	t.Parallel()
	requireInstalled(t, python)
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		client := []string{python, copyTo(t, dirOf(t, ordinaryUser), "testdata/direct/client.py")}
		for _, host := range []string{runNode4, runNode6} {
			w.reach(t, ordinaryUser, client, host, "fastopen")
			if enabled, _ := os.ReadFile("/proc/sys/net/mptcp/enabled"); string(enabled) == "1\n" {
				w.reach(t, ordinaryUser, client, host, "mptcp")
			}
		}
	})
}

// strace shows that a client under run only talks to its namespace's DNS server and to the peer that it means, and that
// the proxy talks to the machine's DNS server and to that peer.
func TestRunTraced(t *testing.T) {
	t.Parallel()
	requireInstalled(t, "gcc", python, "strace")
	inRunWorld(t, &chaincfg.RegressionNetParams, func(w *runWorld) {
		for name, client := range plainClients(t) {
			t.Run(name, func(t *testing.T) {
				record := filepath.Join(t.TempDir(), "strace")
				path := binaries.proxy
				defer func() { binaries.proxy = path }()
				binaries.proxy = filepath.Join(t.TempDir(), "traced")
				writeFile(t, binaries.proxy, fmt.Sprintf("#!/bin/sh\nexec strace -f -qq -s 0 -e signal=none -e trace=network,execve -o '%s' '%s' \"$@\"\n", record, path))
				os.Chmod(binaries.proxy, 0o755)
				w.reach(t, 0, client, runName4)
				text, err := os.ReadFile(record)
				if err != nil {
					t.Fatal(err)
				}
				inside, outside := destinations(string(text), client[0])
				t.Logf("the client: %q, the proxy: %q", inside, outside)
				for who, got := range map[string][]string{"client": inside, "proxy": outside} {
					want := map[string][]string{"client": {"198.18.0.1:53", w.at(runNode4)}, "proxy": {"127.0.0.53:53", w.at(runNode4)}}[who]
					if !slices.Equal(got, want) {
						t.Errorf("the %s connected or sent to %q, want %q", who, got, want)
					}
				}
			})
		}
	})
}

var (
	tracedCall = regexp.MustCompile(`^(\d+) +(connect|sendto|sendmsg|sendmmsg|execve)\((.*)`)
	tracedRest = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)`)
	tracedExec = regexp.MustCompile(`(\d+) +\+\+\+ superseded by execve in pid (\d+)`)
	tracedInet = regexp.MustCompile(`sin6?_port=htons\((\d+)\), .*(?:sin_addr=inet_addr\(|inet_pton\(AF_INET6, )"([^"]*)"`)
	tracedAny  = regexp.MustCompile(`\{sa_family=AF_[^}]*\}`)
)

// destinations returns where the process that became the command, and all others, connected or sent: addresses, and what
// strace prints of others, unless the call failed.
func destinations(record, command string) (inside, outside []string) {
	client := ""
	unfinished := make(map[string]string) // by thread
	for line := range strings.Lines(record) {
		line = strings.TrimSpace(line)
		if m := tracedRest.FindStringSubmatch(line); m != nil {
			line = unfinished[m[1]] + m[2]
			delete(unfinished, m[1])
		}
		if m := tracedExec.FindStringSubmatch(line); m != nil && m[2] == client { // the thread has the process's id now
			client = m[1]
		}
		m := tracedCall.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		thread, call, args := m[1], m[2], m[3]
		if call == "execve" && strings.HasPrefix(args, `"`+command) {
			client = thread
		}
		if before, found := strings.CutSuffix(line, "<unfinished ...>"); found {
			unfinished[thread] = before
			continue
		}
		for _, to := range tracedAny.FindAllString(args, -1) {
			inet := tracedInet.FindStringSubmatch(to)
			switch {
			case inet != nil:
				to = net.JoinHostPort(inet[2], inet[1])
			case strings.Contains(to, "AF_NETLINK") || strings.Contains(args, " = -1 E"): // the kernel is no way out
				continue
			}
			switch {
			case thread == client:
				inside = append(inside, to)
			case strings.HasPrefix(to, "198.18.0.1:"): // the namespace's DNS server answers
			case call == "connect" && to == "[2001:db8::1]:9": // a UDP socket, to learn whether the machine has IPv6
			default:
				outside = append(outside, to)
			}
		}
	}
	slices.Sort(inside)
	slices.Sort(outside)
	return slices.Compact(inside), slices.Compact(outside)
}
