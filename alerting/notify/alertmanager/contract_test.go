package alertmanager

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// story is an incident of a core switch, as a page of a kind tells it.
func story(kind event.PageKind) *event.Page {
	opened := time.Date(2026, 3, 1, 3, 20, 0, 0, time.UTC)
	i := &event.Incident{
		ID: "inc-1", Domain: "dc1", State: event.IncidentOpen, Kind: event.IncidentDown, Team: "network", Cause: "core-1", Title: "core-1 is down", Severity: "critical",
		Alerts: []event.IncidentAlert{
			{
				ID: "a2", Name: "LinkDown", Target: "sw-7", State: event.AlertFiring, Severity: "warning", StartsAt: opened.Add(time.Second),
				Labels: event.LabelsOf(map[string]string{"site": "icn", "ifName": "xe-0/0/1"}),
			},
			{
				ID: "a1", Name: "TargetDown", Target: "core-1", State: event.AlertFiring, Severity: "critical", Summary: "no answer <!channel> & \"more\" @everyone @channel",
				Description: "since 5 polls: {{ .Nope }}", Runbook: "https://wiki.example.org/core", StartsAt: opened, Value: 1,
			},
		},
		Firing: 2, Suppressed: map[string]int{"server": 1600}, SuppressedTotal: 1600, OpenedAt: opened, Updated: opened.Add(time.Minute), Revision: 3,
	}
	p := &event.Page{
		ID: "page-" + string(kind), Incident: "inc-1", Domain: "dc1", Team: "network", Receiver: "pager", Urgency: event.UrgencyPage, Kind: kind, Stage: event.PageIntent,
		DedupKey: "d5a1", Title: "core-1 is down", Text: "core-1 is down\n1600 servers went with it\n- TargetDown on core-1", Snapshot: i, Created: opened.Add(time.Minute),
	}
	if kind == event.PageResolved {
		i.State, i.ResolvedAt = event.IncidentResolved, opened.Add(time.Hour)
	}
	return p
}

func env(people map[string]notify.Contact) notify.Env {
	e := notify.Env{ExternalURL: "https://kemi.example.org", AckURL: func(p *event.Page) string { return "https://kemi.example.org/a/token-" + p.Incident }}
	if people != nil {
		e.Contact = func(name string) (notify.Contact, bool) { c, ok := people[name]; return c, ok }
	}
	return e
}

func TestEveryKindSpeaksItsProvidersAPI(t *testing.T) {
	for n, p := range provided() {
		t.Run(fmt.Sprintf("%s-%d", p.kind, n), func(t *testing.T) {
			t.Parallel()
			s := p.start(t, n%2 == 0 && p.kind != "sns")
			more := ""
			if s.backend.TLS != nil && !p.fixed() && !strings.Contains(p.conf, "http_config") {
				more = "http_config: {tls_config: {ca_file: ca.pem}}\n"
			} else if s.backend.TLS != nil && !p.fixed() {
				p.conf = strings.Replace(p.conf, "http_config: {", "http_config: {tls_config: {ca_file: ca.pem}, ", 1)
			}
			r := p.receiver(t, s, env(nil), more)
			for _, kind := range []event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved} {
				said, err := r.Notify(context.Background(), story(kind))
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				if !strings.HasPrefix(said, "20") || strings.Contains(said, "S3CRET") {
					t.Errorf("%s: answered %q", kind, said)
				}
			}
			told := s.told()
			if len(told) < 3 {
				t.Fatalf("%d pages arrived, want 3", len(told))
			}
			keys := map[string]bool{}
			for _, c := range told {
				keys[c.key] = true
				if c.Header.Get("User-Agent") != "Kemi" && p.kind != "sns" {
					t.Errorf("User-Agent %q", c.Header.Get("User-Agent"))
				}
			}
			last := told[len(told)-1]
			switch {
			case r.Dedups() || p.kind == "jira":
				if len(keys) != 1 || keys[""] {
					t.Errorf("keys %v, want one for all pages of the incident", keys)
				}
				if told[0].does != "open" || last.does != "close" {
					t.Errorf("it %ss first and %ss last, want open and close", told[0].does, last.does)
				}
			case p.kind == "sns": // It drops what comes under a key that it knows.
				if len(keys) != 3 {
					t.Errorf("keys %v, want one for each page", keys)
				}
			}
			if !strings.Contains(told[0].text, "core-1 is down") || !strings.Contains(told[0].text, "FIRING") {
				t.Errorf("the page does not say what is wrong:\n%s", told[0].text)
			}
			if last.does == "say" && !strings.Contains(last.text, "RESOLVED") {
				t.Errorf("the resolve does not say so:\n%s", last.text)
			}
			if p.kind != "opsgenie" && p.kind != "jira" && p.kind != "pushover" && !strings.Contains(told[0].text, "token-inc-1") {
				t.Errorf("no link to acknowledge:\n%s", told[0].text)
			}
		})
	}
}

