package oncall

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"time"
)

// firstMonday is 1970-01-05 00:00, from which weeks are counted, and turns that have no start.
const firstMonday = wall(4 * day)

// layer is a Layer made ready.
type layer struct {
	name    string // For people.
	every   Every
	start   wall
	whole   bool // One person without a start: a turn is all of the hours, or holidays, at a stretch.
	people  []string
	begin   time.Time // Zero is for ever, as is end.
	end     time.Time
	hours   []int64 // Seconds into the week at which it opens, closes, opens, …; none is always open.
	days    []span  // Of a layer for holidays: when they are, in order and apart.
	holiday bool
}

// span is a stretch of time with a name.
type span struct {
	from, to time.Time
	name     string
}

// turn is one turn in a layer: its number says whose it is.
type turn struct {
	number int64
	note   string // The name of the holiday.
}

func compileLayer(l *Layer, name string, loc *time.Location) *layer {
	out := &layer{name: cmp.Or(l.Name, name), every: cmp.Or(l.Every, Every(week*time.Second)), start: l.Start.at, hours: weekHours(l.Only)}
	if !l.Start.given {
		out.start, out.whole = firstMonday, len(out.hours) > 0
		if l.From.given {
			out.start = l.From.at
		}
	}
	for _, m := range l.People {
		out.people = append(out.people, m.Key)
	}
	if begins := l.begins(); begins.given {
		out.begin = reach(loc, begins.at)
	}
	if l.Until.given {
		out.end = reach(loc, l.Until.at)
	}
	return out
}

// weekHours are the times of the week at which hours open and close, in seconds from Monday on, each once: those that
// overlap or touch are one. The last may close in the week after. None means always open.
func weekHours(only []Hours) []int64 {
	var opens, closes [7 * 24 * 60 * 2]int // Minutes of two weeks, because hours reach into the next.
	for _, h := range only {
		from, to := h.From.minutes, h.To.minutes
		if !h.To.given {
			to = 24 * 60
		}
		if to <= from {
			to += 24 * 60
		}
		for d := range 7 {
			if h.Days == 0 || h.Days&(1<<d) != 0 {
				opens[d*24*60+from]++
				closes[d*24*60+to]++
			}
		}
	}
	const minutes = 7 * 24 * 60
	var open [minutes]bool
	depth := 0
	for i := range opens {
		depth += opens[i] - closes[i]
		open[i%minutes] = open[i%minutes] || depth > 0
	}
	var edges []int64
	for i := range open {
		if open[i] != open[(i+minutes-1)%minutes] {
			edges = append(edges, int64(i)*minute)
		}
	}
	if len(edges) > 0 && !open[edges[0]/minute] { // Sunday's last hours go on into Monday: begin with what opens.
		edges = append(edges[1:], edges[0]+week)
	}
	return edges
}

// opensWithin reports whether any of the layer's hours is in [from, to), on a clock that never jumps.
func (l *Layer) opensWithin(from, to wall) bool {
	edges := weekHours(l.Only)
	if len(edges) == 0 || to-from >= week {
		return true
	}
	for w := floorDiv(int64(from-firstMonday), week) - 1; int64(firstMonday)+w*week < int64(to); w++ {
		for i := 0; i < len(edges); i += 2 {
			if at := int64(firstMonday) + w*week; at+edges[i] < int64(to) && at+edges[i+1] > int64(from) {
				return true
			}
		}
	}
	return false
}

// at returns whose turn it is, or false when the layer has nobody at that time, and narrows the look to where that holds.
func (l *layer) at(k *look) (turn, bool) {
	if !l.begin.IsZero() && k.t.Before(l.begin) {
		k.narrow(time.Time{}, l.begin)
		return turn{}, false
	}
	k.narrow(l.begin, time.Time{})
	if !l.end.IsZero() && !k.t.Before(l.end) {
		k.narrow(l.end, time.Time{})
		return turn{}, false
	}
	k.narrow(time.Time{}, l.end)
	var out turn
	if l.holiday {
		i, open := l.onHoliday(k)
		if !open {
			return turn{}, false
		}
		out.number, out.note = int64(i), l.days[i].name
	}
	now := k.clock.shown(k.t)
	if n := int64(len(l.hours)); n > 0 {
		guess := floorDiv(int64(now-firstMonday), week) * n
		edge, from, to := k.clock.find(k.t, guess, func(e int64) wall {
			w := floorDiv(e, n)
			return firstMonday + wall(w*week+l.hours[e-w*n])
		})
		k.narrow(from, to)
		if (edge-floorDiv(edge, n)*n)%2 == 1 {
			return turn{}, false
		}
		out.number = edge
	}
	if l.whole {
		return out, true
	}
	length := int64(time.Duration(l.every) / time.Second)
	number, from, to := k.clock.find(k.t, floorDiv(int64(now-l.start), length), func(n int64) wall { return l.start + wall(n*length) })
	k.narrow(from, to)
	out.number = number
	return out, true
}

// onHoliday returns which of the holidays it is.
func (l *layer) onHoliday(k *look) (i int, open bool) {
	i = sort.Search(len(l.days), func(i int) bool { return l.days[i].to.After(k.t) })
	if i > 0 {
		k.narrow(l.days[i-1].to, time.Time{})
	}
	if i == len(l.days) {
		return 0, false
	}
	if k.t.Before(l.days[i].from) {
		k.narrow(time.Time{}, l.days[i].from)
		return 0, false
	}
	k.narrow(l.days[i].from, l.days[i].to)
	return i, true
}

// apart orders spans and joins those that overlap or touch, with the names of all of them.
func apart(all []span) []span {
	all = slices.DeleteFunc(all, func(s span) bool { return !s.from.Before(s.to) })
	slices.SortFunc(all, func(a, b span) int {
		return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to), cmp.Compare(a.name, b.name))
	})
	var out []span
	named := map[string]bool{}
	for _, s := range all {
		if n := len(out); n > 0 && !s.from.After(out[n-1].to) {
			last := &out[n-1]
			if s.to.After(last.to) {
				last.to = s.to
			}
			if s.name != "" && !named[s.name] && len(last.name) < 200 {
				last.name, named[s.name] = join(last.name, s.name), true
			}
			continue
		}
		out = append(out, s)
		clear(named)
		named[s.name] = true
	}
	return out
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

func layerName(i int) string { return "layer " + strconv.Itoa(i+1) }
