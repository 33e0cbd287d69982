package log

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
)

func TestAPageIsOneLine(t *testing.T) {
	var out bytes.Buffer
	n, err := New("log", Default(), notify.Env{Scope: obs.New(slog.New(slog.NewTextHandler(&out, nil)), nil)})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*event.Page{
		{ID: "p1", Kind: event.PageFiring, Title: "core-1 is down\nlevel=ERROR", Incident: "i"},
		{ID: "p2", Kind: event.PageResolved, Title: "core-1 is up", PossibleDuplicate: true},
	} {
		if _, err := n.Notify(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "level=WARN msg=page") || !strings.Contains(lines[1], "level=INFO") ||
		!strings.Contains(lines[1], "possible_duplicate=true") || n.Dedups() {
		t.Errorf("logged %q", lines)
	}
}
