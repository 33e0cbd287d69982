package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/internal/netns"
)

// amtool is the Alertmanager project's own client, built from its module as tools/amtool pins it.
type amtool struct {
	t         testing.TB
	path, url string
}

func newAmtool(t testing.TB, url string) *amtool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "amtool")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "-ldflags", "-X github.com/prometheus/common/version.Version=0.34.2", "github.com/prometheus/alertmanager/cmd/amtool")
	build.Dir = "../../../tools/amtool"
	if out, err := build.CombinedOutput(); err != nil {
		netns.Missing(t, fmt.Sprintf("amtool, which tools/amtool builds (%v: %s)", err, out))
	}
	return &amtool{t, path, url}
}

// run calls amtool, with input if there is some, and returns what it wrote.
func (a *amtool) run(input string, args ...string) (stdout, stderr string, err error) {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), a.path, append([]string{"--alertmanager.url", a.url}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+a.t.TempDir())
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err = cmd.Run()
	a.t.Logf("$ amtool %s\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	return out.String(), errs.String(), err
}

// want calls amtool, which has to be content and to complain of nothing.
func (a *amtool) want(args ...string) string {
	a.t.Helper()
	out, errs, err := a.run("", args...)
	if err != nil || errs != "" {
		a.t.Fatalf("amtool %s: %v: %s", strings.Join(args, " "), err, errs)
	}
	return out
}

// firing lists the alerts that a query of amtool's shows.
func (a *amtool) firing(args ...string) (all []alertWord) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.want(append([]string{"-o", "json", "alert", "query"}, args...)...)), &all); err != nil {
		a.t.Fatal(err)
	}
	return all
}

func (a *amtool) silences(args ...string) (all []silenceWord) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.want(append([]string{"-o", "json", "silence", "query"}, args...)...)), &all); err != nil {
		a.t.Fatal(err)
	}
	return all
}

