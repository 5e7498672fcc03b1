package command

import (
	"net"
	"os"
	"strings"
	"time"
)

// notify tells systemd the state of the service, such as READY=1 (sd_notify(3)). It does
// nothing if systemd does not ask for it, and waits for no more than a second.
func notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") { // "@" is an abstract one
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, err = conn.Write([]byte(state))
	return err
}
