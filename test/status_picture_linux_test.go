package test

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// SCREENSHOT=FILE makes the README's picture of the page. It takes five minutes, for the throughput's chart.
func TestStatusPagePicture(t *testing.T) {
	file := os.Getenv("SCREENSHOT")
	if file == "" {
		t.Skip("SCREENSHOT is not set")
	}
	agents := map[string]string{
		"192.0.2.17:8333":       "/Satoshi:30.0.0/",
		"198.51.100.4:8333":     "/Satoshi:29.1.0/Knots:20250903/",
		"203.0.113.88:8333":     "/btcwire:0.5.0/btcd:0.25.0/",
		"[2001:db8:7::19]:8333": "/Satoshi:29.2.0/",
		"node.example:8333":     "/Satoshi:28.1.0/",
	}
	peers := map[string]played{"203.0.113.5:8333": v1OnlyPeer}
	for name, agent := range agents {
		peers[name] = v2Peer(agent)
	}
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--upstream", "socks5://"+startWorld(t, peers))
	for i, name := range slices.Sorted(maps.Keys(agents)) {
		client, phase := v1Client(t, proxy.addr, name, "/bitcoinj:0.17/"), float64(i)
		go func() {
			for n := 0.0; ; n++ {
				size := 2000 + 60_000*math.Pow(math.Sin(n/30+phase), 4) + 9000*math.Sin(n/3+5*phase)
				if _, err := client.Write(append(getdata(int(max(size, 300))), pings(1+60*i)...)); err != nil {
					return
				}
				time.Sleep(2 * time.Second)
			}
		}()
		time.Sleep(7 * time.Second)
	}
	time.Sleep(4 * time.Minute)
	for _, dead := range []string{"198.51.100.77:8333", "203.0.113.5:8333"} {
		if c, err := hostile.Connect(proxy.addr, dead, patience); err == nil {
			c.Write(hostile.V1("version", versionOf("/bitcoinj:0.17/")))
			defer c.Close()
		}
	}
	time.Sleep(time.Minute)
	tab := openStatus(t, proxy.statusAddr(t))
	tab.call("Emulation.setScrollbarsHidden", map[string]any{"hidden": true}, nil)
	tab.look(1280, 1640, "light")
	tab.until(`document.querySelectorAll("#session-rows tr").length === 5 && document.querySelectorAll("#refusal-rows tr").length === 2`)
	time.Sleep(time.Second) // colors change in 0.3 s
	picture := smaller(t, tab.screenshot(false))
	if len(picture) > 250_000 {
		t.Errorf("the picture has %d bytes", len(picture))
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		t.Error(err)
	}
}

// smaller returns the PNG with its 256 most frequent colors.
func smaller(t *testing.T, b []byte) []byte {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[color.RGBA]int)
	all := image.NewRGBA(picture.Bounds())
	draw.Draw(all, all.Bounds(), picture, all.Bounds().Min, draw.Src)
	for y := range all.Bounds().Dy() {
		for x := range all.Bounds().Dx() {
			count[all.RGBAAt(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return cmp.Compare(count[b], count[a]) })
	var few color.Palette
	for _, c := range colors[:min(256, len(colors))] {
		few = append(few, c)
	}
	out := image.NewPaletted(all.Bounds(), few)
	draw.Draw(out, out.Bounds(), all, all.Bounds().Min, draw.Src)
	var w bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&w, out); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}
