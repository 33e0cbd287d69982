package alerting

import (
	"strconv"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// downIn is an incident about a target of a domain that is down.
func downIn(domain, target string, state event.IncidentState, at time.Time) *event.Incident {
	return &event.Incident{ID: domain + "/" + target, Domain: domain, Kind: event.IncidentDown, State: state, Cause: target, Updated: at}
}

// What is down in another domain explains what is here for as long as it is down and a minute longer, also when it came back
// in between, or is said again to be over.
func TestACauseElsewhereCountsAMinuteLongerThanItIsDown(t *testing.T) {
	begin := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	target := &event.Target{ID: "core-1", Labels: map[string]string{event.LabelDomain: "west"}}
	type said struct {
		after time.Duration
		state event.IncidentState
	}
	open, over := event.IncidentOpen, event.IncidentResolved
	for name, c := range map[string]struct {
		said []said
		not  time.Duration // From when on it does not count; zero is never.
	}{
		"open":                {[]said{{0, open}}, 0},
		"over":                {[]said{{0, open}, {10 * time.Second, over}}, 70 * time.Second},
		"over, and so again":  {[]said{{0, open}, {10 * time.Second, over}, {40 * time.Second, over}}, 70 * time.Second},
		"open again":          {[]said{{0, open}, {0, over}, {30 * time.Second, open}}, 0},
		"over again":          {[]said{{0, open}, {0, over}, {30 * time.Second, open}, {40 * time.Second, over}}, 100 * time.Second},
		"open again, later":   {[]said{{0, open}, {0, over}, {90 * time.Second, open}}, 60 * time.Second},
		"it never was":        {[]said{{0, over}}, -1},
		"another explains it": {[]said{{0, open}, {10 * time.Second, event.IncidentVerifying}}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newAbroad(time.Minute)
			for after := time.Duration(0); after <= 85*time.Second; after += 5 * time.Second {
				for now := begin.Add(after); len(c.said) > 0 && c.said[0].after <= after; c.said = c.said[1:] {
					b.take("west/core-1", downIn("west", "core-1", c.said[0].state, now), now)
				}
				want := c.not == 0 || after < c.not
				why, until, got := b.why(target, func(string) *event.Target { return nil }, begin.Add(after))
				if got != want || got && why.Causes[1] != "west/core-1" {
					t.Fatalf("after %s: %v %v, want %v", after, got, why, want)
				}
				if got && !until.IsZero() && !until.Equal(begin.Add(c.not)) && len(c.said) == 0 {
					t.Errorf("after %s: it is to count until %s", after, until.Sub(begin))
				}
			}
		})
	}
}

// What is over elsewhere is forgotten, all of it.
func TestWhatIsOverElsewhereIsForgotten(t *testing.T) {
	b, now := newAbroad(time.Minute), time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for i := range 10_000 {
		target := strconv.Itoa(i)
		b.take(target, downIn("west", target, event.IncidentOpen, now), now)
		b.take(target, downIn("west", target, event.IncidentResolved, now), now)
		if now = now.Add(time.Second); len(b.about) > 61 || len(b.causes) > 61 || len(b.ending) > 61 {
			t.Fatalf("after %d: %d, %d and %d are known", i, len(b.about), len(b.causes), len(b.ending))
		}
	}
}

// The first that is about a target of another domain waits until it is known what is down there, a little.
func TestTheFirstGuestWaitsUntilItIsKnownWhatIsDownThere(t *testing.T) {
	for name, c := range map[string]struct {
		read  time.Duration // When all is known; zero is never.
		down  bool
		pages []time.Duration // When people are told.
	}{
		"never read":              {pages: []time.Duration{10 * time.Second}},
		"read, nothing is down":   {read: 8 * time.Second, pages: []time.Duration{8 * time.Second}},
		"read before it is due":   {read: 2 * time.Second, pages: []time.Duration{5 * time.Second}},
		"read, its cause is down": {read: 8 * time.Second, down: true, pages: []time.Duration{2*time.Minute + 8*time.Second}},
		"read late, it is down":   {read: 20 * time.Second, down: true, pages: []time.Duration{10 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, DefaultPolicy())
			b := newAbroad(time.Minute)
			s.desk.abroad = b
			for _, id := range []string{"core-1", "tor-1"} {
				s.abroad[id] = &event.Target{ID: id, Class: "switch", Team: "net", Lifecycle: event.Active, Labels: map[string]string{event.LabelDomain: "west"}}
				s.abroad[id].Version = id
			}
			s.abroad["tor-1"].Relations = map[string][]event.Need{event.ConnectedTo: {{"core-1"}}}
			s.do("fire tor-1 Slow")
			var pages []time.Duration
			for after := time.Second; after <= 5*time.Minute; after += time.Second {
				s.now = s.begin.Add(after)
				if after == c.read {
					if c.down {
						b.take("west/core-1", downIn("west", "core-1", event.IncidentOpen, s.now), s.now)
					}
					b.read()
					s.desk.Hushed()
				}
				if after == c.read+time.Minute && c.down {
					b.take("west/core-1", downIn("west", "core-1", event.IncidentResolved, s.now), s.now)
					s.desk.Hushed()
				}
				changed := *s.abroad["tor-1"] // Nobody waits anew for that.
				changed.Version = after.String()
				s.abroad["tor-1"] = &changed
				s.desk.Guest(&changed)
				told := len(s.pages)
				if s.step(); len(s.pages) > told {
					pages = append(pages, after)
				}
			}
			if len(pages) != len(c.pages) || pages[0] != c.pages[0] {
				t.Errorf("told at %v, want %v", pages, c.pages)
			}
		})
	}
}

// What happens elsewhere has nothing judged anew where nothing is about a target of another domain.
func TestWhatHappensElsewhereConcernsOnlyWhoHasGuests(t *testing.T) {
	s, b := newStage(t, DefaultPolicy()), newAbroad(time.Minute)
	p := &partition{desk: s.desk, ledger: NewLedger(DefaultPolicy(), func(string) bool { return false })}
	b.watchers[p] = struct{}{}
	for _, guests := range []bool{false, true} {
		if guests {
			s.abroad["tor-1"] = &event.Target{ID: "tor-1", Lifecycle: event.Active, Labels: map[string]string{event.LabelDomain: "west"}}
			s.do("fire tor-1 Slow")
		}
		before := s.desk.hushed
		b.take("west/core-1", downIn("west", "core-1", event.IncidentOpen, s.now), s.now)
		b.take("west/core-1", nil, s.now)
		if p.takeIn(s.now); (s.desk.hushed != before) != guests {
			t.Errorf("guests: %v, judged anew: %v", guests, s.desk.hushed != before)
		}
	}
}
