package cron_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/scheduler/cron"
)

func instants(t *testing.T, expression, from string, n int) []string {
	t.Helper()
	s, err := cron.Parse(expression)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range n {
		at = s.Next(at)
		got = append(got, at.Format(time.RFC3339))
	}
	return got
}

func TestChangesOfTheClock(t *testing.T) {
	for _, c := range []struct{ name, expression, from, want string }{
		{
			"a skipped time is due at the jump, once", "CRON_TZ=America/New_York 30 2 * * *", "2026-03-07T12:00:00Z",
			"2026-03-08T07:00:00Z 2026-03-09T06:30:00Z",
		},
		{
			"several skipped times are due once together", "CRON_TZ=America/New_York 0,15,30 2 * * *", "2026-03-08T00:00:00Z",
			"2026-03-08T07:00:00Z 2026-03-09T06:00:00Z",
		},
		{
			"the jump does not add to the time after it", "CRON_TZ=America/New_York 30 2,3 * * *", "2026-03-08T00:00:00Z",
			"2026-03-08T07:00:00Z 2026-03-08T07:30:00Z 2026-03-09T06:30:00Z",
		},
		{
			"a repeated time is due once", "CRON_TZ=America/New_York 30 1 * * *", "2026-10-31T12:00:00Z",
			"2026-11-01T05:30:00Z 2026-11-02T06:30:00Z",
		},
		{
			"asked between the two it is past", "CRON_TZ=America/New_York 30 1 * * *", "2026-11-01T06:00:00Z",
			"2026-11-02T06:30:00Z",
		},
		{
			"expressions for every hour follow real time when the clock goes back", "CRON_TZ=America/New_York 0 * * * *", "2026-11-01T04:30:00Z",
			"2026-11-01T05:00:00Z 2026-11-01T06:00:00Z 2026-11-01T07:00:00Z",
		},
		{
			"and forward", "CRON_TZ=America/New_York */30 * * * *", "2026-03-08T06:00:00Z",
			"2026-03-08T06:30:00Z 2026-03-08T07:00:00Z 2026-03-08T07:30:00Z",
		},
		{
			"half an hour is a change too", "TZ=Australia/Lord_Howe 15 2 * * *", "2026-10-02T18:00:00Z",
			"2026-10-03T15:30:00Z 2026-10-04T15:15:00Z",
		},
		{"without a zone it is UTC", "30 2 * * *", "2026-03-08T00:00:00Z", "2026-03-08T02:30:00Z 2026-03-09T02:30:00Z"},
		{"descriptors", "@daily", "2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := strings.Count(c.want, " ") + 1
			if got := strings.Join(instants(t, c.expression, c.from, n), " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestWhatIsNoExpressionIsAnErrorNotAPanic(t *testing.T) {
	for expression, want := range map[string]string{
		"":                               "missing",
		"TZ=UTC":                         "missing",
		"CRON_TZ=":                       "no time zone",
		"CRON_TZ=Mars/Olympus * * * * *": "no time zone",
		"TZ=UTC TZ=UTC":                  "one time zone",
		"* * * *":                        "expected exactly 5 fields",
		"* * * * * *":                    "expected exactly 5 fields",
		"61 * * * *":                     "above maximum",
		"@every 300ms":                   "every:",
		"@reboot":                        "unrecognized descriptor",
		"0 0 30 2 *":                     "never due",
	} {
		err := cron.Check(expression)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", expression, err, want)
		}
	}
}

// A minute-by-minute walk over days with changes of the clock is the judge: a fixed time of day comes exactly once a day.
func TestEveryDayHasAFixedTimeExactlyOnce(t *testing.T) {
	zones := []string{"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran", "UTC", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute")
		s, err := cron.Parse("CRON_TZ=" + zone + " " + strconv.Itoa(minute) + " " + strconv.Itoa(hour) + " * * *")
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Date(rapid.IntRange(2012, 2030).Draw(t, "year"), 1, 1, 12, 0, 0, 0, loc)
		days := map[string]int{}
		at := start
		for range 365 {
			next := s.Next(at)
			if !next.After(at) {
				t.Fatalf("%s is followed by %s", at, next)
			}
			if between := s.Next(at.Add(next.Sub(at) / 2)); !between.Equal(next) {
				t.Fatalf("asked half way, %s became %s", next, between)
			}
			at = next
			local := at.In(loc)
			days[local.Format(time.DateOnly)]++
			shown := local.Hour()*60 + local.Minute()
			if want := hour*60 + minute; shown != want {
				begin, _ := local.ZoneBounds()
				if !begin.Equal(local) {
					t.Fatalf("due at %s, which is neither %d:%d nor a change of the clock", local, hour, minute)
				}
			}
		}
		for day, n := range days {
			if n != 1 {
				t.Fatalf("%s has it %d times", day, n)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"*/5 * * * *", "TZ=UTC", "CRON_TZ=Europe/Berlin 0 0 29 2 *", "@daily", "1-5/2,7 * ? JAN-MAR sun"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		s, err := cron.Parse(expression)
		if err != nil {
			return
		}
		at := time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)
		for range 3 {
			next := s.Next(at)
			if next.IsZero() {
				return
			}
			if !next.After(at) {
				t.Fatalf("%q: %s is followed by %s", expression, at, next)
			}
			at = next
		}
	})
}
