package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

func tor() *event.Target {
	return &event.Target{
		ID: "tor-1", Class: "switch", Team: "network", Address: "192.0.2.7:161", Lifecycle: event.Active,
		Labels: map[string]string{event.LabelName: "tor1.example.org", event.LabelDomain: "west"},
	}
}

// one is an alert in JSON; more are names and values in JSON beside the labels.
func one(labels map[string]string, more ...string) string {
	l, _ := json.Marshal(labels)
	s := `{"labels":` + string(l)
	for i := 0; i+1 < len(more); i += 2 {
		s += fmt.Sprintf(",%q:%s", more[i], more[i+1])
	}
	return s + "}"
}

func list(alerts ...string) string { return "[" + strings.Join(alerts, ",") + "]" }

func when(d time.Duration) string {
	return `"` + time.Now().Add(d).UTC().Format(time.RFC3339Nano) + `"`
}

type ls = map[string]string

// An alert that names a target of ours, in whatever way, is about it.
func TestAnAlertBelongsToTheTargetThatItNames(t *testing.T) {
	h := serve(t, quiet, tor(), &event.Target{ID: "a", Address: "192.0.2.9"}, &event.Target{ID: "b", Address: "192.0.2.9:443", Team: "shop"})
	for name, c := range map[string]struct {
		labels       ls
		target, team string
	}{
		"id":                {ls{"target": "tor-1"}, "tor-1", "network"},
		"instance id":       {ls{"instance": "tor-1:9100"}, "tor-1", "network"},
		"address":           {ls{"instance": "192.0.2.7"}, "tor-1", "network"},
		"address and port":  {ls{"instance": "192.0.2.7:9100"}, "tor-1", "network"},
		"name":              {ls{"instance": "TOR1.example.org:9100"}, "tor-1", "network"},
		"target first":      {ls{"target": "b", "instance": "tor-1"}, "b", "shop"},
		"team of target":    {ls{"target": "tor-1", "team": "shop"}, "tor-1", "network"},
		"exact address":     {ls{"instance": "192.0.2.9:443"}, "b", "shop"},
		"nobody can tell":   {ls{"instance": "192.0.2.9:80"}, "", ""},
		"unknown":           {ls{"target": "no-such", "team": "shop"}, "", "shop"},
		"none":              {ls{}, "", ""},
		"job is no target":  {ls{"job": "tor-1"}, "", ""},
		"unknown, instance": {ls{"target": "no-such", "instance": "tor-1"}, "tor-1", "network"},
	} {
		c.labels["alertname"] = "HostDown"
		c.labels["case"] = name
		h.want("POST", "/alerts", list(one(c.labels)), nil)
		all := h.stored()
		i := slices.IndexFunc(all, func(f *event.Finding) bool { return f.Labels.Get("case") == name })
		if i < 0 {
			t.Errorf("%s: nothing was published", name)
			continue
		}
		f := all[i]
		domain := event.DefaultDomain
		if c.target == "tor-1" {
			domain = "west"
		}
		if f.Target != c.target || f.Team != c.team || f.Domain != domain || f.Rule != "alertmanager/HostDown" || f.Reason.Code != event.ReasonElsewhere {
			t.Errorf("%s: target %q, team %q, domain %q, rule %q, reason %v", name, f.Target, f.Team, f.Domain, f.Rule, f.Reason)
		}
	}
}

// What says no end gets five minutes, each repeat as much again; what says an end in the past is over.
func TestEndsAreAlertmanagers(t *testing.T) {
	h := serve(t, quiet)
	before := time.Now()
	h.post(1, list(one(ls{"alertname": "A"}, "annotations", `{"summary":"one","empty":""}`, "generatorURL", `"http://prom/graph"`, "startsAt", when(-time.Hour))))
	a := h.alerts()[0]
	if end := a.EndsAt.Sub(before); end < 5*time.Minute-time.Second || end > 6*time.Minute {
		t.Errorf("ends in %s", end)
	}
	if start := before.Sub(a.StartsAt); start < time.Hour-time.Second || start > time.Hour+time.Minute {
		t.Errorf("started %s ago", start)
	}
	if a.Annotations["summary"] != "one" || a.GeneratorURL != "http://prom/graph" || a.Status.State != "active" || len(a.Fingerprint) != 16 {
		t.Errorf("%+v", a)
	}
	h.want("POST", "/alerts", list(one(ls{"alertname": "A"}, "annotations", `{"summary":"one","empty":""}`)), nil)
	if all := h.stored(); len(all) != 1 {
		t.Errorf("a repeat that changes nothing was published: %d findings", len(all))
	}
	h.want("POST", "/alerts", list(one(ls{"alertname": "A"}, "annotations", `{"summary":"two"}`)), nil)
	h.want("POST", "/alerts", list(one(ls{"alertname": "A"}, "annotations", `{"summary":"two"}`, "endsAt", when(time.Hour))), nil)
	all := h.stored()
	if len(all) != 3 || all[2].Until.Sub(before) < 59*time.Minute {
		t.Errorf("%d findings after other texts and a later end", len(all))
	}
	h.post(0, list(one(ls{"alertname": "A"}, "endsAt", when(-time.Second))))
	if got := h.alerts(); len(got) != 0 {
		t.Errorf("over, and listed: %v", got)
	}
	// The same twice in one request is said once, as the last says.
	h.post(1, list(one(ls{"alertname": "B"}), one(ls{"alertname": "B"}, "endsAt", when(-time.Second)), one(ls{"alertname": "C"}, "endsAt", when(-time.Second)), one(ls{"alertname": "C"})))
	if got := names(h.alerts()); !slices.Equal(got, []string{"C"}) {
		t.Errorf("fires: %v", got)
	}
}

