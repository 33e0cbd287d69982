package words

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"strings"
	"text/template"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/line"
)

// Data is what a template sees.
type Data struct {
	// Message is what would be said without the template: .Subject, .Title, .Plain, .Facts, .Alerts, .Links and so on;
	// {{ .Fact "Since" }} and {{ .Link "acknowledge" }} are single ones.
	Message
	// Page is the page as the ledger has it.
	Page *event.Page
	// Incident is the incident as it was when the page was decided; an empty one when the page is about none.
	Incident *event.Incident
	// Receiver is the name of the receiver.
	Receiver string
	// Person is who is told, Handle their address at this receiver; empty when it is a place where a team reads.
	Person notify.Contact
	Handle string
}

// DataOf is the data of a page for one receiver. Kind is the receiver's kind: a person's handles are by either.
func DataOf(p *event.Page, env notify.Env, receiver, kind string) Data {
	d := Data{Message: Of(p, env), Page: p, Incident: p.Snapshot, Receiver: receiver}
	if d.Incident == nil {
		d.Incident = &event.Incident{}
	}
	if c, ok := Person(p, env); ok {
		d.Person, d.Handle = c, Handle(c, receiver, kind)
	}
	return d
}

// Person is how the page's person is reached; false when it is for none, or for one whom nobody knows.
func Person(p *event.Page, env notify.Env) (notify.Contact, bool) {
	if p.Person == "" || env.Contact == nil {
		return notify.Contact{}, false
	}
	c, ok := env.Contact(p.Person)
	if ok && c.Name == "" {
		c.Name = p.Person
	}
	return c, ok
}

// Handle is a person's address at a receiver: by its name or, when there is none, by its kind.
func Handle(c notify.Contact, receiver, kind string) string {
	if h := c.Handles[receiver]; !h.IsZero() {
		return h.Reveal()
	}
	h := c.Handles[kind]
	return h.Reveal()
}

// maxRendered bounds what a template writes, in bytes.
const maxRendered = 64 << 10

var errTooLong = errors.New("it writes more than 64 KiB")

// Text is one template: Go's text/template over Data, with the functions json, lower, upper, trim, join, cut, oneline,
// default, time and in beside Go's own. It is safe for concurrent use.
type Text struct {
	name string
	run  interface{ Execute(io.Writer, any) error }
}

// Parse reads a template and tries it on pages of every kind, so that a mistake is found before somebody is called.
func Parse(name, text string) (*Text, error) {
	t, err := template.New(name).Funcs(functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	return tried(&Text{name, t})
}

// ParseHTML is Parse for html/template: what it puts in is escaped for where it stands.
func ParseHTML(name, text string) (*Text, error) {
	t, err := htmltemplate.New(name).Funcs(functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	return tried(&Text{name, t})
}

func tried(t *Text) (*Text, error) {
	for _, p := range samples() {
		if _, err := t.Execute(DataOf(p, notify.Env{}, "receiver", "kind")); err != nil {
			return nil, fmt.Errorf("try template on a page of kind %s: %w", p.Kind, err)
		}
	}
	return t, nil
}

// Execute fills the template in. What it returns beside an error is nothing.
func (t *Text) Execute(d Data) (text string, err error) {
	defer func() {
		if v := recover(); v != nil {
			text, err = "", fmt.Errorf("template %s gave up: %v", t.name, v)
		}
	}()
	w := &bounded{left: maxRendered}
	if err := t.run.Execute(w, d); err != nil {
		return "", err
	}
	return w.String(), nil
}

// bounded is a buffer that takes so many bytes.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errTooLong
	}
	b.left -= len(p)
	return b.Buffer.Write(p)
}

func functions() map[string]any {
	return map[string]any{
		"json": func(v any) (string, error) {
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			err := enc.Encode(v)
			return strings.TrimSuffix(b.String(), "\n"), err
		},
		"lower": strings.ToLower, "upper": strings.ToUpper, "trim": strings.TrimSpace,
		"join":    func(sep string, all []string) string { return strings.Join(all, sep) },
		"oneline": func(s string) string { return line.Of(s, maxText) },
		"cut": func(most int, s string) string {
			if r := []rune(s); len(r) > most {
				return string(r[:max(0, most-1)]) + "…"
			}
			return s
		},
		"default": func(instead, s string) string {
			if s == "" {
				return instead
			}
			return s
		},
		"time": func(layout string, t time.Time) string { return t.Format(layout) },
		"in": func(zone string, t time.Time) (time.Time, error) {
			loc, err := time.LoadLocation(zone)
			if err != nil {
				return t, err
			}
			return t.In(loc), nil
		},
	}
}

