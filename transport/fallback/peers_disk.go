package fallback

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// readPeersFile returns what is in the file at path, up to a byte more than
// there may be, and whether there is one.
func readPeersFile(path string) (b []byte, exists bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case !info.Mode().IsRegular(): // a save would replace /dev/null, for example
		return nil, false, ErrPeersFile
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	b, err = io.ReadAll(io.LimitReader(f, maxPeersFile+1))
	return b, err == nil, err
}

// replaceFile puts a file with the contents b at path, in one step: whatever
// goes wrong before, the old one stays. It is first moved to aside, unless that
// is empty.
func replaceFile(path, aside string, b []byte) (err error) {
	temp, err := writeTemp(path, b)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	if aside != "" {
		err = os.Rename(path, aside)
		if isMountPoint(err) {
			err = copyFile(aside, path)
		}
		if err != nil {
			return err
		}
	}
	err = os.Rename(temp, path)
	if isMountPoint(err) {
		return overwrite(path, temp, b)
	}
	return err
}

// tryFile returns the error that replaceFile would most likely return, and leaves
// the file as it is.
func tryFile(path string, b []byte) error {
	temp, err := writeTemp(path, b)
	if err != nil {
		return err
	}
	return os.Remove(temp)
}

// writeTemp writes b to a new file, mode 0600, beside path, and returns its path.
func writeTemp(path string, b []byte) (temp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync() // or a rename that survives a crash could name an empty file
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}

// isMountPoint reports whether a rename failed because one of the paths is a mount
// point, as a single file is that was mounted into a container.
func isMountPoint(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV)
}

// wholeFile is where a copy lies of what the file at path is overwritten with,
// until that is done.
func wholeFile(path string) string { return path + ".new" }

// overwrite writes b, which the file at temp has already, over the file at path.
// If that fails, or is cut short, the copy at wholeFile stays.
func overwrite(path, temp string, b []byte) error {
	if err := os.Rename(temp, wholeFile(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Remove(wholeFile(path))
	}
	return err
}

// copyFile writes a copy of the file from, mode 0600, to the path to.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closing := out.Close(); err == nil {
		err = closing
	}
	return err
}
