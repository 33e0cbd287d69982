package hush

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/timeinterval"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

func TestMaintenanceOfTheConfigurationIsReadAsWritten(t *testing.T) {
	s := mustYAML(t, `
maintenance:
  - {name: patching, matchers: ['class="server", team=~"compute|db"', env!="prod"], starts: 2026-01-04 02:00, recurs: "FREQ=WEEKLY;BYDAY=SU", lasts: 2h, timezone: Asia/Seoul, comment: patches}
  - {name: move, matchers: ['rack="r1"'], starts: 2026-03-01T09:00:00+09:00, ends: 2026-03-02T09:00:00+09:00, inherit: false, by: jo}
`)
	want := &event.Silence{
		ID: "config:patching", Kind: event.MaintenanceWindow, StartsAt: utc("2026-01-03 17:00"), Recurs: "FREQ=WEEKLY;BYDAY=SU", LastsSeconds: 7200,
		Timezone: "Asia/Seoul", Inherit: true, Comment: "patches",
		Matchers: []event.Matcher{eq("class", "server"), {Name: "team", Value: "compute|db", Regex: true}, {Name: "env", Value: "prod", Negative: true}},
	}
	if diff := cmp.Diff(want, s.Get("config:patching")); diff != "" {
		t.Error(diff)
	}
	move := s.Get("config:move")
	if move.Inherit || !move.StartsAt.Equal(utc("2026-03-01 00:00")) || !move.EndsAt.Equal(utc("2026-03-02 00:00")) {
		t.Errorf("%+v", move)
	}
	of := Subject{Labels: labelsOf("class", "server", "team", "db")}
	if ids(s.Why(of, utc("2026-01-10 18:59"))) != "config:patching" || s.Why(of, utc("2026-01-10 19:00")) != nil || s.Why(of, utc("2026-01-10 16:59")) != nil {
		t.Error("the window does not open on Sundays from two to four in Seoul")
	}
}

func TestMistakesOfTheConfigurationAreFoundWhereTheyAre(t *testing.T) {
	for text, want := range map[string]string{
		`maintenance: [{matchers: [a="b"], starts: 2026-01-04 02:00, lasts: 2h}]`:                                `1:15: the window has no name`,
		`maintenance: [{name: w, matchers: [a="b"], lasts: 2h}]`:                                                 `the window has no start`,
		`maintenance: [{name: w, matchers: [a="b"], starts: 2026-01-04 02:00}]`:                                  `the window needs either ends or lasts`,
		`maintenance: [{name: w, matchers: [a="b"], starts: 2026-01-04 02:00, recurs: FREQ=DAILY}]`:              `does not say how long it lasts`,
		`maintenance: [{name: w, matchers: [a="b"], starts: tomorrow, lasts: 2h}]`:                               `1:52: "tomorrow" is no time: write 2026-01-04 02:00`,
		`maintenance: [{name: w, matchers: [a="b"], starts: 2026-01-04 02:00, ends: 2026-01-04 01:00}]`:          `the window ends before it starts: give a later end`,
		`maintenance: [{name: w, matchers: ["a"], starts: 2026-01-04 02:00, lasts: 2h}]`:                         `1:36: "a" is no matcher`,
		`maintenance: [{name: w, matchers: [{a: b}], starts: 2026-01-04 02:00, lasts: 2h}]`:                      `1:36: expected a matcher, got a mapping`,
		`maintenance: [{name: w, matchers: ['a=~"("'], starts: 2026-01-04 02:00, lasts: 2h}]`:                    `1:36: "a=~\"(\"" is no matcher`,
		`maintenance: [{name: w, matchers: ['a=""'], starts: 2026-01-04 02:00, lasts: 2h}]`:                      `every matcher matches the empty value`,
		`maintenance: [{name: w, starts: 2026-01-04 02:00, lasts: 2h}]`:                                          `there are no matchers`,
		`maintenance: [{name: w, matchers: [a="b"], starts: 2026-01-04 02:00, lasts: 2h, recurs: FREQ=SUNDAYS}]`: `1:89: recurrence rule "FREQ=SUNDAYS"`,
		`maintenance: [{name: w, matchers: [a="b"], starts: 2026-01-04 02:00, lasts: 2h, timezone: Seoul}]`:      `there is no timezone "Seoul": use an IANA name`,
		`maintenance: [{name: w, matchers: [a="b"], starts: 2026-01-04 02:00, lasts: 2h, inherits: true}]`:       `unknown key "inherits": did you mean "inherit"?`,
		"maintenance:\n- &w {name: w, matchers: [a=\"b\"], starts: 2026-01-04 02:00, lasts: 2h}\n- *w":           `there are two windows "w"`,
		`inhibit_rules: [{source_matcher: [a="b"]}]`:                                                             `did you mean "source_matchers"?`,
		`inhibit_rules: [{equal: [a]}]`:                                                                      `the rule inhibits nothing`,
		`inhibit_rules: [{source_match_re: {a: "("}, target_match: {b: c}}]`:                                 `missing closing )`,
		`inhibit_rules: [{source_matchers: [a="b"], target_matchers: ["="]}]`:                                `is no matcher`,
		`inhibit_rules: [{source_matchers: [a="b"], equal: [""]}]`:                                           `a label without a name`,
		`time_intervals: [{time_intervals: []}]`:                                                             `the time interval has no name`,
		`time_intervals: [{name: a}, {name: a}]`:                                                             `there are two time intervals "a"`,
		`time_intervals: [{name: a, time_intervals: [{times: [{start_time: "17:00", end_time: "09:00"}]}]}]`: `what goes past midnight is two ranges`,
		`time_intervals: [{name: a, time_intervals: [{times: [{start_time: 9, end_time: "10:00"}]}]}]`:       `1:54: couldn't parse timestamp 9`,
		`time_intervals: [{name: a, time_intervals: [{weekdays: [funday]}]}]`:                                `1:57: funday is not a valid weekday: write for example monday:friday`,
		`time_intervals: [{name: a, time_intervals: [{days_of_month: ["0"]}]}]`:                              `0 is not a valid day of the month`,
		`time_intervals: [{name: a, time_intervals: [{months: [smarch]}]}]`:                                  `smarch is not a valid month`,
		`time_intervals: [{name: a, time_intervals: [{years: ["2030:2020"]}]}]`:                              `end year 2020 is before start year 2030`,
		`time_intervals: [{name: a, time_intervals: [{location: Mars}]}]`:                                    `there is no timezone "Mars"`,
		`time_intervals: [{name: a, time_intervals: [{weekday: [monday]}]}]`:                                 `did you mean "weekdays"?`,
	} {
		_, problems := fromYAML(t, text)
		if len(problems) == 0 || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, problems, want)
		}
	}
}

