package hush

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

func TestASilenceHoldsWhatItsMatchersSelectWhileItIsInForce(t *testing.T) {
	s := setOf(t, silence("s1", eq("alertname", "HostDown"), event.Matcher{Name: "instance", Value: "web.*", Regex: true}))
	alert := Subject{Labels: labelsOf("alertname", "HostDown", "instance", "web-1")}
	want := []event.Reason{{Code: CodeSilenced, Text: "silence s1 by jo until 2026-01-05 13:00:00 UTC: new switch", Causes: []string{"s1"}}}
	if diff := cmp.Diff(want, s.Why(alert, noon())); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		labels event.Labels
		now    time.Time
	}{
		{labelsOf("alertname", "HostDown", "instance", "my-web-1"), noon()}, // Anchored.
		{labelsOf("alertname", "HostDown"), noon()},
		{labelsOf("alertname", "HostUp", "instance", "web-1"), noon()},
		{alert.Labels, noon().Add(-time.Hour - time.Nanosecond)},
		{alert.Labels, noon().Add(time.Hour)},
	} {
		if got := s.Why(Subject{Labels: c.labels}, c.now); got != nil {
			t.Errorf("%s at %s: %v", c.labels, c.now, got)
		}
	}
}

func TestALabelThatIsNotThereIsEmpty(t *testing.T) {
	s := setOf(t,
		silence("missing", eq("alertname", "A"), eq("team", "")),
		silence("not", eq("alertname", "A"), event.Matcher{Name: "team", Value: "db", Negative: true}),
		silence("optional", eq("alertname", "A"), event.Matcher{Name: "team", Value: "(db)?", Regex: true}),
		silence("listed", eq("alertname", "A"), event.Matcher{Name: "team", Value: "db|", Regex: true}),
		silence("some", eq("alertname", "A"), event.Matcher{Name: "team", Value: "", Negative: true}),
	)
	if got, want := ids(s.Why(Subject{Labels: labelsOf("alertname", "A")}, noon())), "listed missing not optional"; got != want {
		t.Errorf("without a team: %s, want %s", got, want)
	}
	if got, want := ids(s.Why(Subject{Labels: labelsOf("alertname", "A", "team", "db")}, noon())), "listed optional some"; got != want {
		t.Errorf("with one: %s, want %s", got, want)
	}
}

func TestEveryReasonIsGivenMaintenanceFirst(t *testing.T) {
	s := mustYAML(t, `
inhibit_rules: [{name: down, source_matchers: ['alertname="HostDown"'], target_matchers: ['severity="warning"'], equal: [target]}]
time_intervals: [{name: nights, time_intervals: [{times: [{start_time: "11:00", end_time: "24:00"}]}]}]
maintenance: [{name: upgrade, matchers: ['target="vm-1"'], starts: 2026-01-05 11:00, lasts: 2h, by: sun, comment: "kernel"}]
`)
	for _, one := range []*event.Silence{silence("z", eq("severity", "warning")), silence("a", eq("severity", "warning"))} {
		if err := s.Put(one); err != nil {
			t.Fatal(err)
		}
	}
	find := world(func(all map[string]*event.Target) {
		all["srv-1"].Lifecycle, all["srv-1"].Source = event.Maintenance, "file:targets.yaml:9"
	})
	of := about(find, "vm-1", "alertname", "Slow", "severity", "warning")
	of.Ways, of.Sources = []Way{{Route: `route > 1 {team="db"}`, Mute: []string{"nights"}}}, s.Inhibitor()
	of.Sources.Set("down-1", labelsOf("alertname", "HostDown", "target", "vm-1"))
	want := []event.Reason{
		{Code: CodeMaintenance, Text: "maintenance upgrade by sun until 2026-01-05 13:00:00 UTC: kernel", Causes: []string{"config:upgrade"}},
		{Code: CodeMaintenance, Text: "srv-1 is in maintenance according to the CMDB, file:targets.yaml:9 (vm-1 needs it)", Causes: []string{"srv-1"}},
		{Code: CodeSilenced, Text: "silence a by jo until 2026-01-05 13:00:00 UTC: new switch", Causes: []string{"a"}},
		{Code: CodeSilenced, Text: "silence z by jo until 2026-01-05 13:00:00 UTC: new switch", Causes: []string{"z"}},
		{Code: CodeInhibited, Text: "inhibition rule down: HostDown on vm-1 fires", Causes: []string{"down-1"}},
		{Code: CodeMuted, Text: "route > 1 {team=\"db\"} is mute in nights until 2026-01-06 00:00:00 UTC", Causes: []string{"nights"}},
	}
	if diff := cmp.Diff(want, s.Why(of, noon())); diff != "" {
		t.Error(diff)
	}
}

