package alerting

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// changed are what the first page says of changes, one a line.
func changed(s *stage) string {
	if len(s.pages) == 0 {
		return "no page"
	}
	var all []string
	for _, c := range s.pages[0].Snapshot.Changes {
		all = append(all, c.Text)
	}
	return strings.Join(all, "\n")
}

// anew has a target become another version now.
func anew(s *stage, id string, change func(*event.Target)) {
	t := *s.targets[id]
	change(&t)
	t.Updated = s.now
	t.Version = t.ComputeVersion()
	s.targets[id] = &t
	s.desk.SetTarget(&t)
}

// What changed lately on a cause stands on its page: in the CMDB, and by maintenance that a deploy script said.
func TestAPageSaysWhatChangedLately(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch")
	s.do("target core-2 switch")
	anew(s, "core-1", func(t *event.Target) { t.Labels = map[string]string{"rack": "r9"} })
	s.now = s.now.Add(changesWithin) // Longer ago than anybody asks.
	anew(s, "core-1", func(t *event.Target) { t.Labels = map[string]string{"rack": "r1"}; t.Address = "10.0.0.1" })
	s.now = s.now.Add(time.Hour)
	anew(s, "core-1", func(t *event.Target) {
		t.Labels = map[string]string{"rack": "r2"}
		t.Checks = append([]event.Check{{Name: "web", Kind: "http", Every: time.Minute}}, t.Checks...)
		t.Relations = map[string][]event.Need{event.PoweredBy: {{"ups-1", "ups-2"}}}
	})
	anew(s, "core-2", func(t *event.Target) { t.Address = "10.0.0.2" })
	for _, name := range []string{"core-1", "core-2"} {
		silence := &event.Silence{
			ID: name, Kind: event.MaintenanceWindow, Matchers: []event.Matcher{{Name: "target", Value: name}}, By: "ci", Comment: "release 4711",
			Annotations: map[string]string{"name": "deploy-" + name}, StartsAt: s.now.Add(time.Minute), EndsAt: s.now.Add(time.Hour), Updated: s.now,
		}
		if err := s.desk.Silence(silence); err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(10 * time.Minute)
		ended := *silence
		ended.EndsAt, ended.Updated = s.now, s.now
		if err := s.desk.Silence(&ended); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"down core-1", "fire core-1 TargetDown", "+10s"} {
		s.do(line)
	}
	want := `maintenance deploy-core-1 by ci ended
maintenance deploy-core-1 by ci began: release 4711
powered_by ups-1 or ups-2 is new; label rack r1 became r2; check web is new
label rack r9 became r1`
	got := strings.ReplaceAll(changed(s), "address 10.0.0.1 is new; ", "")
	if got != want {
		t.Errorf("changed lately:\n%s\nwant:\n%s", got, want)
	}
	before := changed(s)
	s.restart()
	s.do("+1m")
	for _, inc := range s.desk.incidents {
		if len(inc.rec.Changes) == 0 || inc.rec.Changes[len(inc.rec.Changes)-1] != s.pages[0].Snapshot.Changes[3] {
			t.Errorf("after a restart %+v, before:\n%s", inc.rec.Changes, before)
		}
	}
	s.promises()
}

// What a page needs to say how bad it is and what to do comes with the alert.
func TestARecordHasWhatAPageNeeds(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch")
	s.do("up core-1")
	s.desk.Alert(&event.Alert{
		ID: "a", Name: "Hot", State: event.AlertFiring, Target: "core-1", Domain: "default", Severity: "critical", Value: 81.5, Threshold: "> 75", StartsAt: s.now, Updated: s.now,
		Labels:       event.LabelsOf(map[string]string{"alertname": "Hot", "target": "core-1", "rack": "r1", "long": strings.Repeat("x", 1000)}),
		Annotations:  map[string]string{"summary": "it is hot", "description": "Look at the fans.", "runbook_url": "https://wiki.example.org/hot"},
		GeneratorURL: "http://prometheus.example:9090/graph?g0.expr=t",
	})
	s.do("+30s")
	if len(s.pages) != 1 {
		t.Fatalf("told %q", s.told())
	}
	a := s.pages[0].Snapshot.Alerts[0]
	if a.Severity != "critical" || a.Threshold != "> 75" || a.Value != 81.5 || a.Description != "Look at the fans." || a.Runbook != "https://wiki.example.org/hot" || a.Graph != "http://prometheus.example:9090/graph?g0.expr=t" || a.Labels.Get("rack") != "r1" || len([]rune(a.Labels.Get("long"))) != maxLabel+1 {
		t.Errorf("%+v", a)
	}
}

// Alerts of a megabyte each make no record of one.
func TestTheDetailsOfARecordAreBounded(t *testing.T) {
	labels := map[string]string{}
	for i := range 1000 {
		labels[strings.Repeat("l", 1+i%100)+strings.Repeat("m", i/100)] = strings.Repeat("v", 1000)
	}
	var all []*held
	for range maxListed {
		all = append(all, &held{event: &event.Alert{
			Name: "Hot", Labels: event.LabelsOf(labels),
			Annotations:  map[string]string{"summary": "s", "description": strings.Repeat("d", 1<<20), "runbook_url": "https://wiki.example.org/" + strings.Repeat("r", maxLink)},
			GeneratorURL: "https://prometheus.example.org/" + strings.Repeat("g", maxGraph-100),
		}})
	}
	size := 0
	for _, a := range listed(all) {
		size += len(a.Description) + len(a.Runbook) + len(a.Graph)
		for _, l := range a.Labels {
			size += len(l.Name) + len(l.Value)
		}
		if a.Runbook != "" {
			t.Fatalf("a link of %d bytes", len(a.Runbook))
		}
	}
	if size > maxDetails || size < maxDetails/2 {
		t.Errorf("%d bytes of details, want at most %d", size, maxDetails)
	}
}
