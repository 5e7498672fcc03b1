// Command picture takes the README's picture of the status page, in five minutes:
//
//	go -C test run ./picture ../docs/status.png
//
// It runs the proxy between clients and peers that it plays, and Chromium, which is in PATH or CHROMIUM.
package main

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"bip324proxy/test/hostile"
)

const (
	clientAgent = "/bitcoinj:0.17/"
	chartTime   = 5 * time.Minute // that the throughput's chart shows
	patience    = 30 * time.Second
)

// agents has the user agents of the peers that speak v2.
var agents = map[string]string{
	"192.0.2.17:8333":       "/Satoshi:30.0.0/",
	"198.51.100.4:8333":     "/Satoshi:29.1.0/Knots:20250903/",
	"203.0.113.88:8333":     "/btcwire:0.5.0/btcd:0.25.0/",
	"[2001:db8:7::19]:8333": "/Satoshi:29.2.0/",
	"node.example:8333":     "/Satoshi:28.1.0/",
}

// v1Only hangs up on v2.
const v1Only = "203.0.113.5:8333"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "picture: %v\n", err)
		os.Exit(1)
	}
}

func run(file string) error {
	dir, err := os.MkdirTemp("", "bip324-picture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	upstream, err := serveUpstream()
	if err != nil {
		return err
	}
	proxy, err := startProxy(dir, upstream)
	if err != nil {
		return err
	}
	defer proxy.stop()

	started := time.Now()
	for i, dest := range slices.Sorted(maps.Keys(agents)) {
		nc, err := connect(proxy.listen, dest)
		if err != nil {
			return err
		}
		defer nc.Close()
		go io.Copy(io.Discard, nc)
		go requestBlocks(nc, i)
		time.Sleep(7 * time.Second)
	}
	time.Sleep(chartTime - time.Minute - time.Since(started))
	for _, dest := range []string{"198.51.100.77:8333", v1Only} {
		if nc, err := connect(proxy.listen, dest); err == nil {
			defer nc.Close()
		}
	}
	time.Sleep(chartTime - time.Since(started))
	picture, err := photograph("http://"+proxy.status+"/", dir)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(out, fewColors(picture)); err != nil {
		return err
	}
	return out.Close()
}

// connect connects to dest through the proxy and sends a v1 client's first messages.
func connect(proxy, dest string) (*net.TCPConn, error) {
	nc, err := hostile.Connect(proxy, dest, patience)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dest, err)
	}
	nc.SetDeadline(time.Time{})
	_, err = nc.Write(append(hostile.V1("version", hostile.Version(clientAgent)), hostile.V1("verack", nil)...))
	return nc, err
}

// requestBlocks requests a block every two seconds, whose size makes a chart worth looking at.
func requestBlocks(nc net.Conn, client int) {
	phase := float64(client)
	for n := 0.0; ; n++ {
		size := 2000 + 60_000*math.Pow(math.Sin(n/30+phase), 4) + 9000*math.Sin(n/3+5*phase)
		if _, err := nc.Write(append(hostile.GetBlock(int(max(size, 300))), hostile.Pings(1+60*client)...)); err != nil {
			return
		}
		time.Sleep(2 * time.Second)
	}
}

// photograph returns what Chromium shows of url.
func photograph(url, dir string) (image.Image, error) {
	browser := cmp.Or(os.Getenv("CHROMIUM"), "chromium")
	file := filepath.Join(dir, "page.png")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+filepath.Join(dir, "chromium"), "--hide-scrollbars", "--window-size=1280,3000", // more than the page's height
		"--virtual-time-budget=3000", // the page asks for the status and draws it
		"--screenshot="+file, url)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", browser, err, text)
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	picture, err := png.Decode(in)
	if err != nil {
		return nil, err
	}
	return withoutEmptyEnd(picture)
}

const margin = 24 // pixels below the page's last line

// withoutEmptyEnd returns the picture without what is empty below the page.
func withoutEmptyEnd(picture image.Image) (image.Image, error) {
	b := picture.Bounds()
	ground := picture.At(b.Min.X, b.Max.Y-1)
	isEmpty := func(y int) bool {
		for x := b.Min.X; x < b.Max.X; x++ {
			if picture.At(x, y) != ground {
				return false
			}
		}
		return true
	}
	end := b.Max.Y
	for end > b.Min.Y && isEmpty(end-1) {
		end--
	}
	if end+margin > b.Max.Y {
		return nil, fmt.Errorf("the page is higher than the picture, %d pixels", b.Dy())
	}
	all := image.NewRGBA(image.Rect(0, 0, b.Dx(), end-b.Min.Y+margin))
	draw.Draw(all, all.Bounds(), picture, b.Min, draw.Src)
	return all, nil
}

// fewColors returns the picture in its 256 most frequent colors.
func fewColors(picture image.Image) image.Image {
	count := make(map[color.RGBA]int)
	all := image.NewRGBA(picture.Bounds())
	draw.Draw(all, all.Bounds(), picture, all.Bounds().Min, draw.Src)
	for y := range all.Bounds().Dy() {
		for x := range all.Bounds().Dx() {
			count[all.RGBAAt(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return cmp.Compare(count[b], count[a]) })
	var palette color.Palette
	for _, c := range colors[:min(256, len(colors))] {
		palette = append(palette, c)
	}
	out := image.NewPaletted(all.Bounds(), palette)
	draw.Draw(out, out.Bounds(), all, all.Bounds().Min, draw.Src)
	return out
}
