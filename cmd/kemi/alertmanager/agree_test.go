package alertmanager_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/alertmanager"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

const agreeing = `
receivers: {box: {inbox: {}}, chat: {inbox: {}}}
teams: {net: {receiver: chat}, db: {receiver: box}, default: {receiver: box}}
alerting: {similar_count: 1000}
time_intervals:
  - {name: early, time_intervals: [{times: [{start_time: "00:01", end_time: "00:02"}]}]}
  - {name: late, time_intervals: [{times: [{start_time: "00:01", end_time: "00:03"}]}]}
inhibit_rules:
  - {source_matchers: [alertname="A"], target_matchers: [alertname="B"]}
  - {source_matchers: [alertname="B"], target_matchers: [alertname=~"C|B"], equal: [site]}
maintenance:
  - {name: rack, matchers: [class="rack"], starts: "2000-01-01 00:00", ends: "2000-01-01 00:02", inherit: true}
route:
  routes:
    - {matchers: [team="net", site="x"], mute_time_intervals: [early], continue: true}
    - {matchers: [team="net"], receiver: chat, active_time_intervals: [early, late]}
    - {matchers: [alertname="C"], receiver: [box, owner], mute_time_intervals: [late]}
`

// step is something that happens, and how long it is quiet after that.
type step struct {
	say   []event.Event
	drop  []event.Event
	quiet time.Duration
}

// drawStory draws targets in some domains that need one another, alerts on them, silences, and changes of all of these.
func drawStory(t *rapid.T) (story []step) {
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // As in every bubble.
	one := func(from ...string) string { return rapid.SampledFrom(from).Draw(t, "one") }
	now := begin
	targets := map[string]*event.Target{}
	var ids []string
	target := func(id, domain string) *event.Target {
		e := &event.Target{
			ID: id, Class: one("rack", "server"), Team: one("net", "db"), Lifecycle: rapid.SampledFrom([]event.Lifecycle{event.Active, event.Active, event.Maintenance}).Draw(t, "lifecycle"),
			Labels: map[string]string{event.LabelDomain: domain, "site": one("x", "y")}, Relations: map[string][]event.Need{},
		}
		for range rapid.IntRange(0, 2).Draw(t, "needs") {
			need := event.Need{}
			for range rapid.IntRange(1, 2).Draw(t, "alternatives") {
				need = append(need, fmt.Sprintf("t%d", rapid.IntRange(0, 5).Draw(t, "need")))
			}
			e.Relations[event.DependsOn] = append(e.Relations[event.DependsOn], need)
		}
		e.Version = e.ComputeVersion()
		targets[id] = e
		return e
	}
	alerts := map[string]*event.Alert{}
	fire := func(on *event.Target) *event.Alert {
		labels := event.LabelsOf(map[string]string{"alertname": one("A", "B", "C"), "target": on.ID, "site": on.Labels["site"], "team": on.Team})
		a := &event.Alert{
			ID: event.AlertID("rule", labels), Name: labels.Get("alertname"), Rule: "rule", State: event.AlertFiring, Target: on.ID, Domain: on.Domain(), Team: on.Team,
			Severity: "critical", Labels: labels, StartsAt: now, Updated: now,
		}
		alerts[on.ID] = a
		return a
	}
	first := step{quiet: time.Second}
	for i := range rapid.IntRange(2, 6).Draw(t, "targets") {
		id := fmt.Sprintf("t%d", i)
		ids = append(ids, id)
		first.say = append(first.say, target(id, one("d1", "d2", "d3")))
	}
	story = append(story, first)
	now = now.Add(time.Second)
	for range rapid.IntRange(1, 8).Draw(t, "steps") {
		s := step{quiet: time.Duration(rapid.IntRange(3, 40).Draw(t, "seconds")) * time.Second}
		id := one(ids...)
		switch a := alerts[id]; rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			team := targets[id].Team
			if changed := target(id, targets[id].Domain()); a != nil && changed.Team != team {
				// Whoever was told of an alert stays with it, which the API does not say: it shows whose the target is.
				changed.Team = team
				changed.Version = changed.ComputeVersion()
			}
			s.say = append(s.say, targets[id])
		case 1:
			e := &event.Silence{
				ID: one("s1", "s2"), Kind: event.PlainSilence, StartsAt: now, EndsAt: now.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "for")) * time.Second), By: "jo", Comment: "known", Updated: now,
				Matchers: []event.Matcher{{Name: one("alertname", "class", "site"), Value: one("A", "B", "server", "rack", "x")}}, Inherit: rapid.Bool().Draw(t, "inherit"),
			}
			s.say = append(s.say, e)
		case 2:
			s.drop = append(s.drop, &event.Silence{ID: one("s1", "s2")})
		case 3:
			if a != nil {
				over := *a
				over.State, over.EndsAt, over.Updated = event.AlertResolved, now, now
				s.say = append(s.say, &over)
				delete(alerts, id)
			}
		default:
			if a == nil {
				s.say = append(s.say, fire(targets[id]))
			}
		}
		story = append(story, s)
		now = now.Add(s.quiet)
	}
	return story
}

