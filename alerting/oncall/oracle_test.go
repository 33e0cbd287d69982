package oncall_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// The oracle knows nothing of turns that can be computed. It sits before a clock on the wall, a quarter of an hour at a
// time, and hands over whenever the clock comes to the next hand-over. When the clock goes back it waits until it has
// caught up.

const quarter = 15 * time.Minute

// wallTime is what the clock shows, written as if it were UTC.
type wallTime = time.Time

type modelHours struct {
	days     []time.Weekday // None is all.
	from, to int            // Minutes; none is 0 and 1440.
}

type modelLayer struct {
	every       time.Duration
	start       wallTime
	people      []string
	only        []modelHours
	from, until wallTime
	holidays    []wallTime // Days; nil for a layer that is not for holidays.
}

type model struct {
	zone      string
	layers    []modelLayer
	secondary []modelLayer
	alone     bool
	leaves    map[string]wallTime
	overrides []event.Override
}

// clock is a clock on the wall that waits instead of going back.
type clock struct {
	loc   *time.Location
	shows wallTime
}

func (c *clock) tick(t time.Time) {
	l := t.In(c.loc)
	now := time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), 0, time.UTC)
	if now.After(c.shows) {
		c.shows = now
	}
}

// rotation follows one layer.
type rotation struct {
	modelLayer
	turn int // -1 before the first.
	next wallTime
}

func (r *rotation) tick(now wallTime) {
	for !now.Before(r.next) {
		r.turn++
		r.next = r.next.Add(r.every)
	}
}

func (r *rotation) open(now wallTime) bool {
	if r.turn < 0 || now.Before(r.from) || (!r.until.IsZero() && !now.Before(r.until)) {
		return false
	}
	if r.holidays != nil && !slices.ContainsFunc(r.holidays, func(d wallTime) bool { return now.Truncate(24 * time.Hour).Equal(d) }) {
		return false
	}
	minutes, today, yesterday := now.Hour()*60+now.Minute(), now.Weekday(), (now.Weekday()+6)%7
	for _, h := range r.only {
		on := func(d time.Weekday) bool { return len(h.days) == 0 || slices.Contains(h.days, d) }
		overnight := h.to <= h.from
		if on(today) && minutes >= h.from && (overnight || minutes < h.to) || overnight && on(yesterday) && minutes < h.to {
			return true
		}
	}
	return len(r.only) == 0
}

// oracle says who is on call at ever later quarters of an hour.
type oracle struct {
	model
	wall              clock
	layers, secondary []rotation
}

func newOracle(m model) *oracle {
	loc, _ := time.LoadLocation(m.zone)
	o := &oracle{model: m, wall: clock{loc: loc}}
	for _, l := range m.layers {
		o.layers = append(o.layers, rotation{l, -1, l.start})
	}
	for _, l := range m.secondary {
		o.secondary = append(o.secondary, rotation{l, -1, l.start})
	}
	return o
}

func (o *oracle) tick(t time.Time) {
	o.wall.tick(t)
	for _, all := range [][]rotation{o.layers, o.secondary} {
		for i := range all {
			all[i].tick(o.wall.shows)
		}
	}
}

func (o *oracle) gone(p string) bool {
	at := o.leaves[p]
	return !at.IsZero() && !o.wall.shows.Before(at)
}

// queue lists everybody whom layers have to offer now, the best first.
func (o *oracle) queue(layers []rotation) (all []string) {
	for i := len(layers) - 1; i >= 0; i-- {
		if l := layers[i]; l.open(o.wall.shows) {
			first := l.turn % len(l.people)
			all = append(all, slices.DeleteFunc(append(slices.Clone(l.people[first:]), l.people[:first]...), o.gone)...)
		}
	}
	return all
}

