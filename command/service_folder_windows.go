package command

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/windows"
)

// serviceSID identifies the service's account: "sc.exe showsid bip324-proxy" prints it.
const serviceSID = "S-1-5-80-3807121369-2665056235-2552353051-946726838-1226581628"

// Access to the folder with the settings, and to the folder within it for known peers: for the
// system, administrators and the service, but not for other users, because settings may contain
// passwords. The service can write only known peers.
const (
	onlyAdministrators = "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	settingsAccess     = onlyAdministrators + "(A;OICI;0x1200a9;;;" + serviceSID + ")" // read
	stateAccess        = onlyAdministrators + "(A;OICI;0x1301bf;;;" + serviceSID + ")" // modify
)

// firstConfig is the settings file of a new service.
const firstConfig = "# Settings of the bip324-proxy service. docs/configuration.md lists all of them.\r\n" +
	"# To apply a change: bip324-proxy service reload\r\n" +
	"# Write paths in single quotes and with the drive, such as 'C:\\folder\\file'.\r\n\r\n" +
	"# The status page, http://127.0.0.1:1325/ in a browser.\r\n" +
	"status = \"127.0.0.1:1325\"\r\n\r\n" +
	"# Remembers across restarts which peers speak v2. The service can write only to this folder.\r\n" +
	"known-peers = '%s'\r\n"

// dataFolder returns the folder of the service's settings and known peers.
func dataFolder() (string, error) {
	parent, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	return filepath.Join(parent, serviceName), err
}

// prepareConfig returns the path of the service's settings file: --config, or config.toml in
// dataFolder. It creates the folders and, unless it exists, config.toml; isNew reports the latter.
func prepareConfig(c *cli.Context) (config string, isNew bool, err error) {
	folder, err := dataFolder()
	if err != nil {
		return "", false, err
	}
	state := filepath.Join(folder, "state")
	config = filepath.Join(folder, "config.toml")
	for _, f := range []struct{ path, access string }{{folder, settingsAccess}, {state, stateAccess}} {
		if err := makeFolder(f.path, f.access); err != nil {
			return "", false, err
		}
	}
	if err := checkOwn(config); err != nil {
		return "", false, err
	}
	given := os.Getenv("BIP324_PROXY_CONFIG")
	for _, level := range c.Lineage() {
		if texts, _ := level.Value("config").([]string); len(texts) > 0 {
			given = texts[len(texts)-1]
			break
		}
	}
	if given != "" {
		config, err = filepath.Abs(given)
		return config, false, err
	}
	f, err := os.OpenFile(config, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return config, false, nil
	case err != nil:
		return "", false, err
	}
	_, err = fmt.Fprintf(f, firstConfig, filepath.Join(state, "peers"))
	return config, true, cmp.Or(err, f.Close())
}

// makeFolder creates a folder with that access, or sets the access of an existing one. Every user
// can create folders in ProgramData, and could thus choose the service's settings: what belongs to
// another user, or is a link, is an error.
func makeFolder(path, access string) error {
	d, err := windows.SecurityDescriptorFromString(access)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	attributes := windows.SecurityAttributes{SecurityDescriptor: d}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	err = windows.CreateDirectory(name, &attributes)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w", path, err)
	}
	folder, err := openOwn(path, windows.WRITE_DAC|windows.WRITE_OWNER)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(folder)
	owner, _, err := d.Owner()
	if err != nil {
		return err
	}
	dacl, _, err := d.DACL()
	if err != nil {
		return err
	}
	err = windows.SetSecurityInfo(folder, windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, owner, nil, dacl, nil)
	if err != nil {
		return fmt.Errorf("%s: cannot restrict the access: %w", path, err)
	}
	return nil
}

// checkOwn returns an error if path exists and belongs to another user, or is a link.
func checkOwn(path string) error {
	f, err := openOwn(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return windows.CloseHandle(f)
}

// openOwn opens a file or folder, not what a link leads to, for reading and for access. It returns
// an error if that belongs to another user, or is a link. While it is open, nobody can put another
// in its place.
func openOwn(path string, access uint32) (f windows.Handle, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	f, err = windows.CreateFile(name, windows.GENERIC_READ|access, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OPEN_REPARSE_POINT|windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err == nil {
		if err = checkHandle(f, name); err != nil {
			windows.CloseHandle(f)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// checkHandle returns an error if f, whose path is name, belongs to another user, or is a link.
func checkHandle(f windows.Handle, name *uint16) error {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(f, &info); err != nil {
		return err
	}
	attributes, err := windows.GetFileAttributes(name) // Wine tells only these
	if err != nil {
		return err
	}
	if (info.FileAttributes|attributes)&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return errors.New("it is a link, which could lead elsewhere later; delete it")
	}
	d, err := windows.GetSecurityInfo(f, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, _, err := d.Owner()
	if err != nil {
		return err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	if owner.Equals(user.User.Sid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid) {
		return nil
	}
	return errors.New("it belongs to another user, who may have it open; delete it")
}
