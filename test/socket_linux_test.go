package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A socket with a group admits that group's users, and no others; the same holds for the status page's socket. Socket
// paths accept options everywhere.
func TestSocketOfAGroup(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		notRun(t, "running as other users needs root")
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(binaries.proxy)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "bip324-proxy")
	if err := os.WriteFile(program, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	const group = 4711
	shared := fmt.Sprintf("unix:%s/shared?mode=0660&group=%d", dir, group)
	own := "unix:" + dir + "/own"
	page := fmt.Sprintf("unix:%s/page?group=%d", dir, group)
	peer := fmt.Sprintf("unix:%s/peer?group=%d", dir, group)
	p := startProxy(t, "--listen", shared, "--listen", own, "--status", page, "--peer", peer+"=127.0.0.1:9")
	p.awaitListener(t, dir+"/peer")
	as := func(gid uint32, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4242, Gid: gid}}
		out, _ := cmd.CombinedOutput()
		return strings.Join(strings.Fields(string(out)), " ")
	}
	wants := func(says, want string) {
		t.Helper()
		if !strings.Contains(says, want) {
			t.Errorf("got %q, want %q in it", says, want)
		}
	}
	says := as(group, "--listen", shared, "--listen", own, "--peer", peer+"=127.0.0.1:9", "--status", page, "check")
	wants(says, "shared?mode=0660&group=4711: a SOCKS5 proxy answers")
	wants(says, "own: this user may not connect")
	wants(says, "peer?group=4711: something is listening there")
	wants(says, " status unix:"+dir+"/page?group=4711: ") // the session of check itself may have failed by now, of which it warns
	if strings.Contains(says, "failed status") {
		t.Errorf("got %q, but the group may open the status page", says)
	}
	says = as(group+1, "--listen", shared, "--peer", peer+"=127.0.0.1:9", "check")
	wants(says, "shared?mode=0660&group=4711: this user may not connect")
	wants(says, "peer?group=4711: this user may not connect")
	wants(as(group, "status", page), "Is my Bitcoin traffic encrypted?")

	// A user cannot give a socket to a group that the user is not in, and no socket is left behind.
	theirs := filepath.Join(dir, "theirs")
	if err := os.Mkdir(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 4242, 4242); err != nil {
		t.Fatal(err)
	}
	wants(as(group+1, "--listen", fmt.Sprintf("unix:%s/s?group=%d", theirs, group)),
		"--listen: "+theirs+"/s cannot be given to the group 4711: operation not permitted; make the user of the proxy a member")
	if left, _ := os.ReadDir(theirs); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
