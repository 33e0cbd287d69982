package alertmanager_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/cmd/kemi/view"
)

// A targets file may say that a target is in maintenance: nobody is paged for it until the file says something else, and
// its alerts say why.
func TestALifecycleOfMaintenanceHoldsPagesBackUntilItIsOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.yaml")
	write := func(lifecycle string) {
		text := fmt.Sprintf("classes: {switch: {}}\ntargets:\n  - {id: tor-1, class: switch, address: 192.0.2.1, lifecycle: %s}\n  - {id: tor-2, class: switch, address: 192.0.2.2}\n", lifecycle)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("maintenance")
	r := run(t, fmt.Sprintf(`
cmdb: [{file: {path: %q}}]
receivers: {box: {inbox: {}}}
teams: {default: {receiver: box}}
alerting: {group_wait: 1s, settle: 1s}
series: []
`, path), nil)
	causes := func() (all []string) {
		for _, p := range r.pages("box") {
			all = append(all, p.Page.Snapshot.Cause)
		}
		return all
	}
	within(t, 20*time.Second, "the targets", func() error {
		n := 0
		r.app.Model().Read(func(s *view.State) { n = len(s.Targets(view.Filter{})) })
		if n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	r.post(list(one(ls{"alertname": "Down", "instance": "192.0.2.1"})))
	within(t, 20*time.Second, "the alert in maintenance", func() error {
		resp, err := http.Get(r.url + "/api/v2/alerts")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `"state":"suppressed"`) {
			return fmt.Errorf("%s, %v", text, err)
		}
		return nil
	})
	r.post(list(one(ls{"alertname": "Down", "instance": "192.0.2.2"}))) // The later one is told, the earlier is not.
	within(t, 20*time.Second, "the page for what is not in maintenance", func() error {
		if got := causes(); len(got) != 1 || got[0] != "tor-2" {
			return fmt.Errorf("told:\n%s", told(r.pages("box")))
		}
		return nil
	})
	write("active")
	within(t, 40*time.Second, "the page after the maintenance", func() error {
		if got := causes(); len(got) != 2 || got[1] != "tor-1" {
			return fmt.Errorf("told:\n%s", told(r.pages("box")))
		}
		return nil
	})
}