// Every verb of amtool's that asks a server does with Kemi what it does with Alertmanager.
func TestIntegrationAmtool(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: make integration runs it")
	}
	r := run(t, `
cmdb: [{file: {path: targets.yaml}}]
receivers: {box: {inbox: {}}, chat: {inbox: {}}}
teams: {network: {receiver: chat}, default: {receiver: box}}
series: []
`, map[string]string{"targets.yaml": "classes: {switch: {}}\ntargets: [{id: tor-1, class: switch, team: network, address: 192.0.2.7}]\n"})
	a := newAmtool(t, r.url)
	seen := func(n int, args ...string) (all []alertWord) {
		within(t, 20*time.Second, fmt.Sprint(n, " alerts"), func() error {
			if all = a.firing(args...); len(all) != n {
				return fmt.Errorf("%d", len(all))
			}
			return nil
		})
		return all
	}

	a.want("alert", "add", "HostDown", "instance=192.0.2.7:9100", "severity=critical", `--annotation=summary="the switch does not answer"`, "--generator-url=http://prometheus.example.org/graph")
	a.want("alert", "add", "alertname=Slow", "job=web", "--end="+time.Now().Add(time.Hour).Format(time.RFC3339))
	all := seen(2)
	i := slices.IndexFunc(all, func(a alertWord) bool { return a.Labels["alertname"] == "HostDown" })
	if d := all[i]; d.Annotations["summary"] != "the switch does not answer" || d.GeneratorURL != "http://prometheus.example.org/graph" || len(d.Receivers) != 1 || d.Receivers[0].Name != "team:network" {
		t.Errorf("%+v", d)
	}
	if d := all[1-i]; d.EndsAt.Before(time.Now().Add(59 * time.Minute)) {
		t.Errorf("%+v", d)
	}
	for query, want := range map[string]int{"alertname=Slow": 1, `alertname=~"H.*"`: 1, "severity!=critical": 1, "HostDown": 1, "--receiver=team:network": 1, "--active": 2, "--silenced": 0, "--inhibited": 0} {
		if got := a.firing(query); len(got) != want {
			t.Errorf("alert query %s: %d", query, len(got))
		}
	}
	if out := a.want("alert", "query"); !strings.Contains(out, "HostDown") || !strings.Contains(out, "the switch does not answer") {
		t.Errorf("alert query:\n%s", out)
	}
	if out := a.want("-o", "extended", "alert", "query", "HostDown"); !strings.Contains(out, `instance="192.0.2.7:9100"`) {
		t.Errorf("alert query, extended:\n%s", out)
	}
	within(t, 20*time.Second, "the page", func() error {
		for _, p := range r.pages("chat") {
			if p.Page.Snapshot.Cause == "tor-1" {
				return nil
			}
		}
		return fmt.Errorf("told:\n%s", told(r.pages("box", "chat")))
	})
	if _, errs, err := a.run("", "alert", "add", "job=web"); err == nil || !strings.Contains(errs, "no label alertname") {
		t.Errorf("alert add without a name: %v %s", err, errs)
	}

	id := strings.TrimSpace(a.want("silence", "add", "Slow", `job=~"web|api"`, "--author=jo", "--comment=known", "--duration=2h"))
	if all := a.firing(); len(all) != 1 || all[0].Labels["alertname"] != "HostDown" {
		t.Errorf("active beside a silence: %v", names(all))
	}
	if all := a.firing("--silenced"); len(all) != 1 || all[0].Status.State != "suppressed" || !slices.Equal(all[0].Status.SilencedBy, []string{id}) {
		t.Errorf("silenced: %+v", all)
	}
	if all := a.silences(); len(all) != 1 || all[0].ID != id || all[0].CreatedBy != "jo" || all[0].Status.State != "active" {
		t.Errorf("silences: %+v", all)
	}
	if out := a.want("silence", "query", "--id="+id); !strings.Contains(out, id) {
		t.Errorf("silence query --id:\n%s", out)
	}
	for query, want := range map[string]int{"job=~web|api": 1, "job=web": 0, "--created-by=jo": 1, "--created-by=sun": 0, "--expired": 0, "--within=3h": 1, "--within=1h": 0} {
		if got := a.silences(query); len(got) != want {
			t.Errorf("silence query %s: %d", query, len(got))
		}
	}
	if out := a.want("silence", "update", "--duration=4h", "--comment=longer", id); !strings.Contains(out, id) {
		t.Errorf("silence update of %s:\n%s", id, out)
	}
	if all := a.silences(); len(all) != 1 || all[0].Comment != "longer" || all[0].EndsAt.Before(time.Now().Add(3*time.Hour)) {
		t.Errorf("updated: %+v", all)
	}
	exported := a.want("-o", "json", "silence", "query")
	a.want("silence", "expire", id)
	if all := a.silences(); len(all) != 0 {
		t.Errorf("expired, and listed: %+v", all)
	}
	if all := a.silences("--expired"); len(all) != 1 || all[0].ID != id || all[0].Status.State != "expired" {
		t.Errorf("expired: %+v", all)
	}
	if all := a.firing(); len(all) != 2 {
		t.Errorf("active after the silence: %v", names(all))
	}
	if _, errs, err := a.run("", "silence", "expire", "8188b168-1332-4398-83a5-a9df5264d60d"); err == nil || !strings.Contains(errs, "not found") && !strings.Contains(errs, "404") && !strings.Contains(errs, "NotFound") {
		t.Errorf("silence expire of nothing: %v %s", err, errs)
	}
	// What one server gave another takes: under a new id where it does not know the old one.
	elsewhere := strings.ReplaceAll(exported, id, "8188b168-1332-4398-83a5-a9df5264d60d")
	if out, errs, err := a.run(elsewhere, "silence", "import"); err != nil || strings.TrimSpace(out) == "" {
		t.Errorf("silence import: %v %s", err, errs)
	}
	if out, errs, err := a.run(exported, "silence", "import", "--force"); err != nil || strings.TrimSpace(out) == "" {
		t.Errorf("silence import --force: %v %s", err, errs)
	}
	all2 := a.silences()
	if len(all2) != 2 || all2[0].Comment != "longer" || all2[0].Matchers == nil || len(all2[0].Matchers) != 2 {
		t.Errorf("imported: %+v", all2)
	}
	for _, s := range all2 {
		a.want("silence", "expire", s.ID)
	}
	if _, errs, err := a.run("", "silence", "add", "--comment=everything", "--author=jo", `job=~".*"`); err == nil || !strings.Contains(errs, "empty value") {
		t.Errorf("a silence of everything: %v %s", err, errs)
	}

	a.want("alert", "add", "Slow", "job=web", "--start="+time.Now().Add(-time.Hour).Format(time.RFC3339), "--end="+time.Now().Add(-time.Second).Format(time.RFC3339))
	seen(1)
	if out := a.want("config", "show"); !strings.Contains(out, "chat") {
		t.Errorf("config show:\n%s", out)
	}
	if out := a.want("cluster", "show"); !strings.Contains(out, "disabled") {
		t.Errorf("cluster show:\n%s", out)
	}
}