// What is wrong is refused with a word on it; what is right in the same request is taken.
func TestBadAlertsAreNamedAndTheRestIsTaken(t *testing.T) {
	h := serve(t, quiet)
	many, long := ls{"alertname": "Many"}, ls{"alertname": "Long"}
	for i := range 1000 {
		many[fmt.Sprint("label_", i)] = "x"
	}
	long["text"] = strings.Repeat("x", 100_000)
	good := one(ls{"alertname": "Good"})
	for name, c := range map[string]struct{ body, says string }{
		"no JSON":              {"alertname", "read the request"},
		"no list":              {good, "read the request"},
		"no labels":            {list(one(nil), good), "alert 1: labels: at least one label pair required"},
		"empty labels":         {list(good, one(ls{"alertname": ""})), "alert 2: labels: at least one label pair required"},
		"null":                 {list("null", good), "alert 1: it is null"},
		"no name":              {list(one(ls{"job": "x"}), good), "alert 1: labels: {job=\"x\"} has no label alertname"},
		"1,000 labels":         {list(one(many), good), "alert 1: labels: there are 1001 (alertname=\"Many\"): use at most 256"},
		"long label":           {list(one(long), good), "alert 1: labels: they have 100017 bytes (alertname=\"Long\"): use at most 65536"},
		"200 kB of brackets":   {list(good, one(ls{"alertname": "A"}, "annotations", `{"summary":"`+strings.Repeat("<", 200<<10)+`"}`)), "alert 2: annotations: they have 1228807 bytes (alertname=\"A\"): use at most 262144"},
		"1 MB annotation":      {list(good, one(ls{"alertname": "A"}, "annotations", `{"summary":"`+strings.Repeat("x", 1<<20)+`"}`)), "alert 2: annotations: they have 1048583 bytes (alertname=\"A\"): use at most 262144"},
		"ends before it began": {list(one(ls{"alertname": "A"}, "startsAt", when(0), "endsAt", when(-time.Hour)), good), "alert 1: endsAt: "},
		"no time":              {list(good, one(ls{"alertname": "A"}, "startsAt", `"yesterday"`)), "alert 2: startsAt: \"yesterday\" is no time"},
		"nameless label":       {list(one(ls{"alertname": "A", "": "x"}), good), "alert 1: labels: invalid label set"},
		"a number":             {list(`{"labels":{"alertname":1}}`, good), "alert 1: labels: "},
		"a list":               {list(good, `{"annotations":[]}`), "alert 2: annotations: "},
		"long URL":             {list(good, one(ls{"alertname": "A"}, "generatorURL", `"`+strings.Repeat("x", 1<<20)+`"`)), "alert 2: generatorURL: it has 1048576 bytes"},
		"nameless annotation":  {list(good, one(ls{"alertname": "A"}, "annotations", `{"":"x"}`)), "alert 2: annotations: "},
		"30,000 alerts":        {list(slices.Repeat([]string{good}, 30_000)...), "the request has 30000 alerts: send 20000 at most at once"},
		"too much":             {`[{"labels":{"alertname":"` + strings.Repeat("x", 33<<20) + `"}}]`, "send it in parts"},
	} {
		code, text := h.do("POST", "/alerts", c.body)
		var says string
		if err := json.Unmarshal([]byte(text), &says); code != http.StatusBadRequest || err != nil || !strings.Contains(says, c.says) {
			t.Errorf("%s: %d %.300s", name, code, text)
		}
	}
	h.await(1)
	if got := names(h.alerts()); !slices.Equal(got, []string{"Good"}) {
		t.Errorf("fires: %v", got)
	}
	var all []string
	for range 100 {
		all = append(all, one(ls{"job": "x"}))
	}
	if _, text := h.do("POST", "/alerts", list(all...)); !strings.Contains(text, "alert 10:") || strings.Contains(text, "alert 11:") || !strings.Contains(text, "and 90 more") {
		t.Errorf("100 mistakes: %s", text)
	}
}

// A clock that is ahead or behind loses nothing, and is told.
func TestAClockThatIsOffIsSaid(t *testing.T) {
	h := serve(t, quiet)
	h.post(3, list(
		one(ls{"alertname": "Ahead"}, "startsAt", when(10*time.Minute), "endsAt", when(14*time.Minute)),
		one(ls{"alertname": "AheadOpen"}, "startsAt", when(10*time.Minute)),
		one(ls{"alertname": "Behind"}, "startsAt", when(-10*time.Minute)),
		one(ls{"alertname": "Over"}, "startsAt", when(-10*time.Minute), "endsAt", when(-6*time.Minute)),
	))
	for _, a := range h.alerts("filter", `alertname=~"Ahead.*"`) {
		if a.StartsAt.After(time.Now()) {
			t.Errorf("%s starts in the future: %s", a.Labels["alertname"], a.StartsAt)
		}
	}
	h.model.Read(func(s *view.State) {
		for _, a := range s.Alerts(view.Filter{}) {
			if said := strings.Contains(a.Reason.Text, "is the sender's clock ahead?"); said != strings.HasPrefix(a.Name, "Ahead") || !strings.Contains(a.Reason.Text, "tester/1 at 127.0.0.1") {
				t.Errorf("%s: %q", a.Name, a.Reason.Text)
			}
		}
	})
}
