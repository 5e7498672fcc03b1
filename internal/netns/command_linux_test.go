package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

func init() {
	guests["escape"] = func() {
		status := string(must(os.ReadFile("/proc/thread-self/status")))
		for _, set := range regexp.MustCompile(`Cap(Inh|Prm|Eff|Amb):\t(\w+)`).FindAllStringSubmatch(status, -1) {
			mask := must(strconv.ParseUint(set[2], 16, 64))
			for c := range 64 {
				if mask>>c&1 == 1 && (os.Geteuid() != 0 || set[1] == "Inh" || set[1] == "Amb" || isDenied(uintptr(c))) {
					fmt.Println("has capability", c, set[1])
				}
			}
		}
		forbidden("flush nftables", flush())
		forbidden("mount", unix.Mount("tmpfs", "/mnt", "tmpfs", 0, ""))
		forbidden("unmount", unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH))
		_, err := os.Open("/proc/1/ns/net")
		forbidden("open another network namespace", err)
		own := must(os.Open("/proc/self/ns/net"))
		forbidden("enter the network namespace", unix.Setns(int(own.Fd()), unix.CLONE_NEWNET))
		for _, process := range append(makers(), os.Getppid()) {
			forbidden("trace", unix.PtraceAttach(process))
			_, err = os.Open(fmt.Sprintf("/proc/%d/fd/0", process))
			forbidden("open a file of a process", err)
			pidfd := must(unix.PidfdOpen(process, 0))
			_, err = unix.PidfdGetfd(pidfd, 0, 0)
			forbidden("take a file of a process", err)
			forbidden("enter a process's namespace", unix.Setns(pidfd, unix.CLONE_NEWNET))
		}
		if len(makers()) == 0 {
			fmt.Println("there is no process that makes sockets")
		}
		// In a user namespace of the command, with all capabilities there.
		cmd := exec.Command("/proc/self/exe", "guest", "flush")
		cmd.Stdout = os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
		if err := cmd.Run(); err != nil {
			fmt.Println(err)
		}
		if ids := string(must(os.ReadFile("/proc/self/uid_map"))); os.Geteuid() == 0 && !strings.HasSuffix(ids, " 1\n") {
			cmd := exec.Command("/bin/true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{65534}}}
			if err := cmd.Run(); err != nil {
				fmt.Println("root cannot become another user:", err)
			}
		}
	}
	guests["flush"] = func() { forbidden("flush nftables from a user namespace", flush()) }
}

func flush() error {
	c := must(nftables.New())
	c.FlushRuleset()
	return c.Flush()
}

func forbidden(what string, err error) {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		fmt.Printf("%s: %v\n", what, err)
	}
}

// makers are the processes that make sockets for this command's parent.
func makers() (pids []int) {
	for _, path := range must(filepath.Glob("/proc/[0-9]*/stat")) {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		pid := must(strconv.Atoi(filepath.Base(filepath.Dir(path))))
		if f[1] == strconv.Itoa(os.Getppid()) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestCommandCannotEscape(t *testing.T) {
	for _, u := range users() {
		t.Run(u.name, func(t *testing.T) {
			if got := u.run(t, nil, guest("escape")...); got != "" {
				t.Error(got)
			}
		})
	}
}

// Names are looked up in /etc/hosts and by the namespace's DNS sockets, and mounts stay inside.
func TestLookupReplaced(t *testing.T) {
	covered := func() int {
		return strings.Count(string(must(os.ReadFile("/proc/self/mountinfo"))), " /nsswitch.conf /etc/")
	}
	before := covered()
	for _, u := range users() {
		t.Run(u.name, func(t *testing.T) {
			got := u.run(t, []string{"sh", "-c", `umask 077; exec "$@"`, "sh"}, "/bin/cat", "/etc/resolv.conf")
			if _, err := os.Stat("/etc/resolv.conf"); err == nil && !strings.HasPrefix(got, "nameserver 198.18.0.1\n") {
				t.Errorf("resolv.conf: %q", got)
			}
		})
	}
	if covered() != before {
		t.Error("the mounts are visible outside")
	}
}

func TestByDNS(t *testing.T) {
	for conf, want := range map[string]string{
		"passwd: files systemd\nhosts:  mymachines resolve [!UNAVAIL=return] files dns\nrpc: db\n": "passwd: files systemd\nhosts: files myhostname dns\nrpc: db\n",
		"hosts: nis":    "hosts: files myhostname dns",
		"#hosts: nis\n": "#hosts: nis\n",
		"":              "",
	} {
		if got := string(byDNS([]byte(conf))); got != want {
			t.Errorf("%q: %q, want %q", conf, got, want)
		}
	}
}
