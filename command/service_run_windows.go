package command

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"

	"bip324proxy/internal/journal"
	"bip324proxy/internal/signals"
)

// runByManager runs the service for the service manager, with the event log as its log. It
// catches no signals: Windows sends SIGTERM to services when any user logs off.
func runByManager(c *cli.Context) error {
	log, err := journal.OpenEventLog(serviceName)
	if err == nil { // else there is no log
		defer log.Close()
	}
	err = svc.Run(serviceName, &serviceHandler{c, log})
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return usageError{errors.New("service run is for the service manager; write service install, or omit service run")}
	}
	return err
}

// serviceHandler handles the requests of the service manager.
type serviceHandler struct {
	context *cli.Context
	log     *journal.EventLog // or nil
}

// Execute runs the service until the service manager stops it or it fails. After invalid input it
// reports the exit code, and the service stays stopped. After any other failure the process ends
// without a report: the service manager takes that for a crash, and restarts the service.
func (h *serviceHandler) Execute(_ []string, requests <-chan svc.ChangeRequest, changes chan<- svc.Status) (specific bool, code uint32) {
	const step = time.Second // between signs of progress
	pending := func(s svc.State) svc.Status {
		return svc.Status{State: s, CheckPoint: 1, WaitHint: uint32(5 * step / time.Millisecond)}
	}
	if h.log != nil {
		h.context.App.ErrWriter = h.log
	}
	now := pending(svc.StartPending)
	changes <- now
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- runService(h.context, func() { close(ready) }) }()
	progress := time.NewTicker(step)
	defer progress.Stop()
	for {
		select {
		case <-ready:
			ready = nil
			now = svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown | svc.AcceptParamChange}
		case <-progress.C:
			if now.State == svc.Running {
				continue
			}
			now.CheckPoint++
		case request := <-requests:
			switch request.Cmd {
			case svc.ParamChange:
				send(signals.Hangups, syscall.SIGHUP)
			case svc.Stop, svc.Shutdown:
				send(signals.Stops, syscall.SIGTERM)
				now = pending(svc.StopPending)
			}
		case err := <-ended:
			if err == nil || err == errStopped {
				return false, 0
			}
			writeError(h.context.App.ErrWriter, err.Error(), time.Second)
			if code := exitCode(err); code != 1 {
				return true, uint32(code)
			}
			os.Exit(1)
		}
		changes <- now
	}
}

// send sends a signal to the service, unless the channel is full.
func send(c chan os.Signal, s os.Signal) {
	select {
	case c <- s:
	default:
	}
}
