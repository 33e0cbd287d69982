package alertmanager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An alert that is said once, with an end that is far away, as amtool does, is about its target as soon as the CMDB has that:
// the same incident goes to whoever owns it, and nobody is called twice.
func TestAnAlertThatIsSaidOnceIsTiedToATargetThatComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.yaml")
	write := func(more string) {
		text := "classes: {server: {}}\ntargets:\n  - {id: srv-1, class: server, address: 192.0.2.1}\n" + more
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	r := run(t, fmt.Sprintf(`
cmdb: [{file: {path: %q}}]
receivers: {box: {inbox: {}}, net: {inbox: {}}}
teams: {default: {receiver: box}, net: {receiver: net}}
alerting: {group_wait: 1s, settle: 1s}
series: []
`, path), nil)
	pages := func(want string) func() error {
		return func() error {
			if got := told(r.pages("box", "net")); got != want {
				return fmt.Errorf("told:\n%s", got)
			}
			return nil
		}
	}
	const first = "firing box: DiskFull\n"
	down := ls{"alertname": "DiskFull", "instance": "192.0.2.9:9100"}
	r.post(list(one(down, "endsAt", when(240*time.Hour))))
	within(t, 20*time.Second, "the page to those who own what nobody knows", pages(first))
	write("  - {id: srv-9, class: server, address: 192.0.2.9, team: net}\n")
	const second = first + "update box: srv-9 (server): DiskFull\nfiring net: srv-9 (server): DiskFull\n"
	within(t, 40*time.Second, "the page to its owner", pages(second))
	incidents := map[string]bool{}
	for _, p := range r.pages("box", "net") {
		incidents[p.Page.Incident] = true
	}
	if len(incidents) != 1 {
		t.Errorf("it is %d incidents", len(incidents))
	}
	r.post(list(one(down, "endsAt", when(0))))
	within(t, 20*time.Second, "that it is over", func() error {
		if all := r.pages("box", "net"); len(all) != 5 {
			return fmt.Errorf("told:\n%s", told(all))
		}
		return nil
	})
}
