package command

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf16"
	"unsafe"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"bip324proxy/settings"
)

// installService installs the service and starts it.
func installService(c *cli.Context) error {
	program, err := programFile()
	if err != nil {
		return err
	}
	manager, err := connectManager()
	if err != nil {
		return err
	}
	defer manager.Disconnect()
	if old, err := manager.OpenService(serviceName); err == nil {
		old.Close()
		return errors.New("the service is already installed; to install it again, first run bip324-proxy service remove")
	}
	config, isNew, err := prepareConfig(c)
	if err != nil {
		return err
	}
	set, err := serviceSettings(c, config)
	if err != nil {
		return err
	}
	eventlog.Remove(serviceName) // one that was left behind
	if err := eventlog.InstallAsEventCreate(serviceName, eventlog.Info|eventlog.Warning|eventlog.Error); err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	s, err := createService(manager, program, config)
	if err != nil {
		eventlog.Remove(serviceName)
		return err
	}
	defer s.Close()
	w := c.App.Writer
	fmt.Fprintf(w, "Installed the service %s, which starts with Windows and runs as %s.\n", serviceName, serviceAccount)
	fmt.Fprintf(w, "Settings: %s%s\n", config, map[bool]string{true: " (new)"}[isNew])
	err = s.Start()
	if err == nil {
		err = awaitState(s, svc.Running)
	}
	if err != nil {
		return fmt.Errorf("the service is installed, but did not start: %w; the event log says why: %s", err, eventsCommand)
	}
	fmt.Fprintf(w, "It is running. Clients connect to %s.\n", strings.Join(set.Listen, " or "))
	if set.Status != "" && !strings.HasPrefix(set.Status, "unix:") {
		fmt.Fprintf(w, "Status page: http://%s/\n", set.Status)
	}
	fmt.Fprintf(w, "Log: %s\n", eventsCommand)
	fmt.Fprintln(w, "After a change of the settings: bip324-proxy service reload")
	fmt.Fprintln(w, "What to write into the settings of your Bitcoin program: bip324-proxy setup")
	return nil
}

// programFile returns the path of this program. It must be below Program Files, where only
// administrators can replace it and the service's account can read it.
func programFile() (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	parent, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0)
	if err != nil {
		return "", err
	}
	if len(program) <= len(parent) || !strings.EqualFold(program[:len(parent)+1], parent+`\`) {
		return "", usageError{fmt.Errorf("%s: other users could replace the program there; move its folder to %s, and run it from there",
			program, parent)}
	}
	return program, nil
}

// serviceSettings returns the settings in the file config. Settings from flags or the environment
// are an error: the service would not have them.
func serviceSettings(c *cli.Context, config string) (*settings.Settings, error) {
	if err := c.Set("config", config); err != nil {
		return nil, err
	}
	set, err := settings.Load(c)
	if err != nil {
		return nil, err
	}
	for _, s := range set.Shown() {
		if s.Name != "config" && (s.Origin == "flag" || s.Origin == "environment") {
			return nil, usageError{fmt.Errorf("%s: the service has only the settings in %s; write it there", set.Where(s.Name), config)}
		}
	}
	return set, nil
}

// createService creates the service, which runs under serviceAccount, without privileges.
func createService(manager *mgr.Mgr, program, config string) (*mgr.Service, error) {
	s, err := manager.CreateService(serviceName, program, mgr.Config{
		StartType:        mgr.StartAutomatic,
		ErrorControl:     mgr.ErrorNormal,
		Dependencies:     []string{"Tcpip"},
		ServiceStartName: serviceAccount,
		DisplayName:      "BIP324 proxy",
		Description:      "SOCKS5 proxy that gives any Bitcoin client encrypted (BIP324, v2) peer connections.",
	}, "--config", config, "service", "run")
	if err != nil {
		return nil, explainService(err)
	}
	// Windows does not restart it after invalid input: see Execute.
	err = s.SetRecoveryActions([]mgr.RecoveryAction{
		{Type: mgr.ServiceRestart, Delay: 5 * time.Second},
		{Type: mgr.ServiceRestart, Delay: 30 * time.Second},
		{Type: mgr.ServiceRestart, Delay: 2 * time.Minute},
	}, 24*60*60)
	if err == nil {
		err = dropPrivileges(s)
	}
	if err != nil {
		s.Delete()
		s.Close()
		return nil, explainService(err)
	}
	return s, nil
}

// dropPrivileges removes all of the service's privileges except the one to traverse folders, which
// every user has.
func dropPrivileges(s *mgr.Service) error {
	list := utf16.Encode([]rune("SeChangeNotifyPrivilege\x00\x00"))
	required := struct{ privileges *uint16 }{&list[0]} // SERVICE_REQUIRED_PRIVILEGES_INFO
	err := windows.ChangeServiceConfig2(s.Handle, windows.SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, (*byte)(unsafe.Pointer(&required)))
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) { // Wine has no privileges
		return nil
	}
	return err
}
