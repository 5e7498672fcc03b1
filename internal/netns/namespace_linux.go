package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// New makes a namespace. Its listeners accept already; what nobody accepts waits.
func New() (*Namespace, error) {
	ours, theirs, err := newControl()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	self, err := os.Executable()
	if err != nil {
		ours.Close()
		return nil, err
	}
	cmd := exec.Command(self, HolderCommand)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr // for the command
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr, err = holderAttr()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		ours.Close()
		return nil, &Error{"create a network namespace", err}
	}
	n := &Namespace{holder: cmd.Process, control: ours}
	if err := n.takeSockets(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// holderAttr returns the attributes of the holder's process: its namespaces, in which users are
// who they are outside, and the capabilities to set them up.
func holderAttr() (*syscall.SysProcAttr, error) {
	uids, err := idMap("uid_map", os.Geteuid())
	if err != nil {
		return nil, err
	}
	gids, err := idMap("gid_map", os.Getegid())
	return &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings:                uids,
		GidMappings:                gids,
		GidMappingsEnableSetgroups: maySetGroups(),
		AmbientCaps:                []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETPCAP},
		Setpgid:                    true, // the signals of the terminal are not for it
	}, err
}

// maySetGroups reports whether the command may change its supplementary groups: root may, unless
// this process is in a user namespace itself where nobody may.
func maySetGroups() bool {
	setting, _ := os.ReadFile("/proc/self/setgroups")
	return os.Geteuid() == 0 && strings.TrimSpace(string(setting)) != "deny"
}

// idMap returns a mapping of ids to themselves: of all for root, else of own.
func idMap(file string, own int) (all []syscall.SysProcIDMap, err error) {
	if os.Geteuid() != 0 {
		return []syscall.SysProcIDMap{{ContainerID: own, HostID: own, Size: 1}}, nil
	}
	f, err := os.Open("/proc/self/" + file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for {
		var inside, outside, size int
		if n, _ := fmt.Fscan(f, &inside, &outside, &size); n != 3 {
			return all, nil
		}
		all = append(all, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
}

// takeSockets receives the sockets of the namespace once it is set up.
func (n *Namespace) takeSockets() error {
	var m message
	files, err := n.control.receive(&m)
	if err != nil {
		return err
	}
	for _, f := range files[:m.Listeners] {
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		n.Redirected = append(n.Redirected, l)
	}
	for _, f := range files[m.Listeners:] {
		c, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		n.DNS = append(n.DNS, c.(*net.UDPConn))
	}
	for _, f := range files {
		f.Close()
	}
	return nil
}

// Start starts a command inside. args begin with its path.
func (n *Namespace) Start(args []string) (*os.Process, error) {
	if err := n.control.send(message{Start: args, Group: unix.Getpgrp()}); err != nil {
		return nil, err
	}
	var m message
	if _, err := n.control.receive(&m); err != nil {
		return nil, err
	}
	return os.FindProcess(m.PID)
}

// Dial connects to a port of the namespace's loopback.
func (n *Namespace) Dial(port uint16) (net.Conn, error) {
	if err := n.control.send(message{Port: port}); err != nil {
		return nil, err
	}
	var m message
	files, err := n.control.receive(&m)
	if err != nil {
		return nil, err
	}
	defer files[0].Close()
	return net.FileConn(files[0])
}

// Close closes the sockets of the namespace and ends the holder. The namespace itself lasts as
// long as processes in it.
func (n *Namespace) Close() error {
	for _, l := range n.Redirected {
		l.Close()
	}
	for _, c := range n.DNS {
		c.Close()
	}
	n.control.Close()
	_, err := n.holder.Wait()
	if errors.Is(err, syscall.ECHILD) {
		err = nil
	}
	return err
}
