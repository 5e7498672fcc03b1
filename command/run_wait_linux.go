package command

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/signals"
)

// passedOn are the signals that this process forwards to COMMAND.
var passedOn = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
	unix.SIGWINCH, unix.SIGCONT, unix.SIGTSTP,
}

// ofTerminal are those that the terminal sends to the whole foreground group, COMMAND included.
var ofTerminal = []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH, unix.SIGTSTP}

// supervise starts COMMAND by start, which makes it a child in the process group of this process,
// passes signals on, stops with it, and waits for its end.
func supervise(start func() (*os.Process, error)) error {
	caught := make(chan os.Signal, 64)
	for _, s := range passedOn {
		if !signals.Ignored(s) { // as by nohup(1): COMMAND ignores it, too
			signal.Notify(caught, s)
		}
	}
	process, err := start()
	if err != nil {
		signal.Reset(passedOn...)
		return err
	}
	signal.Ignore(unix.SIGTTOU) // the log is written in the background, too
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-caught:
				if !slices.Contains(ofTerminal, s) || !inForeground() {
					process.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	return wait(process.Pid)
}

// wait waits for the end of COMMAND. When the terminal stops COMMAND, this process stops, too,
// since the shell waits only for this process.
func wait(pid int) error {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("wait4", err)
		case status.Signaled():
			return &exitError{code: 128 + int(status.Signal()), signal: status.Signal()}
		case status.Exited() && status.ExitStatus() == 0:
			return nil
		case status.Exited():
			return &exitError{code: status.ExitStatus()}
		case status.Stopped() && slices.Contains([]syscall.Signal{unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}, status.StopSignal()) && openTerminal() == nil:
			unix.Kill(os.Getpid(), unix.SIGSTOP)
		}
	}
}

// inForeground reports whether this process is in the foreground group of its terminal.
func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetUint32(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && int(group) == unix.Getpgrp()
}

// endBy ends this process by the signal that killed COMMAND, without another core dump. It
// returns if that fails.
func endBy(s syscall.Signal) {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	runtime.LockOSThread()
	var byDefault [64]byte // a sigaction larger than that of any architecture: SIG_DFL, no flags, no mask
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	unix.Tgkill(os.Getpid(), unix.Gettid(), s)
}
