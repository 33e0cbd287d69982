package alertmanager_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/netns"
)

// A real Prometheus watches a web server that is a target of ours and sends its alerts to Kemi: the alert is about that
// target, the page names it, it is over when Prometheus says so, and also when Prometheus says nothing any more.
func TestIntegrationPrometheusSendsItsAlerts(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: make integration runs it")
	}
	path, err := exec.LookPath("prometheus")
	if err != nil {
		netns.Missing(t, "prometheus (Debian package prometheus)")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	watched := &web{addr: ln.Addr().String()}
	watched.serve(ln)
	t.Cleanup(watched.stop)
	r := run(t, `
cmdb: [{file: {path: targets.yaml}}]
receivers: {box: {inbox: {}}, shop: {inbox: {}}}
teams: {shop: {receiver: shop}, default: {receiver: box}}
alerting: {group_wait: 1s, settle: 1s}
series: []
`, map[string]string{"targets.yaml": fmt.Sprintf("classes: {web: {}}\ntargets: [{id: web-1, class: web, team: shop, address: %q}]\n", "http://"+watched.addr)})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"prometheus.yml": fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: web, static_configs: [{targets: [%q]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
`, watched.addr, strings.TrimPrefix(r.url, "http://")),
		"rules.yml": `groups: [{name: web, rules: [{alert: InstanceDown, expr: "up == 0", labels: {severity: critical}, annotations: {summary: "{{ $labels.instance }} does not answer"}}]}]
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	prometheus := exec.CommandContext(t.Context(), path, "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", "127.0.0.1:0", "--rules.alert.resend-delay", "1s")
	prometheus.Stdout, prometheus.Stderr = &said, &said
	if err := prometheus.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = prometheus.Process.Signal(syscall.SIGTERM)
		_ = prometheus.Wait() // It was told to end.
		if t.Failed() {
			t.Logf("what prometheus said:\n%s", said.String())
		}
	})
	t.Cleanup(stop)

	alert := func() (a *event.Alert) {
		r.app.Model().Read(func(s *view.State) {
			if all := s.Alerts(view.Filter{Target: "web-1"}); len(all) == 1 {
				a = all[0]
			}
		})
		return a
	}
	is := func(state event.AlertState, pages int) func() error {
		return func() error {
			a := alert()
			if a == nil || a.State != state || len(r.pages("shop")) != pages {
				return fmt.Errorf("alert %+v, told:\n%s", a, told(r.pages("shop", "box")))
			}
			return nil
		}
	}
	watched.stop()
	within(t, 30*time.Second, "firing", is(event.AlertFiring, 1))
	a := alert()
	if a.Rule != "alertmanager/InstanceDown" || a.Team != "shop" || a.Annotations["summary"] != watched.addr+" does not answer" || !strings.Contains(a.GeneratorURL, "/graph?g0.expr=up") || a.Until.IsZero() {
		t.Errorf("%+v", a)
	}
	within(t, 20*time.Second, "said again", func() error {
		if now := alert(); !now.Until.After(a.Until) || !now.StartsAt.Equal(a.StartsAt) {
			return fmt.Errorf("until %s", now.Until)
		}
		return nil
	})
	ln, err = net.Listen("tcp", watched.addr)
	if err != nil {
		t.Fatal(err)
	}
	watched.serve(ln)
	within(t, 30*time.Second, "resolved", is(event.AlertResolved, 2))
	if a := alert(); a.Reason.Code != event.ReasonElsewhere {
		t.Errorf("resolved by %+v", a.Reason)
	}
	watched.stop()
	within(t, 30*time.Second, "firing again", func() error {
		if a := alert(); a.State != event.AlertFiring {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	stop()
	within(t, 30*time.Second, "over, since nobody says it any more", func() error {
		if a := alert(); a.State != event.AlertResolved || a.Reason.Code == event.ReasonElsewhere || !a.EndsAt.Equal(a.Until) {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	for _, p := range r.pages("shop", "box") {
		if p.Page.Snapshot.Cause != "web-1" || p.Page.Receiver != "shop" {
			t.Errorf("told %s of %s", p.Page.Receiver, p.Page.Snapshot.Cause)
		}
	}
	t.Logf("told:\n%s", told(r.pages("shop", "box")))
}

// web is a web server that can be stopped and started again at its address.
type web struct {
	addr string
	srv  *httptest.Server
}

func (w *web) serve(ln net.Listener) {
	w.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprintln(out, "works 1") }))
	w.srv.Listener.Close()
	w.srv.Listener = ln
	w.srv.Start()
}

func (w *web) stop() {
	w.srv.CloseClientConnections()
	w.srv.Close()
}