func TestTimeIntervalsAreReadAsAlertmanagerReadsThem(t *testing.T) {
	s := mustYAML(t, `
time_intervals:
  - name: month
    time_intervals:
      - times: [{start_time: 22:00, end_time: 24:00}]
        days_of_month: ['-3:-1', 1]
        months: [january, '3:4']
        years: [2026, '2028:2029']
        location: Europe/Berlin
`)
	for now, want := range map[string]bool{
		"2026-01-29 21:30": true, "2026-01-29 20:30": false, "2026-01-28 21:30": false, "2026-02-28 21:30": false, "2026-04-01 20:30": true,
		"2027-01-29 21:30": false, "2029-03-31 20:00": true, "2029-03-31 22:00": false, // The last of March is the 31st, though an hour of the month is left out.
	} {
		if got := s.Why(Subject{Ways: []Way{{Mute: []string{"month"}}}}, utc(now)) != nil; got != want {
			t.Errorf("%s: %v, want %v", now, got, want)
		}
	}
}

func TestTimeIntervalsHoldWhenAlertmanagersDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones()).Draw(t, "zone")
		text := fmt.Sprintf(`{"weekdays": [%q], "location": %q, "times": [{"start_time": %q, "end_time": %q}], "days_of_month": [%q], "months": [%q]}`,
			rapid.SampledFrom([]string{"sunday", "monday:friday"}).Draw(t, "weekdays"), zone,
			rapid.SampledFrom([]string{"00:00", "01:30"}).Draw(t, "start"), rapid.SampledFrom([]string{"02:30", "24:00"}).Draw(t, "end"),
			rapid.SampledFrom([]string{"1:31", "20:31", "8"}).Draw(t, "days"), rapid.SampledFrom([]string{"1:12", "march", "3:10"}).Draw(t, "months"))
		var their timeinterval.TimeInterval
		if err := json.Unmarshal([]byte(text), &their); err != nil {
			t.Fatal(err)
		}
		n, ps := parseYAML("time_intervals: [{name: n, time_intervals: [" + text + "]}]")
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		s, ps := New(Config{TimeIntervals: n.Get("time_intervals")})
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		now := utc("2026-01-01 00:00").Add(time.Duration(rapid.IntRange(0, 364*24*60).Draw(t, "minute")) * time.Minute)
		for range 300 {
			now = now.Add(37 * time.Minute)
			if got, want := s.intervals["n"].contains(now), their.ContainsTime(now.UTC()); got != want {
				t.Fatalf("%s at %s: %v, theirs %v", text, now, got, want)
			}
		}
	})
}

func TestAConfigurationThatSaysNothingHoldsNothing(t *testing.T) {
	s := mustYAML(t, "{}")
	if s.Why(about(world(nil), "vm-1", "alertname", "A"), noon()) != nil || !s.Next(noon()).IsZero() || len(s.Intervals()) != 0 {
		t.Error("something is held")
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add(`maintenance: [{name: w, matchers: ['a=~"b.*"'], starts: 2026-01-04 02:00, recurs: "FREQ=WEEKLY", lasts: 2h, timezone: Asia/Seoul}]`)
	f.Add(`inhibit_rules: [{source_match: {a: b}, target_match_re: {a: "c|d"}, equal: [e]}]`)
	f.Add(`time_intervals: [{name: n, time_intervals: [{times: [{start_time: "00:00", end_time: "24:00"}], weekdays: ["monday:friday"], days_of_month: ["-1"], months: ["1"], years: ["2026"], location: UTC}]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		n, problems := parseYAML(text)
		if len(problems) > 0 {
			return
		}
		s, problems := New(Config{
			Maintenance: n.Get("maintenance"), InhibitRules: n.Get("inhibit_rules"), TimeIntervals: n.Get("time_intervals"), MuteTimeIntervals: n.Get("mute_time_intervals"),
		})
		if (s == nil) == (len(problems) == 0) {
			t.Fatalf("neither a set nor a problem, or both: %v", problems)
		}
		if s == nil {
			return
		}
		if next := s.Next(noon()); !next.IsZero() && !next.After(noon()) {
			t.Fatalf("next of %s is %s", noon(), next)
		}
		s.Why(Subject{Labels: labelsOf("a", "b"), Ways: []Way{{Mute: s.Intervals()}}, Sources: s.Inhibitor()}, noon())
	})
}
