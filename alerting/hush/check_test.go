package hush

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
)

func TestWhatIsWrongWithASilenceIsSaidWithWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*event.Silence)
		want   string
	}{
		"nothing":     {func(*event.Silence) {}, ""},
		"no matchers": {func(s *event.Silence) { s.Matchers = nil }, `there are no matchers: select alerts by at least one label, such as alertname="InstanceDown"`},
		"empty matchers": {func(s *event.Silence) {
			s.Matchers = []event.Matcher{eq("a", ""), {Name: "b", Value: ".*", Regex: true}}
		}, "every matcher matches the empty value"},
		"negative only":  {func(s *event.Silence) { s.Matchers = []event.Matcher{{Name: "a", Value: "b", Negative: true}} }, ""},
		"no label":       {func(s *event.Silence) { s.Matchers = append(s.Matchers, event.Matcher{Value: "x"}) }, `matcher 2 (="x"): the label has no name: say which`},
		"not UTF-8":      {func(s *event.Silence) { s.Matchers[0].Value = "\xff" }, "matcher 1"},
		"bad regex":      {func(s *event.Silence) { s.Matchers[0] = event.Matcher{Name: "a", Value: "web-[0-9", Regex: true} }, `matcher 1 (a=~"web-[0-9"): its regular expression is not valid: missing closing ] at character 5, "[0-9": correct it (RE2 syntax)`},
		"unclosed regex": {func(s *event.Silence) { s.Matchers[0] = event.Matcher{Name: "a", Value: "a)(b", Regex: true} }, "unexpected )"},
		"long regex": {func(s *event.Silence) {
			s.Matchers[0] = event.Matcher{Name: "a", Value: strings.Repeat("a", maxRegex+1), Regex: true}
		}, "in several silences"},
		"no start":        {func(s *event.Silence) { s.StartsAt = time.Time{} }, "it has no start: give starts_at"},
		"no end":          {func(s *event.Silence) { s.EndsAt = time.Time{} }, "it has no end: give ends_at"},
		"end first":       {func(s *event.Silence) { s.EndsAt = s.StartsAt.Add(-time.Minute) }, "it ends at 2026-01-05 10:59:00 UTC, before it starts at 2026-01-05 11:00:00 UTC: give a later ends_at"},
		"of no length":    {func(s *event.Silence) { s.EndsAt = s.StartsAt }, "give a later ends_at"},
		"past":            {func(s *event.Silence) { s.EndsAt = noon() }, "it ended at 2026-01-05 12:00:00 UTC, which is past: give an ends_at in the future"},
		"nobody":          {func(s *event.Silence) { s.By = " " }, "nobody is named as its author: say who wants it"},
		"no comment":      {func(s *event.Silence) { s.Comment = "" }, "there is no comment: say why"},
		"kind":            {func(s *event.Silence) { s.Kind = "holiday" }, `there is no kind of silence "holiday": use silence or maintenance`},
		"too long":        {func(s *event.Silence) { s.Annotations = map[string]string{"k": strings.Repeat("x", 1<<20)} }, "bytes of text: use at most 1048576"},
		"timezone":        {func(s *event.Silence) { s.Timezone = "Asia/Soul" }, `there is no timezone "Asia/Soul": use an IANA name, such as Asia/Seoul`},
		"local timezone":  {func(s *event.Silence) { s.Timezone = "Local" }, "not known everywhere"},
		"lasts alone":     {func(s *event.Silence) { s.LastsSeconds = 60 }, "lasts_seconds is for what recurs"},
		"no lasts":        {func(s *event.Silence) { s.Recurs = "FREQ=DAILY" }, "give lasts_seconds, 1 to 31622400"},
		"recurs":          {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=HOURLY", 60 }, ""},
		"for ever":        {func(s *event.Silence) { s.Recurs, s.LastsSeconds, s.EndsAt = "FREQ=DAILY", 60, time.Time{} }, ""},
		"over before":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=WEEKLY;BYDAY=SU", 60 }, "it would never come into force"},
		"over by rule":    {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=HOURLY;COUNT=1", 60 }, "it would never come into force"},
		"rule: misspelt":  {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=DAILY;INTERVALL=2", 60 }, `there is no part "INTERVALL": did you mean INTERVAL?`},
		"rule: unknown":   {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=DAILY;X=2", 60 }, "the parts are FREQ, INTERVAL"},
		"rule: words":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "every sunday", 60 }, `"EVERY SUNDAY" is no part of a rule: write KEY=VALUE`},
		"rule: freq":      {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "BYDAY=SU", 60 }, "FREQ is required"},
		"rule: unheard":   {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=FORTNIGHTLY", 60 }, "FORTNIGHTLY"},
		"rule: minutely":  {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=MINUTELY", 60 }, "use HOURLY or longer"},
		"rule: start":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "DTSTART=20260101;FREQ=DAILY", 60 }, "give the start and the timezone of the window instead"},
		"rule: twice":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=DAILY;FREQ=DAILY", 60 }, "FREQ is there twice"},
		"rule: never":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", 60 }, "it names no day that there is"},
		"rule: both ends": {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=DAILY;COUNT=3;UNTIL=20270101", 60 }, "exclude each other"},
		"rule: until":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=DAILY;UNTIL=tomorrow", 60 }, "write 20261231T235959Z or 20261231"},
		"rule: interval":  {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=WEEKLY;INTERVAL=9223372036854775807", 60 }, "INTERVAL is out of range: use 1 to 1000"},
		"rule: ordinal":   {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=MONTHLY;BYDAY=9MO", 60 }, "there are at most 5 of a weekday there"},
		"rule: of weeks":  {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=WEEKLY;BYDAY=2MO", 60 }, "use FREQ=MONTHLY, or the day alone"},
		"rule: easter":    {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=YEARLY;BYEASTER=400", 60 }, "there is no part"},
		"rule: hours":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=HOURLY;INTERVAL=2;BYHOUR=1", 60 }, "use FREQ=DAILY;BYHOUR"},
		"rule: range":     {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=DAILY;BYHOUR=24", 60 }, "byhour must be between 0 and 23"},
		"rule: zero":      {func(s *event.Silence) { s.Recurs, s.LastsSeconds = "FREQ=MONTHLY;BYMONTHDAY=0", 60 }, "0 is no day"},
	} {
		s := silence("s", eq("a", "b"))
		c.change(s)
		got := ""
		if err := Check(s, noon()); err != nil {
			got = err.Error()
		}
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestWhatCheckLetsPassCanBeTakenIn(t *testing.T) {
	s := silence("s", eq("a", "b"))
	s.StartsAt, s.Recurs, s.LastsSeconds, s.Timezone = noon(), "freq=monthly;byday=-1fr;byhour=22;", 7200, "America/New_York"
	s.EndsAt = time.Time{}
	if err := Check(s, noon()); err != nil {
		t.Fatal(err)
	}
	if got := setOf(t, s).Next(noon()); !got.Equal(utc("2026-01-31 03:00")) {
		t.Errorf("the last Friday of January at ten in the evening is %s", got)
	}
}

func TestAStateHoldsUntilTheInstantItNames(t *testing.T) {
	plain := silence("s", eq("a", "b"))
	weekly := silence("w", eq("a", "b"))
	weekly.Recurs, weekly.LastsSeconds, weekly.EndsAt = "FREQ=WEEKLY;COUNT=2", 3600, time.Time{}
	for _, c := range []struct {
		s     *event.Silence
		now   string
		want  State
		until string
	}{
		{plain, "2026-01-05 10:00", Pending, "2026-01-05 11:00"},
		{plain, "2026-01-05 11:00", Active, "2026-01-05 13:00"},
		{plain, "2026-01-05 13:00", Expired, ""},
		{weekly, "2026-01-05 10:00", Pending, "2026-01-05 11:00"},
		{weekly, "2026-01-05 11:59", Active, "2026-01-05 12:00"},
		{weekly, "2026-01-05 12:00", Pending, "2026-01-12 11:00"},
		{weekly, "2026-01-12 12:00", Expired, ""},
		{Expire(weekly, utc("2026-01-05 11:30")), "2026-01-05 11:30", Expired, ""},
		{&event.Silence{Recurs: "no rule"}, "2026-01-05 11:30", Expired, ""},
	} {
		var until time.Time
		if c.until != "" {
			until = utc(c.until)
		}
		if got, to := StateOf(c.s, utc(c.now)); got != c.want || !to.Equal(until) {
			t.Errorf("%s at %s: %s until %s, want %s until %s", c.s.ID, c.now, got, to, c.want, c.until)
		}
	}
}

func TestExpiringEndsWhatRunsAndWhatIsToCome(t *testing.T) {
	s := silence("s", eq("a", "b"))
	was := *s
	for _, c := range []struct{ now, starts, ends string }{
		{"2026-01-05 12:00", "2026-01-05 11:00", "2026-01-05 12:00"},
		{"2026-01-05 10:00", "2026-01-05 10:00", "2026-01-05 10:00"},
		{"2026-01-05 14:00", "2026-01-05 11:00", "2026-01-05 13:00"},
	} {
		got := Expire(s, utc(c.now))
		if !got.StartsAt.Equal(utc(c.starts)) || !got.EndsAt.Equal(utc(c.ends)) {
			t.Errorf("at %s: from %s to %s", c.now, got.StartsAt, got.EndsAt)
		}
		if state, _ := StateOf(got, utc(c.now)); state != Expired {
			t.Errorf("at %s it is %s", c.now, state)
		}
		if err := setOf(t).Put(got); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(&was, s); diff != "" {
		t.Errorf("the silence itself was changed: %s", diff)
	}
}
