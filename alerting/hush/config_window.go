package hush

import (
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// window is one entry of `maintenance:`.
type window struct {
	At       conf.Pos
	Name     string        `yaml:"name"`
	Matchers []conf.Node   `yaml:"matchers"`
	Starts   string        `yaml:"starts"`
	Ends     string        `yaml:"ends"`
	Recurs   string        `yaml:"recurs"`
	Lasts    time.Duration `yaml:"lasts"`
	Timezone string        `yaml:"timezone"`
	Inherit  bool          `yaml:"inherit"`
	By       string        `yaml:"by"`
	Comment  string        `yaml:"comment"`
}

// SetDefaults implements conf.Defaulter: what is worked on takes along what needs it.
func (w *window) SetDefaults() { w.Inherit = true }

// Validate implements conf.Validator.
func (w *window) Validate() []conf.Complaint {
	switch {
	case w.Name == "":
		return []conf.Complaint{{Field: "name", What: "the window has no name", Do: "give it a name: that is how it is spoken of"}}
	case w.Starts == "":
		return []conf.Complaint{{Field: "starts", What: "the window has no start", Do: "write starts: 2026-01-04 02:00; of one that recurs it is the first time"}}
	case w.Recurs == "" && (w.Ends == "") == (w.Lasts == 0):
		return []conf.Complaint{{Field: "ends", What: "the window needs either ends or lasts", Do: "write ends: 2026-01-04 04:00 or lasts: 2h"}}
	case w.Recurs != "" && w.Lasts == 0:
		return []conf.Complaint{{Field: "lasts", What: "the window recurs and does not say how long it lasts each time", Do: "write lasts: 2h"}}
	case w.Lasts < 0 || w.Lasts%time.Second != 0:
		return []conf.Complaint{{Field: "lasts", What: "lasts is out of range", Do: "use whole seconds, such as 2h"}}
	}
	return nil
}

// readWindows reads the maintenance windows of the configuration as silences.
func readWindows(n conf.Node) ([]*event.Silence, conf.Problems) {
	var list []window
	problems := n.Into(&list)
	if len(problems) > 0 {
		return nil, problems
	}
	names := map[string]bool{}
	var out []*event.Silence
	for i := range list {
		w, at := &list[i], n.Items()[i]
		if names[w.Name] {
			problems = append(problems, at.Get("name").Problem("there are two windows "+shortQuote(w.Name), "give each its own name"))
		}
		names[w.Name] = true
		s, more := w.silence(at)
		problems = append(problems, more...)
		if s != nil {
			out = append(out, s)
		}
	}
	return out, problems
}

// silence is what a window says, as a silence.
func (w *window) silence(n conf.Node) (*event.Silence, conf.Problems) {
	s := &event.Silence{
		ID: configured + w.Name, Kind: event.MaintenanceWindow, Recurs: w.Recurs, LastsSeconds: int64(w.Lasts / time.Second), Timezone: w.Timezone,
		Inherit: w.Inherit, By: w.By, Comment: w.Comment,
	}
	zone, err := zoneOf(w.Timezone)
	if err != nil {
		return nil, conf.Problems{n.Get("timezone").Problem(split(err.Error()))}
	}
	var problems conf.Problems
	when := func(key, text string) time.Time {
		t, err := parseTime(text, zone)
		if err != nil {
			problems = append(problems, n.Get(key).Problem(split(err.Error())))
		}
		return t
	}
	s.StartsAt = when("starts", w.Starts)
	switch {
	case w.Ends != "":
		s.EndsAt = when("ends", w.Ends)
	case w.Recurs == "":
		s.EndsAt, s.LastsSeconds = s.StartsAt.Add(w.Lasts), 0
	}
	var more conf.Problems
	s.Matchers, more = readMatchers(w.Matchers)
	problems = append(problems, more...)
	if len(problems) > 0 {
		return nil, problems
	}
	if !s.EndsAt.IsZero() && !s.EndsAt.After(s.StartsAt) {
		return nil, conf.Problems{n.Get("ends").Problem("the window ends before it starts", "give a later end")}
	}
	if _, err := compileMatchers(s.Matchers); err != nil {
		return nil, conf.Problems{below(n, "matchers").Problem(split(err.Error()))}
	}
	if _, err := newSchedule(s); err != nil {
		return nil, conf.Problems{below(n, "recurs").Problem(split(err.Error()))}
	}
	return s, nil
}
