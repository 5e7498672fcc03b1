package journal

import (
	"bytes"
	"io"
	"log/slog"
	"testing"
)

// Every line has its level's priority and no time, for all kinds of attributes.
func TestHandler(t *testing.T) {
	for name, c := range map[string]struct {
		make func(io.Writer) slog.Handler
		want string
	}{
		"text": {func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
			"<6>level=INFO msg=a\n<4>level=WARN msg=b x=1\n<3>level=ERROR msg=\"c\\n<0>\" x=1 g.y=2\n<3>level=ERROR+4 msg=d\n<6>level=INFO+1 msg=e\n"},
		"json": {func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
			`<6>{"level":"INFO","msg":"a"}` + "\n" + `<4>{"level":"WARN","msg":"b","x":1}` + "\n" +
				`<3>{"level":"ERROR","msg":"c\n<0>","x":1,"g":{"y":2}}` + "\n" + `<3>{"level":"ERROR+4","msg":"d"}` + "\n" + `<6>{"level":"INFO+1","msg":"e"}` + "\n"},
		"all": {func(w io.Writer) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		}, "<6>level=INFO msg=a\n<4>level=WARN msg=b x=1\n<3>level=ERROR msg=\"c\\n<0>\" x=1 g.y=2\n<3>level=ERROR+4 msg=d\n<6>level=INFO+1 msg=e\n<7>level=DEBUG msg=f\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(NewHandler(&out, c.make))
			log.Info("a")
			log.With("x", 1).Warn("b")
			log.With("x", 1).WithGroup("g").Error("c\n<0>", "y", 2)
			log.Log(t.Context(), slog.LevelError+4, "d")
			log.Log(t.Context(), slog.LevelInfo+1, "e")
			log.Debug("f")
			if out.String() != c.want {
				t.Errorf("got\n%swant\n%s", &out, c.want)
			}
		})
	}
}