// Templates are what a receiver's configuration may say of its words; what is empty stays as Of says it.
type Templates struct {
	// Subject is a template of one line.
	Subject string `yaml:"subject"`
	// Body is a template of the plain text. With it alone there is no HTML.
	Body string `yaml:"body"`
	// HTML is a template (html/template) of the same as HTML.
	HTML string `yaml:"html"`
}

// Validate implements conf.Validator.
func (t *Templates) Validate() []conf.Complaint {
	var all []conf.Complaint
	for _, field := range []struct {
		name, text string
		parse      func(name, text string) (*Text, error)
	}{{"subject", t.Subject, Parse}, {"body", t.Body, Parse}, {"html", t.HTML, ParseHTML}} {
		if _, err := field.parse(field.name, field.text); err != nil {
			all = append(all, conf.Complaint{Field: field.name, What: "the template does not work: " + err.Error(), Do: "correct it; {{ .Subject }}, {{ .Plain }}, {{ .Page }} and {{ .Incident }} are there"})
		}
	}
	return all
}

// Writer puts pages into a receiver's own words. It is safe for concurrent use.
type Writer struct {
	receiver, kind      string
	env                 notify.Env
	subject, body, html *Text
}

// NewWriter makes the writer of a receiver; without templates (nil) it says what Of says.
func NewWriter(receiver, kind string, t *Templates, env notify.Env) (*Writer, error) {
	w := &Writer{receiver: receiver, kind: kind, env: env}
	if t == nil {
		return w, nil
	}
	var all [3]error
	if t.Subject != "" {
		w.subject, all[0] = Parse("subject", t.Subject)
	}
	if t.Body != "" {
		w.body, all[1] = Parse("body", t.Body)
	}
	if t.HTML != "" {
		w.html, all[2] = ParseHTML("html", t.HTML)
	}
	return w, errors.Join(all[:]...)
}

// Write puts a page into words. The message is whole in any case: where a template fails, Of's words stand in its place
// with a line that says so, and failed says it for the ledger; it is empty when nothing failed.
func (w *Writer) Write(p *event.Page) (d Data, failed string) {
	d = DataOf(p, w.env, w.receiver, w.kind)
	m := d.Message
	var err error
	try := func(t *Text, into *string) {
		if t == nil {
			return
		}
		text, tErr := t.Execute(d)
		if tErr != nil {
			err = errors.Join(err, tErr)
			return
		}
		*into = text
	}
	try(w.subject, &m.Subject)
	if m.Subject = line.Of(m.Subject, maxTitle+50); m.Subject == "" {
		m.Subject = d.Subject
	}
	if w.body != nil && w.html == nil {
		m.HTML = ""
	}
	try(w.body, &m.Plain)
	try(w.html, &m.HTML)
	if err != nil {
		failed = Failed(w.receiver, err)
		m.Plain = d.Plain + "\n" + failed + "\n"
		m.HTML = document(d.Message, strings.TrimSpace(said(p)+"\n"+failed))
	}
	d.Message = m
	return d, failed
}

// Failed says that a template of a receiver failed, for whoever reads the page and can have it corrected.
func Failed(receiver string, err error) string {
	return "A template of the receiver " + line.Of(receiver, maxName) + " failed, this is said instead: " + line.Of(err.Error(), maxSummary)
}

// Answer adds to a receiver's answer that a template failed.
func Answer(response, failed string) string {
	if failed == "" {
		return response
	}
	return response + " (" + failed + ")"
}

// samples are pages of every kind, with much and with little in them.
func samples() []*event.Page {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	i := &event.Incident{
		ID: "incident", Domain: "default", State: event.IncidentOpen, Kind: event.IncidentDown, Team: "team", Cause: "target", Severity: "critical", Title: "title",
		Alerts: []event.IncidentAlert{{
			ID: "alert", Name: "Alert", Target: "target", State: event.AlertFiring, Severity: "critical", Summary: "summary", Value: 1, StartsAt: at,
			Labels: event.LabelsOf(map[string]string{"site": "site"}), Runbook: "https://runbook.example/",
		}},
		Firing: 2, Suppressed: map[string]int{"server": 1}, SuppressedTotal: 1, OpenedAt: at, Updated: at, Reason: event.Reason{Code: "cause-down"},
	}
	page := func(kind event.PageKind, i *event.Incident) *event.Page {
		return &event.Page{
			ID: "page", Incident: "incident", Team: "team", Receiver: "receiver", Kind: kind, DedupKey: "key", Title: "title", Text: "text",
			Snapshot: i, Created: at.Add(time.Minute), Updated: at.Add(time.Minute),
		}
	}
	over := *i
	over.State, over.ResolvedAt, over.Alerts = event.IncidentResolved, at.Add(time.Minute), nil
	return []*event.Page{page(event.PageFiring, i), page(event.PageUpdate, i), page(event.PageResolved, &over), page(event.PageSummary, nil)}
}