// What holds back the pages of an alert is the same in the room, whose partitions know the alerts and targets of their
// domains, and in the API, which sees all of them.
func TestTheRoomHoldsBackWhatTheAPISays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		story := drawStory(rt)
		var differs []string
		synctest.Test(t, func(t *testing.T) { differs = agree(t, story) })
		if len(differs) > 0 {
			rt.Fatal(strings.Join(differs, "\n"))
		}
	})
}

// agree plays a story to a room and to the API and says where they differ.
func agree(t *testing.T, story []step) (differs []string) {
	var c struct {
		Receivers, Teams             map[string]conf.Node
		Route, Maintenance, Alerting conf.Node
		InhibitRules                 conf.Node `yaml:"inhibit_rules"`
		TimeIntervals                conf.Node `yaml:"time_intervals"`
	}
	nodes, problems := conf.Parse("kemi.yaml", []byte(agreeing))
	if err := append(problems, nodes[0].Into(&c)...).Err(); err != nil {
		t.Fatal(err)
	}
	b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	room, problems := alerting.New(alerting.Options{
		Bus: b, Receivers: c.Receivers, Teams: c.Teams, Route: c.Route, Policy: c.Alerting,
		Holds: hush.Config{Maintenance: c.Maintenance, InhibitRules: c.InhibitRules, TimeIntervals: c.TimeIntervals},
	})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	model := view.New(b)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{room.Run, model.Run} {
		running.Go(func() { _ = run(ctx) })
	}
	defer running.Wait()
	defer cancel()
	<-model.Ready()
	handler := alertmanager.New(alertmanager.Options{Bus: b, Model: model, Told: room, Route: c.Route, Version: "test", Started: time.Now()})
	for n, s := range story {
		if err := b.Publish(t.Context(), s.say...); err != nil {
			t.Fatal(err)
		}
		if err := b.Remove(t.Context(), s.drop...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(s.quiet)
		synctest.Wait()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", alertmanager.Prefix+"/alerts", nil))
		var said []alertWord
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
		prints := map[string]string{} // Fingerprints by the alert's id.
		for _, a := range said {
			prints[event.AlertID("rule", event.LabelsOf(a.Labels))] = a.Fingerprint
		}
		model.Read(func(m *view.State) {
			for _, a := range said {
				id := event.AlertID("rule", event.LabelsOf(a.Labels))
				theirs := slices.Sorted(slices.Values(slices.Concat(a.Status.SilencedBy, a.Status.InhibitedBy, a.Status.MutedBy)))
				var ours []string
				for _, i := range m.Incidents(view.Filter{}) {
					if i.State == event.IncidentResolved || !slices.ContainsFunc(i.Alerts, func(one event.IncidentAlert) bool { return one.ID == id }) {
						continue
					}
					for _, r := range i.Muted {
						if by := r.Causes[0]; r.Code == hush.CodeInhibited {
							ours = append(ours, prints[by])
						} else {
							ours = append(ours, by)
						}
					}
				}
				if slices.Sort(ours); !slices.Equal(ours, theirs) {
					differs = append(differs, fmt.Sprintf("step %d: %v: the room %q, the API %q", n, a.Labels, ours, theirs))
				}
			}
		})
	}
	return differs
}
