package app

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/ack"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Processes that share a bus make and take the same links only with a key that they share: without one there are none.
func TestLinksNeedAKeyThatEveryProcessHas(t *testing.T) {
	dir := t.TempDir()
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if err := os.WriteFile(filepath.Join(dir, "shared.key"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	process := func(alone bool, alerting string) (*App, error) {
		a := &App{Config: config.Default(dir), data: t.TempDir(), alone: alone, roles: Roles(), bus: bus.New(mem.New(), bus.Settings{}, obs.Scope{})}
		if alerting != "" {
			nodes, problems := conf.Parse("kemi.yaml", []byte(alerting))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			a.Config.Alerting = nodes[0]
		}
		a.ack = ack.New(a.bus, a.model, "https://kemi.example.org")
		return a, a.loadLinkKey()
	}
	link := func(alone bool, alerting string) string {
		a, err := process(alone, alerting)
		if err != nil {
			t.Fatal(err)
		}
		if problems := a.checkLinkKey(); len(problems) > 0 {
			t.Error(problems)
		}
		return a.ackURL(&event.Page{ID: "p", Incident: "i", Created: time.Unix(1e9, 0)})
	}
	if got := link(false, ""); got != "" {
		t.Errorf("without a shared key: %s", got)
	}
	one, two := link(true, ""), link(true, "")
	if !strings.HasPrefix(one, "https://kemi.example.org/ack/") || one == two {
		t.Errorf("two of their own: %s and %s", one, two)
	}
	if one, two = link(false, "link_key_file: shared.key"), link(true, "link_key_file: shared.key"); one == "" || one != two {
		t.Errorf("with a shared key: %q and %q", one, two)
	}
	a, err := process(false, "link_key_file: nowhere.key")
	if problems := a.checkLinkKey(); err == nil || len(problems) != 1 || !strings.Contains(problems.Error(), "kemi.yaml:1:16: read the key of links") {
		t.Errorf("a missing key: %v, %v", err, problems)
	}
}
