//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/inherited"
)

// startTimeout bounds how long the new process may take until it executes the command.
const startTimeout = time.Minute

// A report is what the new process tells this one: a step and a number.
const (
	reportFilter   = iota + 1 // the filter is refused, with this errno
	reportListener            // the descriptor that the filter's notifications come from
	reportExec                // the command could not be executed, with this errno
)

// Start starts cmd with the sockets of its process and of all descendants redirected to
// ports. The caller calls cmd.Wait as after cmd.Start, and Close once no descendant is to
// connect any more; a descendant that this process may not trace, such as a daemon whose
// parent has ended (unless this process is a subreaper), cannot connect. An
// UnavailableError says that the system does not allow it; a fs.PathError or cmd.Err,
// that there is no such command.
func Start(cmd *exec.Cmd, ports Ports) (*Supervisor, error) {
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	unix.SetNonblock(ends[0], true)
	reports, theirs := os.NewFile(uintptr(ends[0]), "reports"), os.NewFile(uintptr(ends[1]), "reports")
	defer reports.Close()
	defer theirs.Close()
	reports.SetDeadline(time.Now().Add(startTimeout))

	path := cmd.Path
	kept := inheritedFiles(3+len(cmd.ExtraFiles), ends[1])
	defer closeAll(kept)
	cmd.ExtraFiles = append(append(cmd.ExtraFiles, kept...), theirs)
	fd := strconv.Itoa(2 + len(cmd.ExtraFiles))
	cmd.Args = append([]string{os.Args[0], ExecCommand, fd, path}, cmd.Args...)
	cmd.Path = "/proc/self/exe"
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	theirs.Close()
	listener, err := awaitExec(cmd.Process.Pid, reports, path)
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, err
	}
	return newSupervisor(listener, ports), nil
}

// inheritedFiles returns duplicates of the inherited descriptors from first up to end, in their
// places; nil stands for the others.
func inheritedFiles(first, end int) (files []*os.File) {
	for fd := first; fd < end; fd++ {
		var f *os.File
		if inherited.Is(fd) {
			if d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, end); err == nil {
				f = os.NewFile(uintptr(d), "inherited")
			}
		}
		files = append(files, f)
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() // of nil, it does nothing
	}
}

// awaitExec returns the filter's listener of the process pid once it executes the command.
func awaitExec(pid int, reports *os.File, path string) (listener *os.File, err error) {
	for {
		step, value, err := readReport(reports)
		switch {
		case err == io.EOF && listener != nil:
			return listener, nil // the descriptor was closed by exec
		case err != nil:
			err = fmt.Errorf("start %s: %w", path, err)
		case step == reportFilter:
			err = &UnavailableError{"seccomp", syscall.Errno(value)}
		case step == reportExec:
			err = &fs.PathError{Op: "exec", Path: path, Err: syscall.Errno(value)}
		default:
			if listener, err = takeListener(pid, int(value)); err == nil {
				_, err = reports.Write([]byte{0})
			}
		}
		if err != nil {
			if listener != nil {
				listener.Close()
			}
			return nil, err
		}
	}
}

// takeListener duplicates the descriptor fd of the process pid.
func takeListener(pid, fd int) (*os.File, error) {
	fd, err := duplicate(pid, fd)
	if err != nil {
		return nil, &UnavailableError{stepGetfd, err}
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Close ends a wait for a call
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "seccomp"), nil
}

// duplicate returns a duplicate of the descriptor fd of the process pid. It needs the same
// permission as ptrace(2).
func duplicate(pid, fd int) (int, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, fd, 0)
}

func readReport(r io.Reader) (step, value uint32, err error) {
	var b [8]byte
	_, err = io.ReadFull(r, b[:])
	return binary.LittleEndian.Uint32(b[:]), binary.LittleEndian.Uint32(b[4:]), err
}

func report(fd int, step, value uint32) {
	b := binary.LittleEndian.AppendUint32(nil, step)
	unix.Write(fd, binary.LittleEndian.AppendUint32(b, value))
}

// Exec installs the filter and executes the command in args, as Start gives them after
// ExecCommand. It returns only if that fails.
func Exec(args []string) error {
	internal := errors.New(ExecCommand + ": this command is internal")
	if len(args) < 3 {
		return internal
	}
	reports, err := strconv.Atoi(args[0])
	if err != nil {
		return internal
	}
	unix.CloseOnExec(reports)
	runtime.LockOSThread() // the filter is this thread's; it becomes the process's by exec
	listener, err := install()
	if err != nil {
		report(reports, reportFilter, uint32(errnoFrom(err)))
		return err
	}
	report(reports, reportListener, uint32(listener))
	if n, err := unix.Read(reports, make([]byte, 1)); n != 1 {
		return fmt.Errorf("%s: the supervisor has ended: %w", ExecCommand, err)
	}
	err = syscall.Exec(args[1], args[2:], os.Environ())
	if err == unix.ENOEXEC { // like execvp(3), have sh run what has no format
		err = syscall.Exec("/bin/sh", append([]string{"sh", args[1]}, args[3:]...), os.Environ())
	}
	report(reports, reportExec, uint32(errnoFrom(err)))
	return err
}

// install puts this thread under the filter and returns the descriptor that the
// notifications come from.
func install() (int, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	refuseTCP()
	f := filter()
	// After the supervisor has received a call, only a fatal signal interrupts it (Linux 5.19).
	fd, err := f.set(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if err == unix.EINVAL {
		fd, err = f.set(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	return fd, err
}

// set makes the code a filter of this thread, and returns what seccomp(2) does.
func (c code) set(flags uintptr) (int, error) {
	program := unix.SockFprog{Len: uint16(len(c)), Filter: &c[0]}
	value, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return -1, errno
	}
	return int(value), nil
}

// refuseTCP has Landlock refuse all TCP connections of this thread, where the kernel can
// (Linux 6.7). The supervisor makes them, so this matters only to a program that tricks
// it into letting one pass.
func refuseTCP() {
	const connectTCP = 1 << 1        // LANDLOCK_ACCESS_NET_CONNECT_TCP
	attr := [2]uint64{1: connectTCP} // handled_access_fs, handled_access_net
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return
	}
	unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
	unix.Close(int(fd))
}