// standIn applies the newest override that is in force, of a whole shift or of one person's.
func (o *oracle) standIn(t time.Time, p string, anybody bool) string {
	var best *event.Override
	for i := range o.overrides {
		v := &o.overrides[i]
		if t.Before(v.StartsAt) || !t.Before(v.EndsAt) || o.gone(v.Person) || (v.For == "" && !anybody) || (v.For != "" && v.For != p) {
			continue
		}
		if best == nil || v.Updated.After(best.Updated) || v.Updated.Equal(best.Updated) && v.ID > best.ID {
			best = v
		}
	}
	if best == nil {
		return p
	}
	return best.Person
}

func (o *oracle) onCall(t time.Time) (primary, secondary string) {
	queue, planned := o.queue(o.layers), ""
	if len(queue) > 0 {
		planned = queue[0]
	}
	primary = o.standIn(t, planned, true)
	if o.alone {
		return primary, ""
	}
	if len(o.secondary) > 0 {
		queue, planned = o.queue(o.secondary), ""
	}
	for _, p := range queue {
		if p == planned {
			continue
		}
		if s := o.standIn(t, p, false); s != primary {
			return primary, s
		}
	}
	return primary, ""
}

// yaml writes the model as configuration.
func (m model) yaml() string {
	const local = "2006-01-02 15:04"
	var b strings.Builder
	b.WriteString("people:\n")
	for _, p := range crew {
		fmt.Fprintf(&b, "  %s: {mail: %s@example.org", p, p)
		if at := m.leaves[p]; !at.IsZero() {
			fmt.Fprintf(&b, ", leaves: %s", at.Format(local))
		}
		b.WriteString("}\n")
	}
	layer := func(l modelLayer) string {
		s := fmt.Sprintf("{every: %dm, start: %s, people: [%s]", int(l.every/time.Minute), l.start.Format(local), strings.Join(l.people, ", "))
		if !l.from.IsZero() {
			s += ", from: " + l.from.Format(local)
		}
		if !l.until.IsZero() {
			s += ", until: " + l.until.Format(local)
		}
		if len(l.only) > 0 {
			s += ", only: ["
			for _, h := range l.only {
				s += fmt.Sprintf("{from: \"%02d:%02d\", to: \"%02d:%02d\"", h.from/60, h.from%60, h.to/60, h.to%60)
				if len(h.days) > 0 {
					s += ", days: ["
					for _, d := range h.days {
						s += strings.ToLower(d.String()[:3]) + ", "
					}
					s += "]"
				}
				s += "}, "
			}
			s += "]"
		}
		return s + "}"
	}
	fmt.Fprintf(&b, "schedules:\n  network:\n    timezone: %s\n    layers:\n", m.zone)
	for _, l := range m.layers {
		if l.holidays == nil {
			b.WriteString("      - " + layer(l) + "\n")
		} else {
			b.WriteString("    holidays: {file: holidays.ics, layer: " + layer(l) + "}\n")
		}
	}
	switch {
	case m.alone:
		b.WriteString("    secondary: none\n")
	case len(m.secondary) > 0:
		b.WriteString("    secondary:\n")
		for _, l := range m.secondary {
			b.WriteString("      - " + layer(l) + "\n")
		}
	}
	return b.String()
}

func (m model) roster(dir string) (*oncall.Roster, conf.Problems) {
	for _, l := range m.layers {
		if l.holidays != nil {
			text := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n"
			for i, d := range l.holidays {
				text += fmt.Sprintf("BEGIN:VEVENT\r\nUID:%d\r\nSUMMARY:Feast %d\r\nDTSTART;VALUE=DATE:%s\r\nEND:VEVENT\r\n", i, i, d.Format("20060102"))
			}
			if err := os.WriteFile(filepath.Join(dir, "holidays.ics"), []byte(text+"END:VCALENDAR\r\n"), 0o600); err != nil {
				return nil, conf.Problems{{What: err.Error()}}
			}
		}
	}
	nodes, problems := conf.Parse(filepath.Join(dir, "kemi.yaml"), []byte(m.yaml()))
	if len(problems) > 0 {
		return nil, problems
	}
	var c struct {
		People    map[string]oncall.Person    `yaml:"people"`
		Schedules map[string]*oncall.Schedule `yaml:"schedules"`
	}
	if problems := nodes[0].Into(&c); len(problems) > 0 {
		return nil, problems
	}
	r, problems := oncall.New(c.People, c.Schedules)
	if len(problems) > 0 {
		return nil, problems
	}
	for i := range m.overrides {
		r.Put(&m.overrides[i])
	}
	return r, nil
}

