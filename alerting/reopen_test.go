package alerting

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
)

// What fires again is sent though its incident was over: also after a restart, also when what was over could not be sent
// before, and also when somebody hears of too much.
func TestWhatFiresAgainIsSent(t *testing.T) {
	round := func(kind event.PageKind, n int, at time.Time) *event.Page {
		p := intent("i", "hook", kind, at)
		p.ID, p.Snapshot = event.PageID("i", "hook", kind, n), &event.Incident{ID: "i", Round: n}
		return p
	}
	for _, sent := range []bool{true, false} {
		for _, restart := range []bool{true, false} {
			l, now := newLedger()
			var stored []*event.Page
			var told []event.PageKind
			pass := func(take bool) {
				for _, line := range l.Lines() {
					stored = slices.DeleteFunc(stored, func(p *event.Page) bool { return p.ID == line.ID })
					stored = append(stored, line)
				}
				for take {
					due := l.Due(now)
					if len(due) == 0 {
						break
					}
					for _, p := range due {
						told = append(told, p.Kind)
						line := l.Outcome(Outcome{Page: p.ID}, now)
						stored = slices.DeleteFunc(stored, func(p *event.Page) bool { return p.ID == line.ID })
						stored = append(stored, line)
					}
				}
			}
			for n := range 3 {
				l.Take(round(event.PageFiring, n, now), now)
				pass(sent || n == 2)
				now = now.Add(time.Minute)
				if n < 2 {
					l.Take(round(event.PageResolved, n, now), now)
					pass(true)
				}
				now = now.Add(time.Minute)
				if restart {
					l, _ = newLedger()
					l.Restore(stored, now)
				}
			}
			want := []event.PageKind{"firing", "resolved", "firing", "resolved", "firing"}
			if !sent {
				want = want[4:]
			}
			if d := cmp.Diff(want, told); d != "" {
				t.Errorf("sent %v, restart %v: %s", sent, restart, d)
			}
		}
	}
}

// What fires again while its first page is held stands in the summary as something that is still there.
func TestWhatFiresAgainIsStillThereInASummary(t *testing.T) {
	at := &lane{key: "i\x00hook"}
	all, s := newPiles(), &pile{lanes: map[string]*item{}}
	first, again := &event.Page{Title: "it is down"}, &event.Page{Title: "it is down again"}
	s.add(at, first)
	all.over(at)
	s.add(at, again)
	if s.open != 1 || len(s.items) != 1 || s.items[0].over || s.items[0].page != again {
		t.Errorf("%d open of %d, over: %v, %s", s.open, len(s.items), s.items[0].over, s.items[0].page.Title)
	}
	if all.over(at); s.open != 0 {
		t.Errorf("%d open", s.open)
	}
}