func TestMaintenanceIsInheritedByWhatNeedsTheTarget(t *testing.T) {
	for _, c := range []struct {
		name    string
		window  *event.Silence
		alert   string
		want    string
		because string
	}{
		{"own", maintenance("w", false, eq("target", "vm-1")), "vm-1", "w", ""},
		{"host", maintenance("w", true, eq("target", "srv-1")), "vm-1", "w", "(vm-1 needs srv-1)"},
		{"far above", maintenance("w", true, eq("target", "pdu-1")), "shop-1", "w", "(shop-1 needs pdu-1)"},
		{"not inherited", maintenance("w", false, eq("target", "srv-1")), "vm-1", "", ""},
		{"not by those it needs itself", maintenance("w", true, eq("target", "vm-1")), "srv-1", "", ""},
		{"by class", maintenance("w", true, eq("class", "pdu")), "vm-1", "w", "(vm-1 needs pdu-1)"},
		{"by label", maintenance("w", true, eq("rack", "r1")), "vm-1", "w", ""},
		{"one of a pair", maintenance("w", true, eq("target", "core-1")), "vm-1", "", ""},
		{"one of a pair, itself", maintenance("w", true, eq("target", "core-1")), "core-1", "w", ""},
		{"both of a pair", maintenance("w", true, eq("pair", "core")), "vm-1", "w", "(vm-1 needs core-1)"},
		{"in a circle", maintenance("w", true, eq("target", "db-1")), "shop-1", "w", "(shop-1 needs db-1)"},
		{"a silence can be inherited too", func() *event.Silence { s := silence("w", eq("target", "srv-1")); s.Inherit = true; return s }(), "vm-1", "w", ""},
	} {
		find := world(nil)
		got := setOf(t, c.window).Why(about(find, c.alert, "alertname", "A"), noon())
		if ids(got) != c.want || c.want != "" && !strings.Contains(got[0].Text, c.because) {
			t.Errorf("%s: %v, want %q %s", c.name, got, c.want, c.because)
		}
	}
}

func TestARedundantPairInMaintenanceByTwoWindowsIsInMaintenance(t *testing.T) {
	s := setOf(t, maintenance("w1", true, eq("target", "core-1")), maintenance("w2", true, eq("target", "core-2")))
	if got := ids(s.Why(about(world(nil), "vm-1"), noon())); got != "w1 w2" {
		t.Errorf("by two windows: %q", got)
	}
	find := world(func(all map[string]*event.Target) { all["core-2"].Lifecycle = event.Maintenance })
	s.Drop("w2")
	if got := ids(s.Why(about(find, "vm-1"), noon())); got != "core-2 w1" {
		t.Errorf("by a window and the CMDB: %q", got)
	}
	s.Drop("w1")
	if got := ids(s.Why(about(find, "vm-1"), noon())); got != "" {
		t.Errorf("by the CMDB for one half: %q", got)
	}
}

func TestWhatTheCMDBDoesNotKnowHoldsNothing(t *testing.T) {
	find := world(func(all map[string]*event.Target) {
		all["vm-1"].Relations = map[string][]event.Need{event.RunsOn: {{"srv-1", "gone"}}}
		all["srv-1"].Lifecycle = event.Maintenance
	})
	if got := setOf(t).Why(about(find, "vm-1"), noon()); got != nil {
		t.Errorf("the other alternative may be there: %v", got)
	}
}