var crew = []string{"ann", "bob", "cho", "dan", "eve"}

// zones have an hour, half an hour and no daylight saving, north and south, changes at midnight, and (Apia at the end of
// 2011, Pyongyang, Casey) days and hours that were left out or lived twice.
var zones = []string{
	"Asia/Seoul", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "America/New_York", "Africa/Casablanca",
	"America/Santiago", "Pacific/Apia", "Antarctica/Casey", "Asia/Pyongyang", "UTC",
}

// moments are days about which it is interesting to ask.
var moments = []string{
	"2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01", "2026-04-05", "2026-10-04", "2028-02-29", "2024-03-31", "2011-12-30",
	"2018-03-11", "2015-08-15", "2018-05-05", "2026-02-15", "2026-12-31", "2012-02-29", "2021-03-14", "2026-09-06",
}

func drawModel(t *rapid.T) (model, time.Time) {
	day, _ := time.Parse(time.DateOnly, rapid.SampledFrom(moments).Draw(t, "day"))
	wall := func(label string, fromDays, toDays int) wallTime {
		return day.Add(time.Duration(rapid.IntRange(fromDays*96, toDays*96).Draw(t, label)) * quarter)
	}
	person := rapid.SampledFrom(crew)
	clockTime := rapid.OneOf(rapid.SampledFrom([]int{0, 120, 150, 165, 180, 540, 1080, 1320}), rapid.Custom(func(t *rapid.T) int { return 15 * rapid.IntRange(0, 95).Draw(t, "minutes") }))
	layer := func(t *rapid.T) modelLayer {
		l := modelLayer{
			every: rapid.OneOf(
				rapid.SampledFrom([]time.Duration{time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour}),
				rapid.Custom(func(t *rapid.T) time.Duration {
					return quarter * time.Duration(rapid.IntRange(4, 2000).Draw(t, "every"))
				}),
			).Draw(t, "every"),
			start:  wall("start", -60, 2),
			people: rapid.SliceOfN(person, 1, 5).Draw(t, "people"),
		}
		if rapid.Bool().Draw(t, "neat") { // Hand-overs of the kind that meet a change of the clocks.
			l.start = l.start.Truncate(24 * time.Hour).Add(time.Duration(clockTime.Draw(t, "clock")) * time.Minute)
		}
		if rapid.IntRange(0, 3).Draw(t, "bounded") == 0 {
			l.from = wall("from", -5, 2)
			l.until = l.from.Add(time.Duration(rapid.IntRange(1, 500).Draw(t, "for")) * quarter)
			if !l.start.Before(l.until) {
				l.start = l.from
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "hours") {
			h := modelHours{from: clockTime.Draw(t, "from"), to: clockTime.Draw(t, "to")}
			if h.from == h.to {
				continue
			}
			h.days = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) time.Weekday { return time.Weekday(rapid.IntRange(0, 6).Draw(t, "d")) }), 0, 7, rapid.ID).Draw(t, "days")
			l.only = append(l.only, h)
		}
		if !l.until.IsZero() {
			l.only = nil // Hours that are outside of it are refused, which is another test's matter.
		}
		return l
	}
	m := model{zone: rapid.SampledFrom(zones).Draw(t, "zone"), leaves: map[string]wallTime{}}
	for range rapid.IntRange(1, 3).Draw(t, "layers") {
		m.layers = append(m.layers, layer(t))
	}
	if rapid.IntRange(0, 2).Draw(t, "holidays") == 0 {
		l := layer(t)
		for range rapid.IntRange(1, 3).Draw(t, "count") {
			l.holidays = append(l.holidays, wall("holiday", -3, 3).Truncate(24*time.Hour))
		}
		m.layers = append(m.layers, l)
	}
	switch rapid.IntRange(0, 4).Draw(t, "secondary") {
	case 0:
		m.alone = true
	case 1, 2:
		for range rapid.IntRange(1, 2).Draw(t, "layers") {
			m.secondary = append(m.secondary, layer(t))
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "leavers") {
		m.leaves[person.Draw(t, "leaver")] = wall("leaves", -6, 6)
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "overrides") {
		o := event.Override{ID: string(rune('a' + i)), Schedule: "network", Person: person.Draw(t, "person"), StartsAt: wall("starts", -4, 4)}
		o.EndsAt = o.StartsAt.Add(quarter * time.Duration(rapid.IntRange(-4, 300).Draw(t, "lasts")))
		o.Updated = day.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "updated")) * time.Second)
		if rapid.Bool().Draw(t, "limited") {
			o.For = person.Filter(func(p string) bool { return p != o.Person }).Draw(t, "for")
		}
		m.overrides = append(m.overrides, o)
	}
	return m, day
}

