package oncall

import (
	"strconv"

	"kemi.dev/kemi/internal/conf"
)

// Schedule says who is on call for something, as it stands under `schedules:` with its name.
type Schedule struct {
	conf.Pos
	// Timezone (IANA) of all its local times; empty is UTC.
	Timezone string `yaml:"timezone"`
	// Layers of rotations: the last that has somebody at an instant decides.
	Layers []Layer `yaml:"layers"`
	// Secondary says who helps the primary out: next (the default), none, or layers of their own.
	Secondary Backup `yaml:"secondary"`
	// Holidays are days on which somebody else is primary; nil for none. They win over all layers.
	Holidays *Holidays `yaml:"holidays"`
}

// Layer is one rotation.
type Layer struct {
	conf.Pos
	// Name for people; empty is its number.
	Name string `yaml:"name"`
	// Every is the length of a turn: day, week, "N days", or a duration such as 12h, in local time. A week by default.
	Every Every `yaml:"every"`
	// Start is the first hand-over, and with its time of day (and weekday) all others. Before it the layer has nobody.
	// A rotation of one person needs none.
	Start Local `yaml:"start"`
	// People take turns in this order; somebody may be there twice.
	People []Member `yaml:"people"`
	// Only are the times at which the layer has somebody; empty is always. Turns go on in between.
	Only []Hours `yaml:"only"`
	// From and Until bound the layer; not given is for ever. Until is not part of it.
	From  Local `yaml:"from"`
	Until Local `yaml:"until"`
}

// Member names a person, and knows where it was written.
type Member struct {
	Key string
	At  conf.Pos
}

// UnmarshalConf implements conf.Unmarshaler.
func (m *Member) UnmarshalConf(n conf.Node) conf.Problems {
	m.At = n.Pos()
	return n.Into(&m.Key)
}

// Hours are times of the week.
type Hours struct {
	// Days of the week on which they begin, such as mon-fri or "sat, sun"; not given is every day.
	Days Days `yaml:"days"`
	// From and To are times of day; To may be on the next day, when it is not later than From. Not given is the
	// beginning, or the end, of the day.
	From TimeOfDay `yaml:"from"`
	To   TimeOfDay `yaml:"to"`
}

// Backup says who is secondary.
type Backup struct {
	conf.Pos
	// None is for schedules without a secondary.
	None bool
	// Layers of their own; without any it is the next in the primary's rotation.
	Layers []Layer
}

// UnmarshalConf implements conf.Unmarshaler.
func (b *Backup) UnmarshalConf(n conf.Node) conf.Problems {
	*b = Backup{Pos: n.Pos()}
	switch {
	case n.Kind() == conf.Scalar && n.Text() == "next":
	case n.Kind() == conf.Scalar && n.Text() == "none":
		b.None = true
	case n.Kind() == conf.List && len(n.Items()) > 0:
		return n.Into(&b.Layers)
	default:
		return conf.Problems{n.Problem("secondary is neither next, none nor a list of layers", "write secondary: next for the next person of the rotation")}
	}
	return nil
}

// Holidays put somebody else on call on the days of a calendar.
type Holidays struct {
	conf.Pos
	// File is an iCalendar file (RFC 5545), relative to the configuration file: each event is a holiday.
	File string `yaml:"file"`
	// Person, or the rotation Layer, is primary then. Exactly one of the two.
	Person *Member `yaml:"person"`
	Layer  *Layer  `yaml:"layer"`
}

// Validate implements conf.Validator.
func (s *Schedule) Validate() []conf.Complaint {
	var all []conf.Complaint
	if _, err := zone(s.Timezone); err != nil {
		all = append(all, unknownZone(s.Timezone))
	}
	if len(s.Layers) == 0 {
		all = append(all, conf.Complaint{Field: "layers", What: "the schedule has no layers, so nobody is ever on call", Do: "write layers: [{every: week, start: 2026-01-05 09:00, people: […]}]"})
	}
	return all
}

// Validate implements conf.Validator.
func (h *Holidays) Validate() []conf.Complaint {
	var all []conf.Complaint
	if h.File == "" {
		all = append(all, conf.Complaint{Field: "file", What: "holidays have no file", Do: "write file: and the path of an iCalendar file"})
	}
	if (h.Person == nil) == (h.Layer == nil) {
		all = append(all, conf.Complaint{What: "holidays need either a person or a layer", Do: "write person: and who is on call on holidays, or layer: with a rotation"})
	}
	return all
}

// Validate implements conf.Validator.
func (l *Layer) Validate() []conf.Complaint {
	var all []conf.Complaint
	say := func(field, what, do string) { all = append(all, conf.Complaint{Field: field, What: what, Do: do}) }
	if len(l.People) == 0 {
		say("people", "the rotation has no people", "write people: and who takes turns")
	}
	if l.Start.IsZero() && len(l.People) > 1 {
		say("start", "the rotation has no start", "write start: and when the first of them takes over, such as 2026-01-05 09:00")
	}
	before := len(all)
	for i, h := range l.Only {
		if h.From.given && h.To.given && h.From == h.To || h.From.minutes == 24*60 || (h.To.given && h.To.minutes == 0 && !h.From.given) {
			say("only."+strconv.Itoa(i), "these hours cover nothing", "let from and to differ; leave both out for the whole day")
		}
	}
	switch begins := l.begins(); {
	case l.Until.IsZero() || len(all) > before:
	case begins.given && l.Until.at <= begins.at:
		say("until", "the layer ends before it begins, at "+begins.String(), "write a later until")
	case begins.given && !l.opensWithin(begins.at, l.Until.at):
		say("only", "the layer covers nothing: none of its hours is between "+begins.String()+" and "+l.Until.String(), "correct only, or from and until")
	}
	return all
}

// begins is the later of Start and From.
func (l *Layer) begins() Local {
	if !l.From.given || (l.Start.given && l.Start.at > l.From.at) {
		return l.Start
	}
	return l.From
}
