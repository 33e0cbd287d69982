// Package ack serves the links in pages by which whoever was called says "I have it", from a phone and without a login.
//
// In: requests for /ack/TOKEN. Out: a small page that says what it is about, and a Command on the bus when its button is
// pressed.
// It promises that looking changes nothing, so that what scans mails acknowledges nothing; that a link works once, in
// whatever process it is used; that "you have it" is said when alerting has taken it in, and not before; that what is
// forged, expired or over is said in words.
// It never tells anything to whoever has no link that holds, and never decides what an acknowledgement does.
package ack

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kemi.dev/kemi/alerting/link"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// Path is where the links lead.
const Path = "/ack/"

// argPage is the argument of an acknowledgement that names the page whose link it came by.
const argPage = "page"

// asTyped marks the name of somebody who wrote it themselves: whoever has the link can write any.
const asTyped = " (as typed)"

// Bounds of what is sent here and said of it.
const (
	maxForm = 4 << 10
	maxName = 60  // Characters.
	maxSaid = 500 // Characters.
)

// Desk makes links and takes what comes by them. It is safe for concurrent use.
type Desk struct {
	bus   *bus.Bus
	model *view.Model
	url   string // Of the console, without a slash at the end.
	key   atomic.Pointer[link.Key]
	ready chan struct{} // Closed once it is known which links were used.

	mu   sync.Mutex
	used map[string]use // By page.
}

// use is when a link was used, and by whom.
type use struct {
	by string
	at time.Time
}

// New makes a desk without a key: until there is one, pages have no links.
func New(b *bus.Bus, m *view.Model, url string) *Desk {
	return &Desk{bus: b, model: m, url: strings.TrimRight(url, "/"), ready: make(chan struct{}), used: map[string]use{}}
}

// SetKey gives it the key.
func (d *Desk) SetKey(k link.Key) { d.key.Store(&k) }

// URL is the link of a page, empty when there is none.
func (d *Desk) URL(p *event.Page) string {
	key := d.key.Load()
	if key == nil || p.Incident == "" {
		return ""
	}
	return d.url + Path + key.Sign(link.Link{
		Incident: p.Incident, Page: p.ID, Receiver: p.Receiver, Person: p.Person, Expires: p.Created.Add(link.Life).Truncate(time.Second),
	})
}

// Run learns which links were used, here or elsewhere, until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	var once sync.Once
	swept := time.Now()
	return bus.Follow(ctx, d.bus, bus.From{Time: swept.Add(-link.Life)}, func(m bus.Message[event.Command]) error {
		c := m.Event
		if c == nil || c.Kind != event.Acknowledge || c.Args[argPage] == "" {
			return nil
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.used[c.Args[argPage]] = use{c.By, c.At}
		if now := time.Now(); now.Sub(swept) > time.Hour {
			swept = now
			for page, u := range d.used {
				if now.Sub(u.at) > link.Life+time.Hour {
					delete(d.used, page)
				}
			}
		}
		return nil
	}, func() { once.Do(func() { close(d.ready) }) })
}

// Register adds the links' pages to a mux.
func (d *Desk) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+Path+"{token}", d.look)
	mux.HandleFunc("POST "+Path+"{token}", d.act)
}

// look shows what a link is about. It changes nothing.
func (d *Desk) look(w http.ResponseWriter, r *http.Request) {
	s, _ := d.judge(r)
	s.write(w)
}

// act acknowledges.
func (d *Desk) act(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	s, l := d.judge(r)
	if s.code != http.StatusOK {
		s.write(w)
		return
	}
	by, comment := l.Person, clean(r.PostFormValue("comment"), maxSaid)
	if by == "" {
		if by = clean(r.PostFormValue("name"), maxName); by == "" {
			s.code, s.Said = http.StatusBadRequest, "Say who you are, so that the others know whom to ask."
			s.write(w)
			return
		}
		by += asTyped
	}
	now := time.Now().UTC()
	c := &event.Command{
		Kind: event.Acknowledge, Subject: l.Incident, By: by, At: now, Comment: comment, Args: map[string]string{argPage: l.Page, "via": l.Receiver},
	}
	if u, first := d.take(l.Page, use{by, now}); !first {
		d.spent(s, l, u)
		s.write(w)
		return
	}
	if err := d.bus.PublishPromptly(r.Context(), c); err != nil {
		d.giveBack(l.Page)
		s.code, s.Said = http.StatusServiceUnavailable, "This could not be stored just now, nobody has it yet. Press the button again in a moment."
		s.write(w)
		return
	}
	s.effect(c, d.model.Effect(r.Context(), c), now)
	s.write(w)
}

