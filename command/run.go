package command

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/hints"
	"bip324proxy/internal/netns"
	"bip324proxy/proxy"
	"bip324proxy/settings"
)

func runCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "run",
		ArgsUsage: "-- COMMAND [ARG…]",
		Usage:     "run a program whose TCP connections all go through the proxy, without a proxy setting",
		Description: `COMMAND runs in a network namespace with this process as its only way out. It needs Linux, and
no privilege.`,
		Flags:  settings.Flags(),
		Action: runGuest,
	})
}

// hold is the process inside the namespace of run, which starts it.
func hold() int {
	if netns.Hold() != nil {
		return 1 // the process outside says what failed
	}
	return 0
}

// exitError is the exit code of a command that ran.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func runGuest(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return usageError{errors.New("run needs a command; write run -- COMMAND [ARG…]")}
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	args[0] = path
	set, err := settings.Load(c)
	if err != nil {
		return err
	}
	s := &service{level: new(slog.LevelVar), stderr: c.App.ErrWriter, ready: func() {}}
	s.current.Store(set)
	s.setLevel()
	s.log, s.queue = newLog(s.stderr, set.LogFormat, s.level)
	defer s.endLog()
	s.server = &proxy.Server{
		Policy:        s.policy(),
		MaxSessions:   set.Sessions(),
		MessageMemory: set.MessageMemory << 20,
		Hint:          hints.For,
		Log:           s.log,
	}
	ns, err := netns.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	defer s.server.Close()
	for _, l := range serveNames(s.server.Lookup, ns.DNS, ns.Redirected) {
		go s.server.ServeTransparent(l)
	}
	process, err := ns.Start(args)
	if err != nil {
		return err
	}
	state, err := process.Wait()
	if err != nil {
		return os.NewSyscallError("wait", err)
	}
	if code := state.ExitCode(); code != 0 {
		return exitError(code)
	}
	return nil
}
