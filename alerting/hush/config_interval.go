package hush

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"

	"kemi.dev/kemi/internal/conf"
)

// namedInterval is one entry of `time_intervals:`.
type namedInterval struct {
	Name      string `yaml:"name"`
	Intervals []struct {
		Times []struct {
			Start conf.Node `yaml:"start_time"`
			End   conf.Node `yaml:"end_time"`
		} `yaml:"times"`
		Weekdays    []conf.Node `yaml:"weekdays"`
		DaysOfMonth []conf.Node `yaml:"days_of_month"`
		Months      []conf.Node `yaml:"months"`
		Years       []conf.Node `yaml:"years"`
		Location    conf.Node   `yaml:"location"`
	} `yaml:"time_intervals"`
}

// readIntervals reads time intervals in Alertmanager's format; its own package says what they mean.
func readIntervals(nodes ...conf.Node) (map[string]*interval, conf.Problems) {
	out := map[string]*interval{}
	var problems conf.Problems
	for _, n := range nodes {
		if n.Kind() != conf.List {
			problems = append(problems, n.Into(new([]namedInterval))...)
			continue
		}
		for _, at := range n.Items() {
			var c namedInterval
			wrong := at.Into(&c)
			problems = append(problems, wrong...)
			switch {
			case c.Name == "" && len(wrong) > 0: // It may be unreadable, or its key misspelt.
			case c.Name == "":
				problems = append(problems, at.Problem("the time interval has no name", "give it a name: routes speak of it by that"))
			case out[c.Name] != nil:
				problems = append(problems, at.Get("name").Problem("there are two time intervals "+shortQuote(c.Name), "give each its own name"))
			}
			v := &interval{name: c.Name}
			for j, p := range c.Intervals {
				t := part{zone: time.UTC}
				for k, r := range p.Times {
					var parsed timeinterval.TimeRange
					text, err := json.Marshal(map[string]string{"start_time": r.Start.Text(), "end_time": r.End.Text()})
					if err == nil {
						err = parsed.UnmarshalJSON(text)
					}
					if err != nil {
						place := at.Get("time_intervals").Items()[j].Get("times").Items()[k]
						problems = append(problems, place.Problem(err.Error(), `write {start_time: "09:00", end_time: "17:00"}; what goes past midnight is two ranges`))
					}
					t.Times = append(t.Times, parsed)
				}
				t.Weekdays = ranges[timeinterval.WeekdayRange](p.Weekdays, "monday:friday", &problems)
				t.DaysOfMonth = ranges[timeinterval.DayOfMonthRange](p.DaysOfMonth, "1:5 or -3:-1", &problems)
				t.Months = ranges[timeinterval.MonthRange](p.Months, "january:march or 1:3", &problems)
				t.Years = ranges[timeinterval.YearRange](p.Years, "2026:2028", &problems)
				if zone := p.Location.Text(); zone != "" {
					loc, err := zoneOf(zone)
					if err != nil {
						problems = append(problems, p.Location.Problem(split(err.Error())))
						continue
					}
					t.zone = loc
				}
				v.parts = append(v.parts, t)
			}
			out[c.Name] = v
		}
	}
	return out, problems
}

// Intervals lists the names of a configuration's intervals, also of those with mistakes; false when one has no name, so
// that not all are known.
func (c Config) Intervals() (names []string, all bool) {
	all = true
	for _, n := range [...]conf.Node{c.TimeIntervals, c.MuteTimeIntervals} {
		for _, at := range n.Items() {
			name := at.Get("name").Text()
			if all = all && name != ""; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, all
}

// ranges reads each value as Alertmanager does. Nil when there is none, which means all.
func ranges[T any, P interface {
	*T
	json.Unmarshaler
}](nodes []conf.Node, example string, problems *conf.Problems) []T {
	var out []T
	for _, n := range nodes {
		var v T
		text, err := json.Marshal(n.Text())
		if err == nil {
			err = P(&v).UnmarshalJSON(text)
		}
		if err != nil {
			*problems = append(*problems, n.Problem(err.Error(), "write for example "+example))
		}
		out = append(out, v)
	}
	return out
}
