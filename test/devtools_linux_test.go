package test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// browserPath returns the path of Chromium, or skips the test.
func browserPath(t *testing.T) string {
	t.Helper()
	otherProgram(t)
	browser := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if browser == "" {
			browser, _ = exec.LookPath(name)
		}
	}
	if browser == "" {
		notRun(t, "Chromium is missing; apt-get install chromium, or CHROMIUM=/path/to/chromium runs them")
	}
	return browser
}

// browserCommand returns a headless Chromium that leaves no files behind, with additional arguments.
func browserCommand(t *testing.T, ctx context.Context, args ...string) *exec.Cmd {
	t.Helper()
	path := browserPath(t)
	dir, err := os.MkdirTemp("", "bip324-proxy-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // may fail while its processes are ending
	cmd := exec.CommandContext(ctx, path, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--user-data-dir=" + dir}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to kill all of its processes
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// tab is a page in Chromium, driven by the DevTools protocol over a pipe.
type tab struct {
	t       *testing.T
	ctx     context.Context
	in      io.Writer
	session string

	mu      sync.Mutex
	id      int
	waiting map[int]chan<- answer
	ended   error
	events  []devtoolsEvent // so far
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

type devtoolsEvent struct {
	Method string
	Params json.RawMessage
}

// openTab starts Chromium with one empty page.
func openTab(t *testing.T, args ...string) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // several browsers at once are slow
	cmd := browserCommand(t, ctx, append(args, "--remote-debugging-pipe", "about:blank")...)
	fromUs, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, toUs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{fromUs, toUs} // descriptors 3 and 4
	err = cmd.Start()
	fromUs.Close()
	toUs.Close()
	if err != nil {
		t.Fatal(err)
	}
	tab := &tab{t: t, ctx: ctx, in: in, waiting: make(map[int]chan<- answer)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		tab.read(out)
	}()
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		in.Close()
		<-read
		out.Close()
	})

	var target struct{ TargetID string }
	tab.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	tab.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	tab.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		tab.call(domain+".enable", nil, nil)
	}
	return tab
}

// read takes what Chromium sends until it ends.
func (tab *tab) read(out io.Reader) {
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadBytes(0)
		if err != nil {
			tab.mu.Lock()
			tab.ended = err
			for _, waits := range tab.waiting {
				close(waits)
			}
			tab.waiting = nil
			tab.mu.Unlock()
			return
		}
		var said struct {
			ID int
			answer
			devtoolsEvent
		}
		json.Unmarshal(line[:len(line)-1], &said)
		tab.mu.Lock()
		if said.ID == 0 {
			tab.events = append(tab.events, said.devtoolsEvent)
		} else if waits := tab.waiting[said.ID]; waits != nil {
			waits <- said.answer
			delete(tab.waiting, said.ID)
		}
		tab.mu.Unlock()
	}
}

// call calls a method of the protocol and decodes the result.
func (tab *tab) call(method string, params, result any) {
	tab.t.Helper()
	if err := tab.try(method, params, result); err != nil {
		tab.t.Fatalf("%s: %v", method, err)
	}
}

func (tab *tab) try(method string, params, result any) error {
	if params == nil {
		params = struct{}{}
	}
	said := make(chan answer, 1)
	tab.mu.Lock()
	if tab.ended != nil {
		tab.mu.Unlock()
		return fmt.Errorf("the browser has ended: %w", tab.ended)
	}
	tab.id++
	message := map[string]any{"id": tab.id, "method": method, "params": params}
	if tab.session != "" {
		message["sessionId"] = tab.session
	}
	tab.waiting[tab.id] = said
	b, err := json.Marshal(message)
	if err == nil {
		_, err = tab.in.Write(append(b, 0))
	}
	tab.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a, ok := <-said:
		switch {
		case !ok:
			return errors.New("the browser has ended")
		case a.Error != nil:
			return errors.New(a.Error.Message)
		case result != nil:
			return json.Unmarshal(a.Result, result)
		}
		return nil
	case <-tab.ctx.Done():
		return tab.ctx.Err()
	}
}

