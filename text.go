package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf16"
)

// The byte order marks that editors and shells of Windows begin a file with.
var (
	bomUTF8    = []byte("\xef\xbb\xbf")
	bomUTF16LE = []byte("\xff\xfe")
	bomUTF16BE = []byte("\xfe\xff")
)

var errNotUTF8 = errors.New("this is not a text in UTF-8; save it as UTF-8")

// asUTF8 returns text without its byte order mark, in UTF-8 if it was UTF-16. Without a
// mark UTF-16 is an error, as is any text with NULs: a password would have them unseen.
func asUTF8(text []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(text, bomUTF16LE):
		order = binary.LittleEndian
	case bytes.HasPrefix(text, bomUTF16BE):
		order = binary.BigEndian
	default:
		text = bytes.TrimPrefix(text, bomUTF8)
	}
	if order != nil {
		if len(text)%2 != 0 {
			return nil, errNotUTF8
		}
		var units []uint16
		for b := text[2:]; len(b) > 0; b = b[2:] {
			units = append(units, order.Uint16(b))
		}
		text = []byte(string(utf16.Decode(units)))
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errNotUTF8
	}
	return text, nil
}

// maxSecret is the most bytes that are read of a file with a password or a token.
const maxSecret = 64 << 10

// firstLineOf returns the first line of the file at path, without its end.
func firstLineOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := firstLine(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return line, nil
}

func firstLine(r io.Reader) (string, error) {
	in := bufio.NewReader(io.LimitReader(r, maxSecret))
	text, err := in.ReadBytes('\n') // no more: a pipe may stay open
	if mark := text[:min(2, len(text))]; err == nil && (bytes.Equal(mark, bomUTF16LE) || bytes.Equal(mark, bomUTF16BE)) {
		var rest []byte
		rest, err = io.ReadAll(in)
		text = append(text, rest...)
	}
	if err != nil && err != io.EOF {
		return "", err
	}
	if text, err = asUTF8(text); err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}
