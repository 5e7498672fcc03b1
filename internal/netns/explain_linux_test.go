package netns

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHelp(t *testing.T) {
	const status = "Name:\tx\nSeccomp:\t0\n"
	rooted := "22 1 0:20 / / rw - ext4 /dev/vda rw\n"
	for _, test := range []struct {
		root  bool
		step  string
		err   error
		files map[string]string
		want  string // begins the help
	}{
		{false, "", unix.EPERM, map[string]string{"/proc/sys/kernel/unprivileged_userns_clone": "0\n"}, "kernel.unprivileged_userns_clone is 0; as root, write: sysctl -w kernel.unprivileged_userns_clone=1"},
		{true, "", unix.EPERM, map[string]string{"/proc/sys/kernel/unprivileged_userns_clone": "0\n"}, "a container, "},
		{false, "", unix.EACCES, map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, "kernel.apparmor_restrict_unprivileged_userns is 1: AppArmor "},
		{false, stepRedirect, unix.EPERM, map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, "kernel.apparmor_restrict_unprivileged_userns is 1: AppArmor "},
		{false, "", unix.EPERM, map[string]string{"/proc/self/mountinfo": "22 1 0:20 / /home rw - ext4 /dev/vda rw\n"}, "the kernel forbids it in a chroot"},
		{false, "", unix.EPERM, map[string]string{"/proc/self/status": "Name:\tx\nSeccomp:\t2\n"}, "a seccomp filter, "},
		{false, "", unix.EPERM, nil, "a container, a chroot or a security module may forbid it"},
		{false, "", unix.ENOSPC, map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"}, "user.max_user_namespaces is 0; as root, write: sysctl -w user.max_user_namespaces=10000"},
		{false, "", unix.ENOSPC, map[string]string{"/proc/sys/user/max_net_namespaces": "0\n"}, "user.max_net_namespaces is 0; "},
		{false, "", unix.ENOSPC, map[string]string{"/proc/sys/user/max_mnt_namespaces": "5\n"}, "a limit for namespaces is reached, or they are nested too deep; the limits are user.max_user_namespaces="},
		{true, "", unix.ENOENT, map[string]string{"/proc/self/status": ""}, "/proc is not mounted"},
		{true, stepRedirect, unix.EOPNOTSUPP, nil, "the kernel needs nf_tables"},
		{true, stepRedirect, unix.ENOENT, nil, "the kernel needs nf_tables"},
		{true, stepRedirect, unix.EPROTONOSUPPORT, nil, "the kernel needs nf_tables"},
		{true, stepFamilies, unix.EINVAL, nil, "the kernel needs seccomp filters"},
		{true, "", unix.EINVAL, nil, ""},
		{true, stepCreate, unix.EINVAL, nil, "the kernel may have been built without"},
		{true, "", unix.EIO, nil, ""},
	} {
		s := system{root: test.root, read: func(path string) string {
			if content, ok := test.files[path]; ok {
				return content
			}
			return map[string]string{"/proc/self/status": status, "/proc/self/mountinfo": rooted}[path]
		}}
		got := s.help(test.step, fmt.Errorf("wrapped: %w", test.err))
		if !strings.HasPrefix(got, test.want) || (test.want == "" && got != "") {
			t.Errorf("%v, root %v, %v: %q", test.err, test.root, test.files, got)
		}
	}
}

// An error of the holder keeps its words and its number on the way.
func TestReport(t *testing.T) {
	ours, theirs, err := newControl()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	holder, err := controlOn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := holder.fail(&Error{"do it", fmt.Errorf("cover a file: %w", unix.EROFS), "write: x"}); err != nil {
		t.Fatal(err)
	}
	_, _, err = ours.receiveReport()
	if !errors.Is(err, unix.EROFS) || err.Error() != "cannot do it: cover a file: read-only file system; write: x" {
		t.Error(err)
	}
}
