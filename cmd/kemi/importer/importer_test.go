package importer

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"flag"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/common/model"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/alertmanager"
	"kemi.dev/kemi/alerting/notify/mail"
	"kemi.dev/kemi/alerting/notify/webhook"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/app"
	appconfig "kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/conf"
)

var update = flag.Bool("update", false, "write the golden files anew")

func site(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/site.yml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func imported(t testing.TB, text string, o Options) *Result {
	t.Helper()
	o.File = "alertmanager.yml"
	r, err := Alertmanager([]byte(text), o)
	if err != nil {
		t.Fatal(err)
	}
	passes(t, r)
	return r
}

// passes has kemi check read a result, with its secrets in place: it may complain of nothing but of the user's own files,
// which are not there.
func passes(t testing.TB, r *Result) {
	t.Helper()
	t.Setenv("AWS_CA_BUNDLE", "") // A receiver of kind sns cannot work with it, and says so.
	setVariables(t, r)
	dir := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range r.Secrets {
		write(s.Path, cmp.Or(s.Text.Reveal(), "https://secret.example/"))
	}
	write("targets/none.yaml", "classes: {}\ntargets: []\n")
	write("kemi.yaml", string(r.Config))
	cfg, problems := appconfig.Load(filepath.Join(dir, "kemi.yaml"), false)
	if cfg == nil {
		t.Fatal(problems)
	}
	for _, p := range append(problems, app.Check(t.Context(), cfg, time.Now()).Problems...) {
		text := p.String()
		if strings.Contains(text, " to nobody: ") || strings.Contains(text, " tells nobody: ") {
			if all := strings.Join(notes(r), "\n"); strings.Contains(all, "for nobody") || strings.Contains(all, "has no channel") || strings.Contains(all, ".to (") {
				continue // Which was named.
			}
		}
		if !strings.Contains(text, "no such file") {
			t.Errorf("kemi check: %s in\n%s", text, r.Config)
		}
	}
}

func TestASiteIsBroughtOver(t *testing.T) {
	r := imported(t, string(site(t)), Options{OutDir: "."})
	got := string(r.Config)
	for _, s := range r.Secrets {
		got += "# file " + s.Path + ": " + s.From + "\n"
	}
	if *update {
		if err := os.WriteFile("testdata/site.golden.yaml", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/site.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// All secrets of site.yml begin with hunter.
func TestNoSecretShowsUnlessAskedFor(t *testing.T) {
	all := strings.Count(string(site(t)), "hunter-")
	r := imported(t, string(site(t)), Options{})
	text := string(r.Config)
	for _, n := range r.Notes {
		text += n.String()
	}
	if strings.Contains(text, "hunter") {
		t.Errorf("a secret shows in\n%s", text)
	}
	kept, variables := 0, strings.Count(strings.Join(notes(r), "\n"), "set the environment variable ")
	for _, s := range r.Secrets {
		if strings.Contains(s.Text.Reveal(), "hunter-") {
			kept++
		}
	}
	if kept+variables != all {
		t.Errorf("%d secrets are in files and %d in variables, of %d", kept, variables, all)
	}
	clear := imported(t, string(site(t)), Options{Secrets: true})
	if strings.Contains(strings.Join(notes(clear), "\n"), "hunter") {
		t.Error("a secret shows in a note")
	}
	for _, line := range strings.Fields(string(site(t))) {
		if i := strings.Index(line, "hunter-"); i >= 0 && !bytes.Contains(clear.Config, []byte(strings.TrimRight(line[i:], `"'},]@`))) {
			t.Errorf("%s is lost", line)
		}
	}
}

func notes(r *Result) []string {
	var all []string
	for _, n := range r.Notes {
		all = append(all, n.String())
	}
	return all
}

// load writes the result and its secrets as the command does and reads it as Kemi does.
func load(t testing.TB, r *Result) conf.Node {
	t.Helper()
	dir := t.TempDir()
	for _, s := range r.Secrets {
		path := filepath.Join(dir, s.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(cmp.Or(s.Text.Reveal(), "filled in by hand")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	for name, text := range map[string]string{
		"hook.url": "http://127.0.0.1/\n", "slack-two": "https://slack.example/two", "archive.pass": "x",
		"ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "kemi.yaml")
	if err := os.WriteFile(path, r.Config, 0o600); err != nil {
		t.Fatal(err)
	}
	n, problems := conf.Load(path)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return n
}

// setVariables sets what the notes ask for.
func setVariables(t testing.TB, r *Result) {
	for _, n := range r.Notes {
		if _, name, ok := strings.Cut(n.Do, "set the environment variable "); ok {
			t.Setenv(name, "http://secret")
		}
	}
}

func tree(t testing.TB, n conf.Node) *route.Tree {
	t.Helper()
	known := route.Known{}
	for _, k := range n.Get("receivers").Keys() {
		known.Receivers = append(known.Receivers, k.Text())
	}
	for _, i := range n.Get("time_intervals").Items() {
		known.Intervals = append(known.Intervals, i.Get("name").Text())
	}
	tree, problems := route.New(n.Get("route"), known, route.AlertmanagerWaits())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

func TestTheResultIsLoadedByKemi(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "") // A receiver of kind sns cannot work with it, and says so.
	r := imported(t, string(site(t)), Options{})
	setVariables(t, r)
	n := load(t, r)
	tree(t, n)
	if _, problems := hush.New(hush.Config{InhibitRules: n.Get("inhibit_rules"), TimeIntervals: n.Get("time_intervals")}); len(problems) > 0 {
		t.Error(problems)
	}
	hooks, kinds := 0, map[string]bool{}
	for _, k := range n.Get("receivers").Keys() {
		kind := n.Get("receivers").Get(k.Text()).Keys()[0].Text()
		at := n.Get("receivers").Get(k.Text()).Get(kind)
		if slices.Contains(alertmanager.Kinds(), kind) {
			kinds[kind] = true
			if _, problems := alertmanager.Kind(kind)(k.Text(), at, notify.Env{}); len(problems) > 0 {
				t.Errorf("%s: %v", k.Text(), problems)
			}
		}
		if kind == "mail" {
			c := mail.Default()
			if problems := at.Into(&c); len(problems) > 0 {
				t.Errorf("%s: %v", k.Text(), problems)
			}
			if c.Host != "mail.example.org" || c.Port != 587 || c.Password.Reveal() != "hunter-smtp" || !slices.Equal(c.To, []string{"oncall@example.org"}) {
				t.Errorf("the mail lost its settings: %+v", c)
			}
		}
		if kind == "webhook" {
			hooks++
			c := webhook.Default()
			if problems := at.Into(&c); len(problems) > 0 {
				t.Errorf("%s: %v", k.Text(), problems)
			}
			if k.Text() == "archive-webhook" && (c.URL.Reveal() != "https://archive.example.org/hook?key=hunter-hook" || c.BasicAuth.Username != "archive") {
				t.Errorf("the webhook lost its settings: %s", c.URL.Reveal())
			}
		}
	}
	if hooks != 3 || len(kinds) != len(alertmanager.Kinds())-1 { // msteams and msteamsv2 are the same.
		t.Errorf("%d webhooks, and of Alertmanager's kinds only %v", hooks, kinds)
	}
}

// Whatever the labels of an alert, it goes by the same routes to what became of the same receivers.
func TestAlertsGoWhereTheyWent(t *testing.T) {
	asAlertmanager()
	judged, err := config.Load(string(site(t)))
	if err != nil {
		t.Fatal(err)
	}
	judge := dispatch.NewRoute(judged.Route, nil)
	r := imported(t, string(site(t)), Options{})
	setVariables(t, r)
	ours := tree(t, load(t, r))
	values := map[string][]string{
		"alertname": {"Watchdog", "X"}, "severity": {"", "critical", "warning"}, "team": {"", "db", "cache", "web"}, "env": {"", "staging"},
		"service": {"", "foo1", "foo9", "baz"}, "path": {"", "a1"}, "code": {"", "500"}, "rack": {"", "r1"},
	}
	seen := map[string]bool{}
	names := slices.Sorted(maps.Keys(values))
	all := 1
	for _, name := range names {
		all *= len(values[name])
	}
	for n := range all {
		labels, set := map[string]string{}, model.LabelSet{}
		for _, name := range names {
			labels[name] = values[name][n%len(values[name])]
			n /= len(values[name])
			if labels[name] != "" {
				set[model.LabelName(name)] = model.LabelValue(labels[name])
			}
		}
		var want, got []string
		for _, m := range judge.Match(set) {
			want = append(want, m.RouteOpts.Receiver+" "+m.RouteOpts.RepeatInterval.String()+" "+strings.Join(m.RouteOpts.MuteTimeIntervals, ","))
		}
		for _, m := range ours.Match(event.LabelsOf(labels)) {
			name, _, _ := strings.Cut(m.Receiver, "-")
			if name == "team" {
				name = "team-chat"
			}
			got = append(got, name+" "+m.RepeatInterval.String()+" "+strings.Join(m.Mute, ","))
		}
		got = slices.Compact(got) // Several receivers of ours are one of theirs.
		if !slices.Equal(got, want) {
			t.Fatalf("%v: %v, Alertmanager %v", labels, got, want)
		}
		seen[strings.Join(want, ", ")] = true
	}
	if len(seen) < 5 {
		t.Errorf("only %v were reached: this test shows too little", seen)
	}
}

func TestWhatAlertmanagerRefusesIsRefusedInItsWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "no route provided in config",
		"route: {receiver: x}":        `undefined receiver "x" used in route`,
		"rout: {}":                    "field rout not found",
		"route: {receiver: x}\nrecei": "could not find expected ':'",
	} {
		_, err := Alertmanager([]byte(text), Options{File: "alertmanager.yml"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "alertmanager.yml") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestSlackTakesWhatIsGlobalAsAlertmanagerDoes(t *testing.T) {
	const tail = "\nroute: {receiver: x}\nreceivers: [{name: x, slack_configs: [{channel: c%s}]}]"
	for _, c := range []struct{ global, own, want string }{
		{"slack_api_url: 'https://s.example/a'", "", "api_url_file: secrets/global-slack_api_url"},
		{"slack_api_url_file: /s", "", "api_url_file: /s"},
		{"slack_api_url: 'https://s.example/a'", ", api_url_file: /own", "api_url_file: /own"},
		{"slack_app_token: t", "", "app_token_file: secrets/global-slack_app_token"},
		{"slack_app_token: t", ", api_url: 'https://s.example/b'", "api_url_file: secrets/x-slack-api_url"},
		{"slack_app_token: t", ", app_token_file: /own", "app_token_file: /own"},
		{"slack_app_token: t\n  slack_app_url: https://slack.example/", "", "app_url: \"https://slack.example/\", app_token_file: secrets/global-slack_app_token"},
	} {
		r := imported(t, "global:\n  "+c.global+strings.ReplaceAll(tail, "%s", c.own), Options{})
		if want := "x: {slack: {channel: c, " + c.want + "}}"; !strings.Contains(strings.ReplaceAll(string(r.Config), "x:\n    slack:", "x: {slack:"), want) &&
			!strings.Contains(string(r.Config), "slack: {channel: c, "+c.want+"}") {
			t.Errorf("%s%s: want %s in\n%s", c.global, c.own, want, r.Config)
		}
	}
}

func TestMailIsEncryptedAndLogsInAsBefore(t *testing.T) {
	const text = "route: {receiver: x}\nreceivers: [{name: x, email_configs: [{to: 'Jo <jo@example.org>, sun@example.org', from: a@example.org, %s}]}]"
	for own, want := range map[string]string{
		"smarthost: 'm:25'":                                             "host: m, port: 25, from: a@example.org, to: [Jo <jo@example.org>, sun@example.org]",
		"smarthost: 'm:465'":                                            "host: m, port: 465, encryption: tls,",
		"smarthost: 'm:465', force_implicit_tls: no":                    "host: m, port: 465, from",
		"smarthost: 'm:26', force_implicit_tls: on":                     "port: 26, encryption: tls,",
		"smarthost: '[::1]:25', require_tls: off":                       "host: ::1, port: 25, encryption: none,",
		"smarthost: 'm:25', auth_username: u, auth_password_file: /p":   "username: u, password_file: /p, from",
		"smarthost: 'm:25', auth_username: u, auth_secret: s":           "username: u, password_file: secrets/x-mail-auth_secret, auth: cram-md5, from",
		"smarthost: 'm:25', auth_username: u":                           "port: 25, from",
		"smarthost: 'm:25', headers: {subject: Alert, reply-to: r@x}":   "template: {subject: Alert}, reply_to: r@x",
		"smarthost: 'm:25', tls_config: {ca_file: /ca, server_name: n}": "tls: {ca_file: /ca, server_name: n}, from",
	} {
		r := imported(t, strings.Replace(text, "%s", own, 1), Options{})
		nodes, problems := conf.Parse("kemi.yaml", r.Config)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var keys []string
		at := nodes[0].Get("receivers").Get("x").Get("mail")
		var w writer
		for _, k := range at.Keys() {
			keys = append(keys, k.Text()+": "+strings.NewReplacer(`"`, "", `'`, "").Replace(w.flow(generic(at.Get(k.Text())), 0)))
		}
		if got := strings.Join(keys, ", "); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", own, got, want)
		}
	}
}

// What Kemi has no place for is named, and not written down where kemi check would refuse it.
func TestFilesOfTemplatesAreNamedAndLeftOut(t *testing.T) {
	r := imported(t, "templates: [a/*.tmpl]\nroute: {receiver: x}\nreceivers: [{name: x, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}]", Options{})
	if all := notes(r); len(all) != 1 || !strings.HasPrefix(all[0], "templates (line 1): files of templates are not brought over") {
		t.Errorf("%q", all)
	}
}

// What kemi check refuses of a result was named by the import.
func TestWhatCheckWouldRefuseIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"route: {receiver: x}\nreceivers: [{name: x, telegram_configs: [{bot_token: t, chat_id: 1, http_config: {proxy_url: foo}}]}]":                        "receivers.x.telegram_configs[0].http_config.proxy_url (line 2): the address is not one of a proxy",
		"route: {receiver: x}\nreceivers: [{name: x, wechat_configs: [{api_secret: s, corp_id: c}]}]":                                                        "receivers.x.wechat_configs[0] (line 2): it is for nobody",
		"route: {receiver: x}\nreceivers: [{name: x, slack_configs: [{app_token: s}, {app_token: s, channel: a}]}]":                                          "receivers.x.slack_configs[0] (line 2): it has no channel",
		"route: {receiver: x}\nreceivers: [{name: x, rocketchat_configs: [{token: s, token_id: i}]}]":                                                        "receivers.x.rocketchat_configs[0] (line 2): it has no channel",
		"route: {receiver: x}\nreceivers: [{name: x}]\ntime_intervals: [{name: e, time_intervals: [{location: Local}]}]":                                     "time_intervals[0].time_intervals[0].location (line 3): the machine's own timezone",
		"global: {smtp_smarthost: 'm:25', smtp_from: a@x.org}\nroute: {receiver: x}\nreceivers: [{name: x, email_configs: [{to: '{{ .CommonLabels.a }}'}]}]": "receivers.x.email_configs[0].to (line 3): is not brought over",
	} {
		r, err := Alertmanager([]byte(text), Options{File: "alertmanager.yml"})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(notes(r), "\n"), want) {
			t.Errorf("%q of\n%s\nwant %s", notes(r), text, want)
		}
	}
}

func TestPathsLeadToTheSameFiles(t *testing.T) {
	const text = "route: {receiver: x}\nreceivers: [{name: x, webhook_configs: [{url_file: hook}]}]"
	r, err := Alertmanager([]byte(text), Options{File: "etc/alertmanager/alertmanager.yml", OutDir: "etc/kemi"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"url_file: ../alertmanager/hook"} {
		if !strings.Contains(strings.ReplaceAll(string(r.Config), `"`, ""), want) {
			t.Errorf("want %s in\n%s", want, r.Config)
		}
	}
}

func FuzzImportNeverPanicsAndWritesWhatKemiReads(f *testing.F) {
	f.Add(site(f))
	f.Add([]byte("route: {receiver: x}\nreceivers: [{name: x}]"))
	f.Add([]byte("route: {receiver: 'team:x', routes: [{match: {a: b}, continue: yes}]}\nreceivers: [{name: 'team:x', slack_configs: [{api_url: <secret>}]}]"))
	f.Add([]byte("global: {smtp_smarthost: 'm:25', smtp_from: a}\nroute: {receiver: x}\nreceivers: [{name: x, email_configs: [{to: b, headers: {A: b}}], webhook_configs: [{url: 'http://a', http_config: {http_headers: {A: {values: [b]}}}}]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Alertmanager(text, Options{File: "alertmanager.yml"})
		if err != nil {
			return
		}
		nodes, problems := conf.ParseRaw("kemi.yaml", r.Config)
		if len(problems) > 0 {
			t.Fatalf("%v in\n%s", problems, r.Config)
		}
		if nodes[0].Get("route").IsZero() {
			t.Fatalf("no route in\n%s", r.Config)
		}
	})
}
