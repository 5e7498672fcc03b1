package command

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"bip324proxy/settings"
)

const (
	serviceName    = "bip324-proxy"
	serviceAccount = `NT SERVICE\` + serviceName // a virtual account, which Windows makes for the service

	serviceTimeout = 90 * time.Second // for a start, which may wait a minute for an address, and for a stop
	eventsCommand  = "Get-WinEvent -ProviderName " + serviceName + " -MaxEvents 20 | Format-List TimeCreated, Message"
)

func init() { relevant["service"] = []string{"config"} } // in its help

func serviceCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "service",
		ArgsUsage: "ACTION",
		Usage:     "install the proxy as a Windows service, reload its settings, or remove it: install, reload, remove",
		Flags:     slices.DeleteFunc(settings.Flags(), func(f cli.Flag) bool { return f.Names()[0] != "config" }),
		Action: func(c *cli.Context) error {
			action, err := onlyArgument(c)
			if err != nil {
				return err
			}
			switch action {
			case "install":
				return installService(c)
			case "reload":
				return reloadService(c.App.Writer)
			case "remove":
				return removeService(c.App.Writer)
			case "run": // by the service manager
				return runByManager(c)
			}
			return usageError{errors.New("service: write install, reload or remove after it")}
		},
	})
}

// connectManager connects to the service manager, as only administrators may.
func connectManager() (*mgr.Mgr, error) {
	manager, err := mgr.Connect()
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return nil, errors.New("access is denied; run this in a terminal opened as administrator")
	case err != nil:
		return nil, fmt.Errorf("service manager: %w", err)
	}
	return manager, nil
}

// openService opens the installed service. The caller must call close.
func openService() (s *mgr.Service, close func(), err error) {
	manager, err := connectManager()
	if err != nil {
		return nil, nil, err
	}
	s, err = manager.OpenService(serviceName)
	if err != nil {
		manager.Disconnect()
		return nil, nil, explainService(err)
	}
	return s, func() { s.Close(); manager.Disconnect() }, nil
}

// explainService explains an error of the service manager.
func explainService(err error) error {
	switch {
	case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
		return errors.New("the service is not installed")
	case errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE):
		return errors.New("the service is not running; start it with: sc.exe start " + serviceName)
	case errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
		return errors.New("the service is being removed; close programs that show services, such as services.msc, and try again")
	}
	return fmt.Errorf("service manager: %w", err)
}

// reloadService makes the service reload its settings.
func reloadService(w io.Writer) error {
	s, close, err := openService()
	if err != nil {
		return err
	}
	defer close()
	if _, err := s.Control(svc.ParamChange); err != nil {
		return explainService(err)
	}
	fmt.Fprintf(w, "The service reloads its settings; its log has the result: %s\n", eventsCommand)
	return nil
}

// removeService stops the service and removes it.
func removeService(w io.Writer) error {
	s, close, err := openService()
	if err != nil {
		return err
	}
	defer close()
	_, err = s.Control(svc.Stop)
	if err == nil {
		err = awaitState(s, svc.Stopped)
	}
	if err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return fmt.Errorf("the service did not stop: %w; try again", err)
	}
	if err := s.Delete(); err != nil {
		return explainService(err)
	}
	eventlog.Remove(serviceName)
	fmt.Fprintf(w, "Removed the service %s.\n", serviceName)
	if folder, err := dataFolder(); err == nil {
		fmt.Fprintf(w, "Its settings and known peers are still in %s.\n", folder)
	}
	return nil
}

// awaitState waits until the service has that state.
func awaitState(s *mgr.Service, state svc.State) error {
	for deadline := time.Now().Add(serviceTimeout); ; time.Sleep(100 * time.Millisecond) {
		switch now, err := s.Query(); {
		case err != nil || now.State == state:
			return err
		case now.State == svc.Stopped && now.ServiceSpecificExitCode != 0:
			return fmt.Errorf("exit code %d", now.ServiceSpecificExitCode)
		case now.State == svc.Stopped:
			return windows.Errno(now.Win32ExitCode)
		case time.Now().After(deadline):
			return errors.New("timeout")
		}
	}
}
