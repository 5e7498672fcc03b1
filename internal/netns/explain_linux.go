package netns

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/errno"
)

const (
	stepCreate   = "create a network namespace"
	stepRedirect = "redirect connections with nftables"
	stepFamilies = "refuse sockets that no network namespace confines"
)

var errLimit = errors.New("a limit of the kernel is reached")

// explain returns an Error that says what to do about a step that failed with err.
func explain(step string, err error) error {
	s := system{root: os.Geteuid() == 0, read: func(path string) string {
		b, _ := os.ReadFile(path)
		return string(b)
	}}
	help := s.help(step, err)
	if errors.Is(err, unix.ENOSPC) {
		err = errLimit // the number's words speak of a device
	}
	return &Error{Step: step, Err: err, Help: help}
}

// system is what help depends on.
type system struct {
	root bool
	read func(path string) string // returns a file, or nothing
}

func (s system) sysctl(name string) string {
	return strings.TrimSpace(s.read("/proc/sys/" + strings.ReplaceAll(name, ".", "/")))
}

const (
	userNamespaces   = "kernel.unprivileged_userns_clone"             // Debian's and Arch's
	restrictedByLSM  = "kernel.apparmor_restrict_unprivileged_userns" // Ubuntu's
	apparmorOfUbuntu = "/etc/apparmor.d/bip324-proxy"
)

// help says what to do about an error, or nothing.
func (s system) help(step string, err error) string {
	denied := errno.Is(err, unix.EPERM, unix.EACCES)
	switch {
	case s.read("/proc/self/status") == "":
		return "/proc is not mounted; mount it"
	case errno.Is(err, unix.ENOSPC, unix.EUSERS):
		return s.limits()
	case denied && !s.root && s.sysctl(userNamespaces) == "0":
		return fmt.Sprintf("%s is 0; as root, write: sysctl -w %[1]s=1", userNamespaces)
	case denied && !s.root && s.sysctl(restrictedByLSM) == "1":
		return fmt.Sprintf("%s is 1: AppArmor allows it only to programs with a profile that says userns; "+
			"the Debian package installs one, %s; or as root, write: sysctl -w %[1]s=0", restrictedByLSM, apparmorOfUbuntu)
	case denied && s.changedRoot():
		return "the kernel forbids it in a chroot; start the program outside"
	case denied && strings.Contains(s.read("/proc/self/status"), "\nSeccomp:\t2\n"):
		return "a seccomp filter, such as that of a container, may forbid it; " +
			"for Docker and Podman, write: --security-opt seccomp=unconfined"
	case denied:
		return "a container, a chroot or a security module may forbid it"
	case step == stepRedirect:
		return "the kernel needs nf_tables with nat; as root, write: modprobe -a nf_tables nft_chain_nat nft_redir"
	case step == stepFamilies:
		return "the kernel needs seccomp filters (CONFIG_SECCOMP_FILTER)"
	case step == stepCreate && errno.Is(err, unix.EINVAL, unix.ENOSYS):
		return "the kernel may have been built without user or network namespaces (CONFIG_USER_NS, CONFIG_NET_NS)"
	}
	return ""
}

// limits names the limit that is reached.
func (s system) limits() string {
	var all []string
	for _, kind := range []string{"user", "net", "mnt"} {
		name := "user.max_" + kind + "_namespaces"
		limit := s.sysctl(name)
		if limit == "0" {
			return fmt.Sprintf("%s is 0; as root, write: sysctl -w %[1]s=10000", name)
		}
		all = append(all, name+"="+limit)
	}
	return "a limit for namespaces is reached, or they are nested too deep; the limits are " + strings.Join(all, ", ")
}

// changedRoot reports whether the process is in a chroot: then, as a rule, nothing is mounted
// at its root.
func (s system) changedRoot() bool {
	mounts := s.read("/proc/self/mountinfo") // see proc_pid_mountinfo(5): the fifth field
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			return false
		}
	}
	return true
}