func TestAnInheritedSilenceJudgesTheAlertAsIfItWereAboutWhatItNeeds(t *testing.T) {
	find := world(nil)
	s := setOf(t, maintenance("w", true, eq("target", "srv-1"), event.Matcher{Name: "severity", Value: "critical", Negative: true}, eq("env", "")))
	if got := ids(s.Why(about(find, "vm-1", "severity", "warning"), noon())); got != "w" {
		t.Errorf("warning: %q", got) // Its own env is not the server's.
	}
	if got := ids(s.Why(about(find, "vm-1", "severity", "critical"), noon())); got != "" {
		t.Errorf("critical: %q", got)
	}
	s = setOf(t, maintenance("w", true, eq("target", "srv-1"), eq("alertname", "HostDown")))
	if got := ids(s.Why(about(find, "vm-1", "alertname", "HostDown"), noon())); got != "w" {
		t.Errorf("by the alert's name: %q", got)
	}
	if got := ids(s.Why(about(find, "vm-1", "alertname", "DiskFull"), noon())); got != "" {
		t.Errorf("by another name: %q", got)
	}
}

func TestRoutesAreMuteInTheirMuteTimesAndOutsideOfTheirActiveTimes(t *testing.T) {
	s := mustYAML(t, `
time_intervals:
  - {name: office, time_intervals: [{weekdays: ['monday:friday'], times: [{start_time: "09:00", end_time: "17:00"}], location: Asia/Seoul}]}
mute_time_intervals:
  - {name: weekend, time_intervals: [{weekdays: [saturday, sunday]}]}
`)
	if got := strings.Join(s.Intervals(), " "); got != "office weekend" {
		t.Errorf("intervals: %s", got)
	}
	for _, c := range []struct {
		now          string
		mute, active []string
		want         string
	}{
		{"2026-01-05 03:00", []string{"office"}, nil, "its route is mute in office until 2026-01-05 08:00:00 UTC"},
		{"2026-01-05 08:00", []string{"office"}, nil, ""},
		{"2026-01-05 08:00", nil, []string{"office"}, "its route speaks only in office, not before 2026-01-06 00:00:00 UTC"},
		{"2026-01-05 03:00", nil, []string{"office"}, ""},
		{"2026-01-03 03:00", nil, []string{"office", "weekend"}, ""},
		{"2026-01-03 03:00", []string{"weekend"}, []string{"office"}, "its route speaks only in office, not before 2026-01-05 00:00:00 UTC; its route is mute in weekend until 2026-01-05 00:00:00 UTC"},
		{"2026-01-03 03:00", []string{"unheard-of"}, []string{"unheard-of"}, ""},
	} {
		var texts []string
		for _, r := range s.Why(Subject{Ways: []Way{{Mute: c.mute, Active: c.active}}}, utc(c.now)) {
			texts = append(texts, r.Text)
		}
		if got := strings.Join(texts, "; "); got != c.want {
			t.Errorf("%s mute %v active %v:\n got %q\nwant %q", c.now, c.mute, c.active, got, c.want)
		}
	}
}