func TestAtEveryInstantExactlyTheExpectedPersonIsOnCall(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		m, day := drawModel(t)
		r, problems := m.roster(dir)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, m.yaml())
		}
		off := time.Duration(rapid.Int64Range(0, int64(quarter)-1).Draw(t, "off"))
		o, turn := newOracle(m), 0
		for now := day.AddDate(0, 0, -70); now.Before(day.AddDate(0, 0, 7)); now = now.Add(quarter) {
			o.tick(now)
			if now.Before(day.AddDate(0, 0, -7)) {
				continue
			}
			turn++
			primary, secondary := o.onCall(now)
			for role, want := range map[oncall.Role]string{oncall.Primary: primary, oncall.Secondary: secondary} {
				at := now.Add([]time.Duration{0, off, quarter - 1}[turn%3])
				if got := r.At("network", role, at); got.Person != want {
					t.Fatalf("%s at %s (%s): got %q (%s), want %q\n%s%v", role, at, o.wall.shows, got.Person, got.Why.Text, want, m.yaml(), m.overrides)
				}
			}
		}
	})
}

func TestShiftsAreGaplessAndAgreeWithAt(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		m, day := drawModel(t)
		r, problems := m.roster(dir)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, m.yaml())
		}
		role := rapid.SampledFrom([]oncall.Role{oncall.Primary, oncall.Secondary}).Draw(t, "role")
		from, to := day.AddDate(0, 0, -4), day.AddDate(0, 0, 4)
		shifts := r.Shifts("network", role, from, to)
		if len(shifts) == 0 || shifts[0].From.After(from) || (!shifts[len(shifts)-1].To.IsZero() && shifts[len(shifts)-1].To.Before(to)) {
			t.Fatalf("they do not cover everything:\n%s", table(shifts))
		}
		for i, s := range shifts {
			if i > 0 && (!s.From.Equal(shifts[i-1].To) || !s.From.Before(s.To) && !s.To.IsZero()) {
				t.Fatalf("shift %d:\n%s", i, table(shifts))
			}
			within := []time.Time{s.From, s.To.Add(-1), s.From.Add(s.To.Sub(s.From) / 2)}
			if s.From.IsZero() {
				within = within[1:2]
			}
			if s.To.IsZero() {
				within = []time.Time{to.AddDate(3, 0, 0)}
			}
			for _, at := range within {
				got := r.At("network", role, at)
				if got.Person != s.Person || !got.From.Equal(s.From) || !got.To.Equal(s.To) || got.Why.Text != s.Why.Text {
					t.Fatalf("at %s: %s\nshift: %s\n%s", at, table([]oncall.Shift{got}), table([]oncall.Shift{s}), m.yaml())
				}
			}
		}
		who := rapid.SampledFrom(crew).Draw(t, "who")
		if why := r.Explain("network", role, who, day); !strings.HasPrefix(why.Text, who+" is not ") != (r.At("network", role, day).Person == who) {
			t.Fatal(why)
		}
	})
}
