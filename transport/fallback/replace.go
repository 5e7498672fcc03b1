package fallback

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// replaceFile atomically replaces the file at path by one with the contents b. If
// aside is not empty the old file is moved there first.
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

// writeTemp writes b to a new file, mode 0600, beside path and returns its path.
func writeTemp(path string, b []byte) (temp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return "", err
	}
	if err = writeAll(f, b); err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}

// writeAll makes b the contents of f and closes f. It syncs f: otherwise the rename
// that follows could survive a crash that the contents do not.
func writeAll(f *os.File, b []byte) error {
	_, err := f.Write(b)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// isMountPoint reports whether a rename failed with err because one of the paths is a
// mount point, such as a single file mounted into a container.
func isMountPoint(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV)
}

// copyOf returns the path of the copy that exists while the file at path, a mount
// point, is overwritten.
func copyOf(path string) string { return path + ".new" }

// overwrite writes b over the file at path. Unless that succeeds, temp, which has b
// already, stays as the copy.
func overwrite(path, temp string, b []byte) error {
	if err := os.Rename(temp, copyOf(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := writeAll(f, b); err != nil {
		return err
	}
	return os.Remove(copyOf(path))
}

// copyFile copies the file from to the path to, with mode 0600.
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
	return errors.Join(err, out.Close())
}
