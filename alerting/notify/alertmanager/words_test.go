package alertmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// texts are what rules, devices and other people's alerts may say.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{
			"", "core-1 is down", "<!channel> <@U1> & <b>bold</b>", "@everyone @here @channel @all", `"quoted" 'and' + \ %s {{ .Nope }} {{ end }}`,
			"key: value\n- [a, {b: c}]\n--- \n&a *b !!c", "[a, b]", "{a: b}", "\x00\x1b[31m\u202e\u2028\xff\xfe", "코어 스위치가 응답하지 않습니다",
		}),
		rapid.Map(rapid.SampledFrom([]string{"x", "+", "'", "\"", "<", "장", "a b ", "line\n", "🔥"}), func(s string) string { return strings.Repeat(s, 20_000/len(s)) }),
	)
}

func anyPage(t *rapid.T) *event.Page {
	p := story(rapid.SampledFrom([]event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved, event.PageSummary, "more"}).Draw(t, "kind"))
	p.Title, p.Text = texts().Draw(t, "title"), texts().Draw(t, "text")
	p.PossibleDuplicate = rapid.Bool().Draw(t, "duplicate")
	p.Urgency = event.Urgency(rapid.SampledFrom([]string{"", "page", "notify", "strange"}).Draw(t, "urgency"))
	if rapid.Bool().Draw(t, "bare") {
		p.Snapshot = nil
		return p
	}
	i := p.Snapshot
	i.Cause, i.Severity = texts().Draw(t, "cause"), rapid.OneOf(texts(), rapid.SampledFrom([]string{"critical", "warning", "info"})).Draw(t, "severity")
	i.Alerts = nil
	for range rapid.IntRange(0, 30).Draw(t, "alerts") {
		i.Alerts = append(i.Alerts, event.IncidentAlert{
			Name: texts().Draw(t, "name"), Target: rapid.SampledFrom([]string{"core-1", i.Cause, ""}).Draw(t, "target"), Summary: texts().Draw(t, "summary"),
			Description: texts().Draw(t, "description"), Runbook: texts().Draw(t, "runbook"), StartsAt: i.OpenedAt,
			State:  rapid.SampledFrom([]event.AlertState{event.AlertFiring, event.AlertResolved}).Draw(t, "state"),
			Labels: event.LabelsOf(map[string]string{texts().Draw(t, "label"): texts().Draw(t, "value")}),
		})
	}
	return p
}

func TestWhateverAPageSaysItsProviderTakesIt(t *testing.T) {
	type running struct {
		provider
		*Receiver
	}
	var all []running
	for _, p := range provided() {
		all = append(all, running{p, p.receiver(t, p.start(t, false), env(nil), "")})
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := all[rapid.IntRange(0, len(all)-1).Draw(rt, "provider")]
		if said, err := r.Notify(context.Background(), anyPage(rt)); err != nil {
			rt.Fatalf("%s: %q, %v", r.provider.kind, said, err)
		}
	})
}

func TestAlertsFollowThePageAndNotTheClock(t *testing.T) {
	now := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC) // Before the incident: clocks differ.
	rapid.Check(t, func(t *rapid.T) {
		p := anyPage(t)
		alerts := alertsOf(p, "https://kemi.example.org", now)
		if len(alerts) == 0 || len(alerts) > maxAlerts {
			t.Fatalf("%d alerts", len(alerts))
		}
		firing := 0
		for _, a := range alerts {
			if !a.ResolvedAt(now) {
				firing++
			}
			if a.Labels["alertname"] == "" && a.Labels["incident"] == "" {
				t.Fatalf("labels %v", a.Labels)
			}
		}
		if over := p.Kind == event.PageResolved; over != (firing == 0) {
			t.Fatalf("%s with %d alerts that fire", p.Kind, firing)
		}
	})
}

func TestTextsAreNeverTemplates(t *testing.T) {
	p := discord()
	s := p.start(t, false)
	page := story(event.PageFiring)
	page.Title = `{{ .ExternalURL }} {{ template "nope" }}`
	if _, err := p.receiver(t, s, env(nil), "title: '{{ .RouteLabels.title }} on {{ .GroupLabels.target }}'\n").Notify(context.Background(), page); err != nil {
		t.Fatal(err)
	}
	if got := s.told()[0].text; !strings.Contains(got, page.Title+" on core-1") {
		t.Errorf("got %s", got)
	}
}

func TestSomeWordsDoNotCallEverybody(t *testing.T) {
	for _, p := range []provider{slackApp(), mattermost(), rocketchat(), discord()} {
		s := p.start(t, false)
		if _, err := p.receiver(t, s, env(nil), "").Notify(context.Background(), story(event.PageFiring)); err != nil {
			t.Fatal(err)
		}
		text := s.told()[0].text
		for _, call := range []string{"<!channel>", "@everyone", "@channel"} {
			if strings.Contains(text, call) && (p.kind != "slack" || call[0] == '<') {
				t.Errorf("%s calls %s: %s", p.kind, call, text)
			}
		}
	}
}

func TestVersionThreeOfJiraGetsADocument(t *testing.T) {
	p := jira()
	p.conf = strings.Replace(p.conf, "api/2", "api/3", 1)
	var description map[string]any
	inner := p.serve
	p.serve = func(c *call) answer {
		if strings.HasSuffix(c.URL.Path, "/search") {
			return jsonAnswer(200, `{"issues":[]}`)
		}
		var b struct {
			Fields struct{ Description map[string]any }
		}
		if err := json.Unmarshal(c.body, &b); err != nil {
			c.errorf("body: %v", err)
			return inner(c)
		}
		description = b.Fields.Description
		return jsonAnswer(201, `{"id":"1","key":"NET-1"}`)
	}
	s := p.start(t, false)
	if _, err := p.receiver(t, s, env(nil), "").Notify(context.Background(), story(event.PageFiring)); err != nil {
		t.Fatal(err)
	}
	if description["type"] != "doc" || !strings.Contains(fmt.Sprint(description), "Where: core-1") {
		t.Errorf("description %v", description)
	}
}

func TestAHandleThatIsNoneIsAMistakeForGood(t *testing.T) {
	for kind, handle := range map[string]string{"telegram": "@jo", "discord": "S3CRET handle", "msteams": "ftp://S3CRET/"} {
		for _, p := range provided() {
			if p.kind != kind {
				continue
			}
			s := p.start(t, false)
			r := p.receiver(t, s, env(map[string]notify.Contact{"jo": {Handles: map[string]conf.Secret{kind: conf.NewSecret(handle)}}}), "")
			page := story(event.PageFiring)
			page.Person = "jo"
			if _, err := r.Notify(context.Background(), page); !notify.IsPermanent(err) || strings.Contains(err.Error(), "S3CRET") || s.count() > 0 {
				t.Errorf("%s: %v, %d requests", kind, err, s.count())
			}
		}
	}
}