func TestPutReplacesAndDropForgets(t *testing.T) {
	s := setOf(t, silence("s", eq("a", "1")), silence("t", eq("a", "1")))
	if err := s.Put(silence("s", eq("a", "2"))); err != nil {
		t.Fatal(err)
	}
	one, two := Subject{Labels: labelsOf("a", "1")}, Subject{Labels: labelsOf("a", "2")}
	if ids(s.Why(one, noon())) != "t" || ids(s.Why(two, noon())) != "s" {
		t.Errorf("after replacing: %v, %v", s.Why(one, noon()), s.Why(two, noon()))
	}
	if !s.Drop("s") || s.Drop("s") || s.Why(two, noon()) != nil || s.Get("s") != nil || s.Get("t") == nil {
		t.Error("dropping did not forget exactly one")
	}
	if err := s.Put(silence("t", event.Matcher{Name: "a", Value: "(", Regex: true})); err == nil || s.Get("t") == nil || ids(s.Why(one, noon())) != "t" {
		t.Errorf("what cannot be taken in replaced what was there: %v", err)
	}
	if n := s.Sweep(noon()); n != 0 {
		t.Errorf("swept %d in force", n)
	}
	twice := silence("twice", eq("a", "1"))
	twice.Recurs, twice.LastsSeconds, twice.EndsAt = "FREQ=DAILY;COUNT=2", 3600, time.Time{}
	if err := s.Put(twice); err != nil {
		t.Fatal(err)
	}
	if n := s.Sweep(noon().Add(time.Hour)); n != 1 || s.Get("t") != nil || s.Get("twice") == nil {
		t.Errorf("swept %d that were over", n)
	}
	if n := s.Sweep(noon().Add(25 * time.Hour)); n != 1 || s.Get("twice") != nil {
		t.Errorf("swept %d that will not recur", n)
	}
}

func TestManyMayAskAtTheSameTime(t *testing.T) {
	weekly := maintenance("w", true, eq("target", "srv-1"))
	weekly.Recurs, weekly.LastsSeconds, weekly.EndsAt = "FREQ=WEEKLY", 7200, time.Time{}
	s := mustYAML(t, "time_intervals: [{name: n, time_intervals: [{weekdays: [monday]}]}]")
	if err := s.Put(weekly); err != nil {
		t.Fatal(err)
	}
	of := about(world(nil), "vm-1", "alertname", "A")
	of.Ways = []Way{{Mute: []string{"n"}}}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for day := range 60 {
				now := noon().AddDate(0, 0, (day*7+i)%60)
				want := ""
				if now.Weekday() == time.Monday {
					want = "w n"
				}
				if got := ids(s.Why(of, now)); got != want {
					t.Errorf("%s: %q, want %q", now, got, want)
				}
				if next := s.Next(now); !next.After(now) || s.Until(of, now).Before(next) {
					t.Errorf("%s: next %s, until %s", now, next, s.Until(of, now))
				}
			}
		})
	}
	all.Wait()
}

func TestWindowsOfTheConfigurationStay(t *testing.T) {
	s := mustYAML(t, `maintenance: [{name: w, matchers: ['a="1"'], starts: 2020-01-01 00:00, lasts: 1h}]`)
	if s.Drop("config:w") || s.Sweep(noon()) != 0 || s.Get("config:w") == nil {
		t.Error("a window of the configuration was taken away")
	}
	if err := s.Put(silence("config:w", eq("a", "1"))); err == nil {
		t.Error("a window of the configuration was replaced")
	}
	n := 0
	for range s.All() {
		n++
	}
	if n != 1 {
		t.Errorf("%d silences are listed", n)
	}
}

// drawSubject draws an alert of the world's targets, with few values so that much matches.
func drawSubject(t *rapid.T, find func(string) *event.Target) Subject {
	id := rapid.SampledFrom([]string{"core-1", "core-2", "tor-1", "pdu-1", "srv-1", "vm-1", "db-1", "shop-1"}).Draw(t, "target")
	return about(find, id, "alertname", rapid.SampledFrom([]string{"A", "B"}).Draw(t, "alert"), "severity", rapid.SampledFrom([]string{"", "warning"}).Draw(t, "severity"))
}

func drawMatchers(t *rapid.T) []event.Matcher {
	draw := rapid.Custom(func(t *rapid.T) event.Matcher {
		name := rapid.SampledFrom([]string{"alertname", "severity", "target", "rack", "class", "team", "env"}).Draw(t, "name")
		m := event.Matcher{Name: name, Negative: rapid.IntRange(0, 3).Draw(t, "negative") == 0, Regex: rapid.Bool().Draw(t, "regex")}
		values := map[string][]string{
			"alertname": {"A", "B"}, "severity": {"warning", "critical"}, "target": {"core-1", "srv-1", "vm-1"}, "rack": {"r1"}, "class": {"vm", "switch"},
			"team": {"shop", "network"}, "env": {"prod"},
		}[name]
		m.Value = rapid.SampledFrom(values).Draw(t, "value")
		if m.Regex {
			m.Value = rapid.SampledFrom([]string{m.Value, m.Value + "|x", "^(" + m.Value + "|y)$", m.Value[:1] + ".*", ".+", "(" + m.Value + ")?", ".*"}).Draw(t, "pattern")
		}
		return m
	})
	return rapid.SliceOfN(draw, 1, 3).Draw(t, "matchers")
}

