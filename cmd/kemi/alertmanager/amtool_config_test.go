package alertmanager_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What Kemi shows of its configuration is one that amtool reads, checks and routes by; names that look like matchers are
// found by amtool's own rules.
func TestIntegrationAmtoolReadsTheConfiguration(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: make integration runs it")
	}
	h := serve(t, quiet)
	a := newAmtool(t, h.srv.URL)
	if out := a.want("config", "routes", "show"); !strings.Contains(out, "receiver: team:default") {
		t.Errorf("config routes show:\n%s", out)
	}
	routed := func(a *amtool, want string, labels ...string) {
		t.Helper()
		if out := a.want(append([]string{"config", "routes", "test"}, labels...)...); strings.TrimSpace(out) != want {
			t.Errorf("config routes test %s: want %s, got\n%s", labels, want, out)
		}
	}
	routed(a, "team:network", "team=network", "severity=critical")
	routed(a, "team:default", "severity=critical")
	tree := newAmtool(t, serve(t, quiet+`
route: {routes: [{matchers: ['severity="critical"'], receiver: [box, chat]}, {matchers: ['severity="info"'], receiver: "team:network"}]}
`).srv.URL)
	routed(tree, "box,chat", "severity=critical")
	routed(tree, "team:network", "severity=info")
	routed(tree, "team:default", "severity=warning")
	if _, errs, err := a.run("", "config", "routes", "test", "--verify.receivers=box", "team=network"); err == nil {
		t.Errorf("another receiver was expected, and it is content: %s", errs)
	}
	var s struct{ Config struct{ Original string } }
	h.want("GET", "/status", "", &s)
	file := filepath.Join(t.TempDir(), "alertmanager.yml")
	if err := os.WriteFile(file, []byte(s.Config.Original), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := a.want("check-config", file); !strings.Contains(out, "SUCCESS") || !strings.Contains(out, "6 receivers") {
		t.Errorf("check-config:\n%s", out)
	}
	h.post(3, list(one(ls{"alertname": "test1", "severity": "warning"}), one(ls{"alertname": "test2"}), one(ls{"alertname": "{alertname=test3}"})))
	for query, want := range map[string]string{"test1": "test1", "alertname=test2": "test2", "{alertname=test3}": "{alertname=test3}"} {
		if got := names(a.firing(query)); !slices.Equal(got, []string{want}) {
			t.Errorf("alert query %s: %v", query, got)
		}
	}
	var ids []string
	for _, name := range []string{"test1", "alertname=test2", "{alertname=test3}"} {
		ids = append(ids, strings.TrimSpace(a.want("silence", "add", name, "severity=warning", "--author=jo", "--comment=x")))
	}
	for _, name := range []string{"test1", "alertname=test2", "{alertname=test3}"} {
		if all := a.silences(name); len(all) != 1 || all[0].Matchers[0].Value != strings.TrimPrefix(name, "alertname=") {
			t.Errorf("silence query %s: %+v", name, all)
		}
	}
	a.want(append([]string{"silence", "expire"}, ids...)...)
	if all := a.silences(); len(all) != 0 {
		t.Errorf("expired at once: %+v", all)
	}
	// Reading templates asks no server; what Kemi's receivers take are the same.
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "a.tmpl"), []byte(`{{ define "x" }}{{ len .Alerts.Firing }} fire{{ end }}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := a.want("template", "render", "--template.glob="+filepath.Join(filepath.Dir(file), "*.tmpl"), `--template.text={{ template "x" . }}`); !strings.Contains(out, "fire") {
		t.Errorf("template render:\n%s", out)
	}
}
