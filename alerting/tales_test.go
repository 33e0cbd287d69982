package alerting

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

// tale is a story that is told with mines in it.
type tale struct {
	name   string
	config string // Beside taleConfig.
	folds  bool
	does   map[string]func(p *event.Page, since time.Duration) error // By receiver.
	plot   func(h *house)                                            // Says what happens when, and returns at once.
	lasts  time.Duration
	clean  []string                    // What people hear when nobody is killed; nil is not looked at.
	want   func(heard []string) string // What is wrong with what people heard, each once; "" is nothing.
}

const taleConfig = `
receivers: {pager: {inbox: {}}, mail: {inbox: {}}}
people: {jo: {ways: [pager, mail]}}
teams: {default: {members: [jo], escalation: [{to: [jo]}]}}
`

func (h *house) failAt(after time.Duration, id, severity string, lasts time.Duration) {
	time.AfterFunc(after, func() {
		began := time.Now()
		h.verdict(id, event.VerdictFiring, began)
		a := event.Alert{
			ID: "alert-" + id, Name: "TargetDown", Rule: "fleet/TargetDown", State: event.AlertFiring, Target: id, Team: "net", Domain: event.DefaultDomain,
			Severity: severity, StartsAt: began, Updated: began,
		}
		h.say(&a)
		time.AfterFunc(lasts, func() {
			h.verdict(id, event.VerdictOK, time.Now())
			over := a
			over.State, over.Updated, over.EndsAt = event.AlertResolved, time.Now(), time.Now()
			h.say(&over)
		})
	})
}

func wants(all ...string) func(heard []string) string {
	return func(heard []string) string {
		slices.Sort(all)
		if !slices.Equal(heard, all) {
			return fmt.Sprintf("heard %q, want %q", heard, all)
		}
		return ""
	}
}

func tales() []tale {
	one := func(h *house) { h.failAt(time.Second, "srv-0", "critical", 40*time.Second) }
	return []tale{
		{name: "one page, a receiver that folds", folds: true, plot: one, lasts: time.Minute, want: wants("pager firing srv-0", "pager resolved srv-0")},
		{name: "one page, a receiver that does not fold", plot: one, lasts: time.Minute, want: wants("pager firing srv-0", "pager resolved srv-0")},
		{
			name: "a way that does not work, and the next", plot: one, lasts: 2 * time.Minute,
			does: map[string]func(*event.Page, time.Duration) error{"pager": func(*event.Page, time.Duration) error { return notify.Permanent(errors.New("no such user")) }},
			want: wants("mail firing srv-0", "mail resolved srv-0"),
		},
		{
			name: "a receiver that fails twice", lasts: 2 * time.Minute, plot: one,
			does: map[string]func(*event.Page, time.Duration) error{"pager": func(_ *event.Page, since time.Duration) error {
				if since < 9*time.Second {
					return errors.New("503")
				}
				return nil
			}},
			want: wants("pager firing srv-0", "pager resolved srv-0"),
		},
		{
			// One was refused and one was not tried when it is over: the receiver wanted to be left alone.
			name: "over before it could be sent", clean: []string{}, lasts: 4 * time.Minute,
			plot: func(h *house) {
				h.failAt(time.Second, "srv-0", "critical", 40*time.Second)
				h.failAt(4*time.Second, "srv-1", "critical", 40*time.Second)
			},
			does: map[string]func(*event.Page, time.Duration) error{"pager": func(_ *event.Page, since time.Duration) error {
				if since < 50*time.Second {
					return notify.NotArrived(notify.RetryAfter(errors.New("429"), time.Minute))
				}
				return nil
			}},
			want: func(heard []string) string {
				// That one is over is heard only when a process died and nobody knows whether it was told by then.
				if slices.ContainsFunc(heard, func(s string) bool { return !strings.HasPrefix(s, "pager resolved") }) {
					return fmt.Sprintf("heard %q", heard)
				}
				return ""
			},
		},
		{
			name: "over before anybody knew whether it had arrived", clean: []string{"pager resolved srv-0"}, lasts: 2 * time.Minute, plot: one,
			does: map[string]func(*event.Page, time.Duration) error{"pager": func(_ *event.Page, since time.Duration) error {
				if since < 50*time.Second {
					return errors.New("no answer")
				}
				return nil
			}},
			want: wants("pager resolved srv-0"),
		},
		{
			// The first way answers nothing of calls, so that it may have them: that it is over it hears.
			name: "the next way takes it, and the first ends", config: "alerting: {fallback_after: 5s}\n", lasts: 3 * time.Minute,
			plot: func(h *house) { h.failAt(time.Second, "srv-0", "critical", 80*time.Second) },
			does: map[string]func(*event.Page, time.Duration) error{"pager": func(p *event.Page, _ time.Duration) error {
				if p.Kind == event.PageFiring {
					return errors.New("no answer")
				}
				return nil
			}},
			want: wants("mail firing srv-0", "mail resolved srv-0", "pager resolved srv-0"),
		},
		{
			name: "too much, and a summary", config: "alerting: {person_limit: 2, limit_within: 2m}\n", clean: []string{"pager firing srv-0", "pager resolved srv-0", "pager resolved summary", "pager summary summary"}, lasts: 4 * time.Minute,
			plot: func(h *house) {
				for i := range 3 {
					h.failAt(time.Duration(1+2*i)*time.Second, fmt.Sprint("srv-", i), "error", time.Duration(40+60*i)*time.Second)
				}
			},
			// What was stored, of which nobody knows whether it was sent, is sent: then it is one more by itself. Which is the
			// first, and in the summary, changes with what came in between; that all are somewhere is judged in the ledger.
			want: func(heard []string) string {
				if !slices.ContainsFunc(heard, func(s string) bool { return strings.HasPrefix(s, "pager firing") }) {
					return fmt.Sprintf("heard %q", heard)
				}
				return ""
			},
		},
	}
}