// take marks a link as used; when it was before, it says by whom.
func (d *Desk) take(page string, u use) (before use, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before, used := d.used[page]; used {
		return before, false
	}
	d.used[page] = u
	return use{}, true
}

func (d *Desk) giveBack(page string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.used, page)
}

// judge says what a link is good for now: the answer is 200 with a form when it can be used.
func (d *Desk) judge(r *http.Request) (*sheet, link.Link) {
	key := d.key.Load()
	if key == nil {
		return &sheet{code: http.StatusNotFound, Heading: "No links here", Said: "This Kemi makes no links to acknowledge."}, link.Link{}
	}
	l, err := key.Open(r.PathValue("token"), time.Now())
	if errors.Is(err, link.ErrForged) {
		return &sheet{code: http.StatusForbidden, Heading: "This link is not valid", Said: "It was not made here, or it was cut short or changed on its way. Open it as it stands in the page you got, or acknowledge with kemi ack."}, l
	}
	if errors.Is(err, link.ErrExpired) { // Whoever finds an old page is told nothing of what it was about.
		return &sheet{code: http.StatusGone, Heading: "This link has expired", Said: "It held until " + stamp(l.Expires) + ". A newer page has a newer link; kemi ack and the console work too."}, l
	}
	s := &sheet{code: http.StatusOK, Heading: "Acknowledge", Person: l.Person}
	var inc *event.Incident
	d.model.Read(func(m *view.State) {
		if i, found := m.Incident(l.Incident); found && i.ID == l.Incident {
			copied := *i
			inc = &copied
		}
	})
	s.about(inc)
	started := true
	d.mu.Lock()
	u, used := d.used[l.Page]
	d.mu.Unlock()
	select {
	case <-d.model.Ready():
	default:
		started = false
	}
	select {
	case <-d.ready:
	default:
		started = false
	}
	if !started {
		s.code, s.Heading, s.Said = http.StatusServiceUnavailable, "One moment", "Kemi has just started. Load this again in some seconds."
		return s, l
	}
	switch now := time.Now(); {
	case inc != nil && inc.State == event.IncidentResolved:
		s.code, s.Heading, s.Said = http.StatusGone, "It is over", "Since "+stamp(inc.ResolvedAt)+". There is nothing to do."
	case inc != nil && inc.Ack != nil && (inc.Ack.Until.IsZero() || inc.Ack.Until.After(now)):
		s.code, s.Heading = http.StatusConflict, inc.Ack.By+" has it already"
		s.Said = "Since " + stamp(inc.Ack.At) + untilText(inc.Ack.Until) + "."
		if inc.Ack.By == l.Person {
			s.Heading = "You have it already"
		}
	case used:
		d.spent(s, l, u)
	case inc == nil:
		s.code, s.Heading, s.Said = http.StatusGone, "Nothing to acknowledge", "Kemi does not know this incident any more: it has been over for long, or was part of another."
	default:
		s.Form, s.Said = true, "Nothing has happened yet: press the button to say that you look after it."
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		// Whoever only looks is told the same, and that nothing is wrong with having looked.
		if s.code == http.StatusConflict {
			s.code = http.StatusOK
		}
	}
	return s, l
}

// spent is the answer to a link that was used before and whose acknowledgement has not come into effect yet, or has ended.
func (d *Desk) spent(s *sheet, l link.Link, u use) {
	s.code, s.Form = http.StatusConflict, false
	var e view.Effect
	d.model.Read(func(m *view.State) {
		e = m.EffectOf(&event.Command{Kind: event.Acknowledge, Subject: l.Incident, By: u.by, At: u.at})
	})
	if !e.Taken && !e.Late {
		s.Heading, s.Said = "Stored, not taken in yet", "By "+u.by+", "+stamp(u.at)+". "+notYet
		return
	}
	s.Heading = "This link was used"
	s.Said = "By " + u.by + ", " + stamp(u.at) + ". A link works once: for acknowledging again, a newer page has a newer link; kemi ack and the console work too."
}