func TestDeduplicationIsClaimedOnlyWhereTheProviderDoesIt(t *testing.T) {
	want := []string{"incidentio", "opsgenie", "pagerduty", "victorops"}
	var got []string
	for _, kind := range Kinds() {
		if specs()[kind].dedups {
			got = append(got, kind)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v fold, want %v", got, want)
	}
}

func TestTheSamePageTwiceIsTheSameRequestTwice(t *testing.T) {
	for _, p := range []provider{pagerDuty(), opsgenie(), victorops(), incidentio()} {
		s := p.start(t, false)
		for range 2 { // Two processes.
			if _, err := p.receiver(t, s, env(nil), "").Notify(context.Background(), story(event.PageFiring)); err != nil {
				t.Fatal(err)
			}
		}
		if told := s.told(); len(told) != 2 || string(told[0].body) != string(told[1].body) {
			t.Errorf("%s: the requests differ:\n%s\n%s", p.kind, told[0].body, told[1].body)
		}
	}
}

func TestAPersonsPageGoesToThePersonsAddress(t *testing.T) {
	handles := map[string]string{
		"pagerduty": "R0jo", "opsgenie": "jo@example.org", "slack": "U123", "msteams": "URL/workflows/jo", "msteamsv2": "URL/workflows/jo", "discord": "URL/api/webhooks/2/jo",
		"telegram": "4242", "sns": "+8210", "pushover": "ujo", "victorops": "jo", "webex": "roomjo", "wechat": "jo", "rocketchat": "@jo", "mattermost": "@jo",
	}
	for n, p := range provided() {
		handle, ok := handles[p.kind]
		if !ok {
			continue
		}
		t.Run(fmt.Sprintf("%s-%d", p.kind, n), func(t *testing.T) {
			t.Parallel()
			s := p.start(t, false)
			handle := strings.Replace(handle, "URL", s.url, 1)
			people := map[string]notify.Contact{
				"jo":  {Handles: map[string]conf.Secret{p.kind: conf.NewSecret(handle)}},
				"sun": {Handles: map[string]conf.Secret{p.kind: conf.NewSecret("wrong"), "pager": conf.NewSecret(handle)}},
			}
			r := p.receiver(t, s, env(people), "")
			first, second, team := story(event.PageFiring), story(event.PageFiring), story(event.PageFiring)
			first.Person, second.Person = "jo", "sun"
			over := story(event.PageResolved)
			over.Person = "jo"
			for _, page := range []*event.Page{first, second, team, over} {
				if _, err := r.Notify(context.Background(), page); err != nil {
					t.Fatal(err)
				}
			}
			told := s.told()
			want := handle[strings.LastIndex(handle, "/")+1:]
			for i, yes := range []bool{true, true, false} {
				if got := strings.Contains(told[i].to, want); got != yes {
					t.Errorf("page %d went to %q, the handle is %q", i, told[i].to, handle)
				}
			}
			if r.Dedups() {
				last := told[len(told)-1]
				if told[0].key == told[1].key || told[0].key == told[2].key || told[0].key != last.key || last.does != "close" {
					t.Errorf("keys %q %q %q, and %q %q: want one for each address, and the first again to close", told[0].key, told[1].key, told[2].key, last.does, last.key)
				}
			}
		})
	}
}

func TestWhereOnlyPeopleHaveAddressesNobodyElseIsPaged(t *testing.T) {
	p := pagerDuty()
	p.conf = "url: URL/v2/enqueue\n"
	s := p.start(t, false)
	if _, err := p.made(t, s, env(nil), ""); err == nil || !strings.Contains(err.Error(), "routing_key") {
		t.Errorf("without people and routing_key: %v", err)
	}
	r := p.receiver(t, s, env(map[string]notify.Contact{"jo": {Handles: map[string]conf.Secret{"pagerduty": conf.NewSecret("R0jo")}}, "sun": {}}), "")
	page := story(event.PageFiring)
	page.Person = "sun"
	if _, err := r.Notify(context.Background(), page); !notify.IsPermanent(err) || !strings.Contains(err.Error(), "sun has no handle") {
		t.Errorf("a person without a handle: %v", err)
	}
	page.Person = "jo"
	if _, err := r.Notify(context.Background(), page); err != nil {
		t.Error(err)
	}
	if n := len(s.told()); n != 1 {
		t.Errorf("%d pages, want 1", n)
	}
}

func TestAPhoneNumberIsEnoughForSNS(t *testing.T) {
	p := sns()
	s := p.start(t, false)
	r := p.receiver(t, s, env(map[string]notify.Contact{
		"jo": {Phone: "+821012345678"}, "lee": {Handles: map[string]conf.Secret{"sns": conf.NewSecret("arn:aws:sns:eu-west-1:1:endpoint/GCM/a/b")}},
	}), "")
	for _, person := range []string{"jo", "lee"} {
		page := story(event.PageFiring)
		page.Person = person
		if _, err := r.Notify(context.Background(), page); err != nil {
			t.Fatal(err)
		}
	}
	if told := s.told(); told[0].to != "+821012345678" || told[1].to != "arn:aws:sns:eu-west-1:1:endpoint/GCM/a/b" {
		t.Errorf("went to %q and %q", told[0].to, told[1].to)
	}
}