// slowWhy says which silences hold an alert by asking each of them, and by walking down every way to what the target
// needs: nothing but the definition.
func slowWhy(all []*event.Silence, of Subject, now time.Time) map[string]bool {
	out := map[string]bool{}
	for _, s := range all {
		if st, _ := StateOf(s, now); st == Active && slowMatch(s.Matchers, of.Labels.Map()) {
			out[s.ID] = true
		}
	}
	// own lists what holds a target itself, held whether it is held at all.
	own := func(t *event.Target) []string {
		var by []string
		if t.Lifecycle == event.Maintenance {
			by = append(by, t.ID)
		}
		labels := of.Labels.Map()
		for _, l := range of.Target.EffectiveLabels() {
			delete(labels, l.Name)
		}
		for _, l := range t.EffectiveLabels() {
			labels[l.Name] = l.Value
		}
		for _, s := range all {
			if st, _ := StateOf(s, now); s.Inherit && st == Active && slowMatch(s.Matchers, labels) {
				by = append(by, s.ID)
			}
		}
		return by
	}
	var held func(t *event.Target, seen string) (bool, []string)
	held = func(t *event.Target, seen string) (bool, []string) {
		if t == nil || strings.Contains(seen, "/"+t.ID+"/") {
			return false, nil
		}
		seen += "/" + t.ID + "/"
		by := own(t)
		is := len(by) > 0
		for _, needs := range t.Relations {
			for _, need := range needs {
				all, reasons := true, []string(nil)
				for _, id := range need {
					yes, more := held(of.Find(id), seen)
					all = all && yes
					reasons = append(reasons, more...)
				}
				if all {
					is, by = true, append(by, reasons...)
				}
			}
		}
		return is, by
	}
	if _, by := held(of.Target, ""); by != nil {
		for _, id := range by {
			out[id] = true
		}
	}
	return out
}

func TestWhyGivesExactlyWhatEverySilenceAskedByItselfSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		find := world(func(all map[string]*event.Target) {
			for _, id := range []string{"core-1", "core-2", "pdu-1", "db-1"} {
				if rapid.IntRange(0, 5).Draw(t, "maintenance of "+id) == 0 {
					all[id].Lifecycle = event.Maintenance
				}
			}
		})
		s, problems := New(Config{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var all []*event.Silence
		for i := range rapid.IntRange(0, 12).Draw(t, "silences") {
			one := maintenance(fmt.Sprintf("s%02d", i), rapid.Bool().Draw(t, "inherit"), drawMatchers(t)...)
			one.StartsAt = noon().Add(time.Duration(rapid.IntRange(-3, 1).Draw(t, "starts")) * time.Hour)
			one.EndsAt = one.StartsAt.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "lasts")) * time.Hour)
			if err := s.Put(one); err != nil {
				continue // All of its matchers match the empty value.
			}
			all = append(all, one)
		}
		for len(all) > 0 && rapid.IntRange(0, 3).Draw(t, "drop") == 0 {
			i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
			s.Drop(all[i].ID)
			all = append(all[:i:i], all[i+1:]...)
		}
		for range 4 {
			of := drawSubject(t, find)
			got := map[string]bool{}
			for _, r := range s.Why(of, noon()) {
				if got[r.Causes[0]] {
					t.Fatalf("said twice: %v", r)
				}
				got[r.Causes[0]] = true
			}
			if diff := cmp.Diff(slowWhy(all, of, noon()), got); diff != "" {
				t.Fatalf("%s: %s", of.Labels, diff)
			}
		}
	})
}
