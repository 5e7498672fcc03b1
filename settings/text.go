package settings

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxFile is the maximum size in bytes of a file with settings, a password or a token.
const maxFile = 1 << 20

// readText returns the text of a file in UTF-8, or in UTF-16 with a byte order mark, as
// some Windows editors and shells write it. The byte order mark is not part of the text.
// The error is an *Error if the file can be read but is not text.
func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 && len(content) == 0 {
		return "", fmt.Errorf("%s is an empty pipe: its writer failed, or it can be read only once", path)
	}
	return decodeText(path, content)
}

// decodeText decodes the content of the file at path; see readText.
func decodeText(path string, content []byte) (string, error) {
	wrong := func(before, why string) error {
		return &Error{fmt.Sprintf("%s:%d", path, 1+strings.Count(before, "\n")), errors.New(why + "; save it as UTF-8")}
	}
	if len(content) > maxFile {
		return "", &Error{path + ":1", fmt.Errorf("the file has more than %d bytes; is it the right one?", maxFile)}
	}
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(content, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(content, []byte("\xfe\xff")):
		order = binary.BigEndian
	}
	text := string(bytes.TrimPrefix(content, []byte(byteOrderMark)))
	if order != nil {
		units := make([]uint16, len(content)/2-1)
		binary.Decode(content[2:], order, units)
		text = string(utf16.Decode(units))
		if before, _, bad := strings.Cut(text, string(utf8.RuneError)); bad || len(content)%2 != 0 {
			return "", wrong(before, "the file is invalid UTF-16")
		}
	}
	if before, _, bad := strings.Cut(text, "\x00"); bad {
		return "", wrong(before, "the file contains NUL bytes: it is UTF-16 or not text")
	}
	if before, _, bad := strings.Cut(strings.ToValidUTF8(text, "\x00"), "\x00"); bad {
		return "", wrong(before, "the file is not UTF-8")
	}
	return text, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.ReplaceAll(text, "\r", "\n"), "\n")
	return line
}
