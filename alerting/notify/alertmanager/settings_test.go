package alertmanager

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// problems makes a receiver of a text and says what is wrong with it.
func problems(t testing.TB, dir, kind, text string) conf.Problems {
	t.Helper()
	nodes, problems := conf.Parse(filepath.Join(dir, "kemi.yaml"), []byte(text))
	if len(problems) > 0 {
		return problems
	}
	_, problems = Kind(kind)("pager", nodes[0], env(nil))
	return problems
}

func TestMistakesHaveAPlaceAndAnAdvice(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("S3CRET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ kind, text, want string }{
		"a misspelt key":                  {"pagerduty", "routing_key: S3CRET\nseverty: critical\n", `:2:1: unknown key "severty": did you mean "severity"?`},
		"a misspelt key far below":        {"slack", "api_url: http://h/S3CRET\nhttp_config:\n  tls_config:\n    insecure_skip_verfy: true\n", `:4:5: unknown key "insecure_skip_verfy": did you mean "insecure_skip_verify"?`},
		"in a list":                       {"pagerduty", "routing_key: S3CRET\nlinks:\n  - {hrf: x}\n", `:3:6: unknown key "hrf": did you mean "href"?`},
		"not a number":                    {"telegram", "bot_token: S3CRET\nchat_id: here\n", `:2:10: expected a whole number, got text "here"`},
		"not a truth value":               {"slack", "api_url: http://h/S3CRET\nlink_names: perhaps\n", ":2:13: expected true or false"},
		"not a duration":                  {"pushover", "token: S3CRET\nuser_key: u\nretry: often\n", ":3:8: expected a duration"},
		"not a list":                      {"slack", "api_url: http://h/S3CRET\nfields: 3\n", `:2:9: expected a list for "fields"`},
		"not a mapping":                   {"slack", "api_url: http://h/S3CRET\nhttp_config: 3\n", ":2:14: expected"},
		"not a URL":                       {"pagerduty", "routing_key: S3CRET\nurl: ftp://h/\n", `:2:6: the address "ftp://h/" is not one of a web server`},
		"a secret that is no URL":         {"slack", "api_url: 'S3CRET path'\n", ":1:10: the address is not one of a web server"},
		"nothing":                         {"victorops", "routing_key: network\n", ":1:1: a victorops receiver needs api_key: write api_key: …, or api_key_file"},
		"no address":                      {"telegram", "bot_token: S3CRET\n", ":1:1: a telegram receiver needs chat_id"},
		"twice":                           {"pagerduty", "routing_key: S3CRET\nrouting_key_file: key\n", `:2:1: "routing_key" and "routing_key_file" are both given, the other on line 1`},
		"a file that is not there":        {"pagerduty", "routing_key_file: nope\n", ":1:19: read secret: open " + filepath.Join(dir, "nope")},
		"a certificate not there":         {"pagerduty", "routing_key_file: key\nhttp_config:\n  tls_config: {ca_file: nope}\n", ":3:25: open " + filepath.Join(dir, "nope")},
		"Alertmanager's own check":        {"jira", "api_url: http://h/\nproject: N\nissue_type: I\napi_type: vax\n", ":4:1: the jira receiver: unknown api_type on jira_config"},
		"and of http_config":              {"slack", "api_url: http://h/S3CRET\nhttp_config: {basic_auth: {username: a, password: S3CRET}, bearer_token: S3CRET}\n", ":2:15: the slack receiver: at most one of basic_auth"},
		"a template's grammar":            {"slack", "api_url: http://h/S3CRET\ntitle: '{{ if }}'\n", ":2:8: the template cannot be read"},
		"a function there is not":         {"slack", "api_url: http://h/S3CRET\nfields: [{title: a, value: '{{ nope . }}'}]\n", `:2:28: the template cannot be read: 1: function "nope" not defined`},
		"grammar in what may be anything": {"pagerduty", "routing_key: S3CRET\ndetails:\n  a: [b, '{{ end }}']\n", ":3:10: the template cannot be read"},
		"a timeout of nothing":            {"discord", "webhook_url: http://h/S3CRET\ntimeout: 0s\n", ":2:10: timeout is out of range"},
		"what Kemi cannot":                {"slack", "api_url: https://slack.com/api/chat.postMessage\nupdate_message: true\n", ":2:17: update_message is not supported"},
		"no mapping at all":               {"slack", "here\n", ":1:1: expected a mapping"},
		"nothing at all":                  {"slack", "", ":1:1: a slack receiver needs api_url or app_token"},
	} {
		t.Run(name, func(t *testing.T) {
			got := problems(t, dir, c.kind, c.text)
			if len(got) != 1 {
				t.Fatalf("%d problems, want one: %v", len(got), got)
			}
			if s := strings.TrimPrefix(got[0].String(), filepath.Join(dir, "kemi.yaml")); !strings.HasPrefix(s, c.want) || got[0].Do == "" {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
			if strings.Contains(got.Error(), "S3CRET") {
				t.Errorf("a secret is shown: %v", got)
			}
		})
	}
}

func TestAllMistakesAreFoundAtOnce(t *testing.T) {
	got := problems(t, t.TempDir(), "slack", "api_url: nope\ncolour: red\nshort_fields: 7\ntitle: '{{'\n")
	if len(got) != 4 {
		t.Errorf("%d problems, want 4: %v", len(got), got)
	}
}

func TestEveryKindTakesTheKeysOfAlertmanager(t *testing.T) {
	dir := t.TempDir()
	for kind, text := range map[string]string{
		"slack": `
api_url: https://hooks.slack.example/S3CRET
channel: '#a'
username: kemi
color: '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}'
title: '{{ template "slack.default.title" . }}'
pretext: p
fields: [{title: Severity, value: '{{ .CommonLabels.severity }}', short: true}]
actions: [{type: button, text: Open, url: '{{ (index .Alerts 0).GeneratorURL }}', confirm: {text: Sure?}}]
mrkdwn_in: [text]
send_resolved: false
timeout: 5s
http_config:
  follow_redirects: true
  proxy_url: http://proxy:3128
  proxy_connect_header: {X-A: [b]}
  tls_config: {insecure_skip_verify: true, min_version: TLS12}
  http_headers: {X-Team: {values: [a], secrets: [S3CRET]}}
  oauth2: {client_id: a, client_secret: S3CRET, token_url: 'http://t/', scopes: [x], endpoint_params: {a: b}}
`,
		"jira":       "api_url: https://x.atlassian.net/rest/api/3\nproject: A\nissue_type: Bug\nsummary: {template: s, enable_update: false}\ndescription: d\nlabels: [a, '{{ .GroupLabels.incident }}']\nreopen_duration: 1h30m\nreopen_transition: Reopen\nfields: {customfield_1: {value: red}, customfield_2: 3}\n",
		"opsgenie":   "api_key: S3CRET\nresponders: [{name: a, type: team}, {username: b@c, type: user}]\ndetails: {a: b}\ntags: a,b\nupdate_alerts: false\npriority: P2\n",
		"pushover":   "token: S3CRET\nuser_key: u\nretry: 30s\nexpire: 2h\nttl: 1d\nhtml: true\nsound: siren\n",
		"sns":        "sigv4: {region: eu-west-1, profile: p, role_arn: r, external_id: e}\nphone_number: '+82'\nattributes: {a: b}\n",
		"mattermost": "webhook_url: https://h/S3CRET\nattachments: [{title: a, fields: [{title: a, value: b, short: false}]}]\npriority: {priority: urgent, requested_ack: true}\nprops: {card: c}\n",
		"rocketchat": "api_url: http://h\ntoken: S3CRET\ntoken_id: S3CRET2\nfields: [{title: a, value: b, short: true}]\nactions: [{text: a, url: b}]\n",
		"telegram":   "bot_token: S3CRET\nchat_id: -100123\nmessage_thread_id: 7\nparse_mode: MarkdownV2\ndisable_notifications: true\n",
	} {
		if got := problems(t, dir, kind, text); len(got) > 0 {
			t.Errorf("%s: %v", kind, got)
		}
	}
}

func TestSecretsComeFromTheEnvironmentAndFromFiles(t *testing.T) {
	t.Setenv("KEMI_TEST_CHAT", "-1001")
	p := telegram()
	p.conf = "{api_url: URL, bot_token_file: token, chat_id: \"${KEMI_TEST_CHAT}\"}"
	s := p.start(t, false)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("token", "1:S3CRET\n")
	if _, err := p.receiver(t, s, env(nil), "").Notify(context.Background(), story(event.PageFiring)); err != nil {
		t.Fatal(err)
	}
	p.conf = "{api_url: URL, bot_token_file: token, chat_id_file: chat}"
	write("chat", "-1001\n")
	r := p.receiver(t, s, env(nil), "")
	if _, err := r.Notify(context.Background(), story(event.PageFiring)); err != nil {
		t.Fatal(err)
	}
	write("chat", "77\n")
	if _, err := r.Notify(context.Background(), story(event.PageFiring)); err != nil {
		t.Fatal(err)
	}
	write("chat", "") // It is being written just now.
	if _, err := r.Notify(context.Background(), story(event.PageFiring)); err != nil {
		t.Fatal(err)
	}
	var to []string
	for _, c := range s.told() {
		to = append(to, c.to)
	}
	if got := strings.Join(to, " "); got != "-1001 -1001 77 77" {
		t.Errorf("went to %s", got)
	}
}

func TestATemplateThatFailsCostsItsWordsAndNotThePage(t *testing.T) {
	for _, p := range []provider{slackHook(), pagerDuty(), discord(), victorops(), telegram(), jira()} {
		bad := map[string]string{
			"slack": "title: '{{ template \"nope\" . }}'\n", "pagerduty": "description: '{{ index .Alerts 99 }}'\n", "discord": "message: '{{ .Nope.Nope }}'\n",
			"victorops": "state_message: '{{ tz \"Nowhere\" now }}'\n", "telegram": "message: '{{ mustToDate \"x\" \"y\" }}'\n", "jira": "summary: '{{ index .Alerts 99 }}'\n",
		}[p.kind]
		s := p.start(t, false)
		said, err := p.receiver(t, s, env(nil), bad).Notify(context.Background(), story(event.PageFiring))
		if err != nil || !strings.Contains(said, "sent in Kemi's words") {
			t.Errorf("%s: %q, %v", p.kind, said, err)
			continue
		}
		if told := s.told(); len(told) != 1 || !strings.Contains(told[0].text, "core-1 is down") {
			t.Errorf("%s: %d pages", p.kind, len(told))
		}
	}
}

func TestResolvesAreSentUnlessTheyAreNotWanted(t *testing.T) {
	p := slackHook()
	s := p.start(t, false)
	unwanted, wanted := p.receiver(t, s, env(nil), "send_resolved: false\n"), p.receiver(t, s, env(nil), "")
	if !notify.Endless(unwanted) || notify.Endless(wanted) {
		t.Errorf("without ends are %t and %t", notify.Endless(unwanted), notify.Endless(wanted))
	}
	said, err := unwanted.Notify(context.Background(), story(event.PageResolved))
	if !notify.IsPermanent(err) || !strings.Contains(err.Error(), "not sent") || s.count() != 0 {
		t.Errorf("%q, %v, %d requests", said, err, s.count())
	}
	if _, err := wanted.Notify(context.Background(), story(event.PageResolved)); err != nil || s.count() != 1 {
		t.Errorf("by default: %v, %d requests", err, s.count())
	}
}

func TestAnUpdateChangesWhatOpsgenieShows(t *testing.T) {
	p := opsgenie()
	s := p.start(t, false)
	r := p.receiver(t, s, env(nil), "")
	for kind, want := range map[event.PageKind]int{event.PageFiring: 1, event.PageUpdate: 3} {
		before := s.count()
		if _, err := r.Notify(context.Background(), story(kind)); err != nil {
			t.Fatal(err)
		}
		if n := s.count() - before; n != want {
			t.Errorf("%s: %d requests, want %d", kind, n, want)
		}
	}
}

func TestManyPagesAtOnce(t *testing.T) {
	p := wechat() // Its sender keeps a token, and is not made for this.
	s := p.start(t, false)
	r := p.receiver(t, s, env(map[string]notify.Contact{"jo": {Handles: map[string]conf.Secret{"wechat": conf.NewSecret("jo")}}}), "")
	errs := make(chan error)
	for i := range 40 {
		go func() {
			page := story(event.PageFiring)
			if i%2 == 0 {
				page.Person = "jo"
			}
			_, err := r.Notify(context.Background(), page)
			errs <- err
		}()
	}
	for range 40 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	jo := 0
	for _, c := range s.told() {
		if strings.HasPrefix(c.to, "jo") {
			jo++
		}
	}
	if jo != 20 || r.n > maxIdle {
		t.Errorf("%d of 20 pages reached the person, %d senders are kept", jo, r.n)
	}
}

func TestKindsThatAreNoneAreMistakesOfTheProgram(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Kind("carrier-pigeon")
}

func FuzzSettings(f *testing.F) {
	for _, p := range provided() {
		f.Add(p.kind, p.conf)
	}
	f.Add("slack", "api_url: http://h/\nfields: [{title: '{{'}]\nhttp_config: {http_headers: {a: {values: [b]}}}\n")
	f.Add("jira", "fields: {a: [1, {b: 2.5}]}\nsummary: {template: 1}\n")
	f.Fuzz(func(t *testing.T, kind, text string) {
		if _, ok := specs()[kind]; !ok || strings.Contains(text, "file") {
			return
		}
		start := time.Now()
		for _, p := range problems(t, t.TempDir(), kind, text) {
			if p.What == "" || p.Line == 0 {
				t.Errorf("a problem without words or place: %+v", p)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// BenchmarkNotify is a page of eleven fields to a provider that answers at once.
func BenchmarkNotify(b *testing.B) {
	p := slackHook()
	s := p.start(b, false)
	r := p.receiver(b, s, env(nil), "")
	page := story(event.PageFiring)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Notify(context.Background(), page); err != nil {
			b.Fatal(err)
		}
		s.calls = nil
	}
}

// BenchmarkMake is what a receiver costs when the configuration is read.
func BenchmarkMake(b *testing.B) {
	p := slackHook()
	s := p.start(b, false)
	b.ReportAllocs()
	for b.Loop() {
		p.receiver(b, s, env(nil), "")
	}
}
