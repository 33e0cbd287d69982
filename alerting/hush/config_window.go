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
	var all []conf.Complaint
	say := func(field, what, do string) { all = append(all, conf.Complaint{Field: field, What: what, Do: do}) }
	if w.Name == "" {
		say("name", "the window has no name", "give it a name: that is how it is spoken of")
	}
	if w.Starts == "" {
		say("starts", "the window has no start", "write starts: 2026-01-04 02:00; of one that recurs it is the first time")
	}
	switch {
	case w.Recurs == "" && (w.Ends == "") == (w.Lasts == 0):
		say("ends", "the window needs either ends or lasts", "write ends: 2026-01-04 04:00 or lasts: 2h")
	case w.Recurs != "" && w.Lasts == 0:
		say("lasts", "the window recurs and does not say how long it lasts each time", "write lasts: 2h")
	case w.Lasts < 0 || w.Lasts%time.Second != 0 || w.Recurs != "" && w.Lasts > maxLasts*time.Second:
		say("lasts", "lasts is out of range", "use whole seconds, a year at most, such as 2h")
	}
	if len(w.Matchers) == 0 {
		say("matchers", "there are no matchers, so that nobody knows what is worked on", "write matchers: ['target=\"core-1\"']")
	}
	return all
}

// readWindows reads the maintenance windows of the configuration as silences.
func readWindows(n conf.Node) ([]*event.Silence, conf.Problems) {
	if n.Kind() != conf.List {
		return nil, n.Into(new([]window))
	}
	var problems conf.Problems
	names := map[string]bool{}
	var out []*event.Silence
	for _, at := range n.Items() {
		w := &window{}
		w.SetDefaults()
		wrong := at.Into(w)
		problems = append(problems, wrong...)
		if names[w.Name] && w.Name != "" {
			problems = append(problems, at.Get("name").Problem("there are two windows "+shortQuote(w.Name), "give each its own name"))
		}
		names[w.Name] = true
		s, more := w.silence(at, len(wrong) > 0)
		problems = append(problems, more...)
		if s != nil {
			out = append(out, s)
		}
	}
	return out, problems
}

// silence is what a window says, as a silence. Of one that is wrong only what stands there is judged.
func (w *window) silence(n conf.Node, wrong bool) (*event.Silence, conf.Problems) {
	s := &event.Silence{
		ID: configured + w.Name, Kind: event.MaintenanceWindow, Recurs: w.Recurs, LastsSeconds: int64(w.Lasts / time.Second), Timezone: w.Timezone,
		Inherit: w.Inherit, By: w.By, Comment: w.Comment,
	}
	var problems conf.Problems
	zone, err := zoneOf(w.Timezone)
	if err != nil {
		problems = append(problems, n.Get("timezone").Problem(split(err.Error())))
		zone, s.Timezone = time.UTC, ""
	}
	when := func(key, text string) time.Time {
		if text == "" {
			return time.Time{}
		}
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
	if _, err := compileMatchers(s.Matchers); err != nil && len(more) == 0 && len(s.Matchers) > 0 {
		problems = append(problems, below(n, "matchers").Problem(split(err.Error())))
	}
	if w.Ends != "" && !s.EndsAt.IsZero() && !s.StartsAt.IsZero() && !s.EndsAt.After(s.StartsAt) {
		problems = append(problems, n.Get("ends").Problem("the window ends before it starts", "give a later end"))
	}
	if w.Recurs != "" {
		tried := *s
		if tried.StartsAt.IsZero() {
			tried.StartsAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if tried.LastsSeconds <= 0 || tried.LastsSeconds > maxLasts {
			tried.LastsSeconds = 1
		}
		if _, err := newSchedule(&tried); err != nil {
			problems = append(problems, below(n, "recurs").Problem(split(err.Error())))
		}
	}
	if len(problems) > 0 || wrong {
		return nil, problems
	}
	return s, nil
}
