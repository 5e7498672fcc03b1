//go:build unix

package command

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
)

// An interface that is missing is a warning, since it may come; an address that this machine does not
// have is an error at a reload, and the current one stays.
func TestBindAtReload(t *testing.T) {
	own := testkit.OwnAddress(t)
	file := testkit.WriteFile(t, "bind = [\""+own+"\"]\n")
	p := startProgram(t, "--listen", "127.0.0.1:0", "--config", file)
	listening := p.next(t, "listening")
	if listening["bind"] != own {
		t.Errorf("the log says %v", listening)
	}
	if line := p.hangUp(t, file, "bind = [\"192.0.2.1\"]\n"); line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["err"]), "bind: connections must leave from 192.0.2.1: this machine does not have that address; ") {
		t.Errorf("the log says %v", line)
	}
	if line := p.hangUp(t, file, "bind = [\"192.0.2.1/24\"]\n"); line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["err"]), "192.0.2.1/24") {
		t.Errorf("the log says %v", line)
	}
	if line := p.hangUp(t, file, "bind = [\""+own+"\"]\n"); line["changed"] != "nothing" {
		t.Errorf("the log says %v", line)
	}
	if runtime.GOOS == "linux" || runtime.GOOS == "darwin" {
		if line := p.hangUp(t, file, "bind = [\"bip324-none\"]\n"); line["changed"] != "bind" {
			t.Errorf("the log says %v", line)
		}
		if line := p.await(t, "no direct connection"); line["level"] != "WARN" || !strings.Contains(fmt.Sprint(line["err"]), "bip324-none") || !strings.Contains(fmt.Sprint(line["hint"]), "--bind") {
			t.Errorf("the log says %v", line)
		}
		client, code := socksTo(t, listening["addr"].(string), "203.0.113.1:8333")
		client.Close()
		if code == 0 {
			t.Error("a connection was granted without its interface")
		}
	}
	p.hangUp(t, file, "bind = []\n")
	if line := p.await(t, "bind removed"); line["level"] != "WARN" {
		t.Errorf("the log says %v", line)
	}
	p.stop(t)
}
