package oncall

import (
	"testing"
	"time"
)

// A day of every year to come is found in every zone, and shows what was asked for: also where the time package says that
// a zone ended already, as it does on the last day of leap years.
func TestEveryNewYearIsReached(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Asia/Seoul", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for year := 2026; year < 2500; year++ {
			for _, day := range []time.Time{time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 12, 31, 12, 0, 0, 0, time.UTC)} {
				if w := wall(day.Unix()); shown(loc, reach(loc, w)) != w {
					t.Fatalf("%s: %s is reached at %s", zone, day, reach(loc, w))
				}
			}
		}
	}
}
