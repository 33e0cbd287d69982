package route

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// inSeoul says what intervals hold: business is 09:00 to 18:00 on weekdays in Seoul, night the rest of those days.
func inSeoul(t *testing.T) func(string, time.Time) bool {
	seoul, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	return func(name string, at time.Time) bool {
		at = at.In(seoul)
		weekday := at.Weekday() != time.Saturday && at.Weekday() != time.Sunday
		day := at.Hour() >= 9 && at.Hour() < 18
		return weekday && (name == "business" && day || name == "night" && !day)
	}
}

func TestUrgencyFollowsSeverityAndTheTeamsHours(t *testing.T) {
	var u Urgency
	if p := parse(t, "{Critical: page, warning: {business: page, night: log, default: notify}, minor: {business: page}, default: log}").Into(&u); len(p) > 0 {
		t.Fatal(p)
	}
	if p := u.Check(known.Intervals); len(p) > 0 {
		t.Fatal(p)
	}
	tuesdayNoon := time.Date(2026, 1, 6, 3, 0, 0, 0, time.UTC) // 12:00 in Seoul.
	tuesdayNight := tuesdayNoon.Add(8 * time.Hour)
	sunday := tuesdayNoon.AddDate(0, 0, 5)
	in := inSeoul(t)
	for _, c := range []struct {
		severity string
		at       time.Time
		want     event.Urgency
		why      string
	}{
		{"critical", sunday, event.UrgencyPage, `severity "critical" is page for the team`},
		{"CRITICAL", sunday, event.UrgencyPage, `severity "CRITICAL" is page for the team`},
		{"warning", tuesdayNoon, event.UrgencyPage, `severity "warning" is page for the team in "business"`},
		{"warning", tuesdayNight, event.UrgencyLog, `severity "warning" is log for the team in "night"`},
		{"warning", sunday, event.UrgencyNotify, `severity "warning" is notify for the team`},
		{"minor", tuesdayNoon, event.UrgencyPage, `severity "minor" is page for the team in "business"`},
		{"minor", sunday, event.UrgencyNotify, `severity "minor" is notify where the team says nothing else`},
		{"odd", sunday, event.UrgencyLog, `severity "odd" is log for the team`},
		{"", sunday, event.UrgencyLog, "no severity is log for the team"},
	} {
		got, reason := u.Of(c.severity, c.at, in)
		if got != c.want || reason.Text != c.why || reason.Code != ReasonUrgency {
			t.Errorf("%q at %s: %s (%s), want %s (%s)", c.severity, c.at, got, reason.Text, c.want, c.why)
		}
	}
}

func TestWhatNobodyJudgedIsNotMissed(t *testing.T) {
	var none Urgency
	for severity, want := range map[string]event.Urgency{
		"critical": event.UrgencyPage, "page": event.UrgencyPage, "emergency": event.UrgencyPage, "major": event.UrgencyPage, "error": event.UrgencyPage,
		"warning": event.UrgencyNotify, "minor": event.UrgencyNotify, "Warning": event.UrgencyNotify,
		"info": event.UrgencyLog, "none": event.UrgencyLog, "": event.UrgencyPage, "catastrophic": event.UrgencyPage,
	} {
		if got, _ := none.Of(severity, time.Time{}, nil); got != want {
			t.Errorf("%q is %s, want %s", severity, got, want)
		}
	}
	if _, reason := none.Of("catastrophic", time.Time{}, nil); !strings.Contains(reason.Text, "not one of those that are known") {
		t.Error(reason.Text)
	}
	var one Urgency
	if p := parse(t, "notify").Into(&one); len(p) > 0 {
		t.Fatal(p)
	}
	for _, severity := range []string{"critical", "", "info"} {
		if got, _ := one.Of(severity, time.Time{}, nil); got != event.UrgencyNotify {
			t.Errorf("urgency: notify makes %q %s", severity, got)
		}
	}
}

func TestMistakesInAnUrgencyAreNamedWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"{critical: pgae}":                      `1:12: there is no urgency "pgae": did you mean "page"?`,
		"{critical: {default: never}}":          `1:22: there is no urgency "never": write page (call the person on duty), notify (tell the team) or log (tell nobody)`,
		"{critical: [page]}":                    "1:12: expected an urgency, got a list: write page, notify or log",
		"[page]":                                "1:1: expected severities, got a list: write for example {critical: page, warning: notify}",
		"{warning: {busness: page}}":            `1:12: there is no time interval "busness": did you mean "business"?`,
		"{default: {weekend: page}}":            `1:12: there is no time interval "weekend": the time intervals are business, night`,
		"{critical: page, CRITICAL: log}":       `1:18: severity "critical" stands twice: remove one of them: letter case does not count`,
		"{warning: {business: page, night: 1}}": `1:35: there is no urgency "1": write page (call the person on duty), notify (tell the team) or log (tell nobody)`,
	} {
		var u Urgency
		problems := parse(t, text).Into(&u)
		if len(problems) == 0 {
			problems = u.Check(known.Intervals)
		}
		if got := problems.Error(); got != "kemi.yaml:"+want {
			t.Errorf("%s:\ngot  %s\nwant kemi.yaml:%s", text, got, want)
		}
	}
}