// eval returns the value of an expression, or of the promise it evaluates to, as a user gesture.
func eval[T any](tab *tab, expression string) (value T) {
	tab.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	tab.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &r)
	if e := r.ExceptionDetails; e != nil {
		tab.t.Fatalf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	if len(r.Result.Value) > 0 {
		if err := json.Unmarshal(r.Result.Value, &value); err != nil {
			tab.t.Fatalf("%s is %s: %v", expression, r.Result.Value, err)
		}
	}
	return value
}

// run runs a subtest in the tab.
func (tab *tab) run(name string, f func(t *testing.T)) {
	whole := tab.t
	defer func() { tab.t = whole }()
	whole.Run(name, func(t *testing.T) {
		tab.t = t
		f(t)
	})
}

// open loads a page.
func (tab *tab) open(url string) {
	tab.t.Helper()
	var r struct{ ErrorText string }
	tab.call("Page.navigate", map[string]any{"url": url}, &r)
	if r.ErrorText != "" {
		tab.t.Fatalf("%s: %s", url, r.ErrorText)
	}
}

// until waits until an expression is true.
func (tab *tab) until(expression string) {
	tab.t.Helper()
	eventually(tab.t, expression, func() bool { return eval[bool](tab, expression) })
}

// look sets the screen's width and height and the color scheme.
func (tab *tab) look(width, height int, scheme string) {
	tab.t.Helper()
	tab.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	tab.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// screenshot returns a PNG of the whole page or of the visible part.
func (tab *tab) screenshot(whole bool) []byte {
	tab.t.Helper()
	var r struct{ Data string }
	tab.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &r)
	b, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		tab.t.Fatal(err)
	}
	return b
}

// click clicks the center of the element that an expression returns.
func (tab *tab) click(expression string) {
	tab.t.Helper()
	at := eval[[2]float64](tab, fmt.Sprintf(`(e => { e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect();
		return [r.x + r.width / 2, r.y + r.height / 2]; })(%s)`, expression))
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		tab.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
	}
}

// press presses a key, such as Tab, Enter or a character.
func (tab *tab) press(key string) {
	tab.t.Helper()
	code, named := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27}[key]
	stroke := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": code}
	if named {
		stroke["code"] = key
	}
	if key == "Enter" {
		stroke["text"] = "\r"
	} else if !named {
		stroke["text"] = key
	}
	tab.call("Input.dispatchKeyEvent", stroke, nil)
	delete(stroke, "text")
	stroke["type"] = "keyUp"
	tab.call("Input.dispatchKeyEvent", stroke, nil)
}

// requested returns the URLs that the page has requested.
func (tab *tab) requested() (urls []string) {
	for _, e := range tab.all("Network.requestWillBeSent") {
		var p struct{ Request struct{ URL string } }
		json.Unmarshal(e, &p)
		urls = append(urls, p.Request.URL)
	}
	return urls
}

// complaints returns the errors and warnings of the console.
func (tab *tab) complaints() (all []string) {
	for _, e := range tab.all("Runtime.exceptionThrown") {
		all = append(all, string(e))
	}
	for _, e := range append(tab.all("Log.entryAdded"), tab.all("Runtime.consoleAPICalled")...) {
		if s := string(e); strings.Contains(s, `"level":"error"`) || strings.Contains(s, `"level":"warning"`) ||
			strings.Contains(s, `"type":"error"`) || strings.Contains(s, `"type":"warning"`) {
			all = append(all, s)
		}
	}
	return all
}

func (tab *tab) all(method string) (params []json.RawMessage) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for _, e := range tab.events {
		if e.Method == method {
			params = append(params, e.Params)
		}
	}
	return params
}

// named returns the roles and names that a screen reader gets for all nodes with one of the roles.
func (tab *tab) named(roles ...string) (all [][2]string) {
	tab.t.Helper()
	var r struct {
		Nodes []struct {
			Ignored bool
			Role    struct{ Value string }
			Name    struct{ Value string }
		}
	}
	tab.call("Accessibility.getFullAXTree", nil, &r)
	for _, n := range r.Nodes {
		if !n.Ignored && slices.Contains(roles, n.Role.Value) {
			all = append(all, [2]string{n.Role.Value, n.Name.Value})
		}
	}
	return all
}
