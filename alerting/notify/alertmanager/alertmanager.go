// Package alertmanager delivers pages through the receivers of the Alertmanager project. In: pages, and a receiver's
// settings, which are Alertmanager's own keys of that *_config. Out: what the provider answered, or an error that says
// whether trying again can help. It promises one deduplication key for all pages of an incident to a receiver, that an
// update and a resolve go to where the first page went, and that a template that fails costs the words of it and never
// the page. It never follows a redirect, and never shows a URL, a token or a key.
//
// What differs from Alertmanager: resolves are sent unless send_resolved is false; every kind has a timeout (10s); the
// default words are Kemi's; `x_file` works for every key x and is read again before each page; a template sees the page
// in .RouteLabels (title, text, link, ack, runbook, cause, incident, urgency).
//
// A person's page goes to the person's own address: their handle of the receiver's name, or of its kind, replaces one
// key: pagerduty routing_key; opsgenie responders (a user name); slack, rocketchat and mattermost channel; msteams,
// msteamsv2 and discord webhook_url; telegram chat_id; sns phone_number, or target_arn or topic_arn if it is an ARN (and
// without a handle the person's phone); pushover user_key; victorops routing_key; webex room_id; wechat to_user. jira
// and incidentio have no such key. Where everybody has a handle, the receiver needs no address of its own.
package alertmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"
	"unicode/utf8"

	amtemplate "github.com/prometheus/alertmanager/template"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// attempt is how long one attempt may take unless the settings say otherwise.
const attempt = 10 * time.Second

// maxIdle is how many senders are kept, all addresses together: each keeps its connections.
const maxIdle = 32

// Receiver sends pages to one provider. It is safe for concurrent use.
type Receiver struct {
	name, kind string
	spec       spec
	env        notify.Env
	settings   map[string]any
	secrets    []conf.Secret
	timeout    time.Duration
	resolved   bool // Whether resolves are sent.
	unaimed    bool // There is no address but those of people.
	templates  *amtemplate.Template
	texts      []string // The templates in the settings.

	mu   sync.Mutex
	idle map[string][]*sender
	n    int    // Senders in idle.
	read string // What the secrets were when those were made.
}

// Kind returns what makes receivers of one kind from their part of the configuration: see Kinds. It panics when there is
// no such kind, which is a mistake of the program.
func Kind(kind string) func(name string, n conf.Node, env notify.Env) (notify.Notifier, conf.Problems) {
	s, ok := specs()[kind]
	if !ok {
		panic("alertmanager: there is no kind " + kind)
	}
	return func(name string, n conf.Node, env notify.Env) (notify.Notifier, conf.Problems) {
		r, problems := open(name, kind, s, n, env)
		if len(problems) > 0 {
			return nil, problems
		}
		return r, nil
	}
}

// open reads the settings of a receiver and makes a sender of them once, so that mistakes show before a page is due.
func open(name, kind string, s spec, n conf.Node, env notify.Env) (*Receiver, conf.Problems) {
	in := reader{kind: kind, typ: configOf(s.list)}
	r := &Receiver{name: name, kind: kind, spec: s, env: env, resolved: true, timeout: cmp.Or(s.timeout, attempt), idle: map[string][]*sender{}}
	r.settings = in.settings(n, r)
	r.secrets = in.secrets
	if len(in.problems) > 0 {
		return nil, in.problems
	}
	for _, one := range s.needs {
		if !hasAny(r.settings, one) {
			in.say(n, fmt.Sprintf("a %s receiver needs %s", kind, strings.Join(one, " or ")), "write "+one[0]+": …, or "+one[0]+"_file with the path of a file that holds it")
		}
	}
	if s.target != "" && s.placeholder != nil && !hasAny(r.settings, append([]string{s.target}, s.instead...)) {
		if env.Contact == nil {
			in.say(n, fmt.Sprintf("a %s receiver needs %s", kind, s.target), "write "+s.target+": …, or give the people a handle for it")
		}
		r.settings[s.target], r.unaimed = s.placeholder, true
	}
	if s.homeless != nil && s.homeless(r.settings) && !hasAny(r.settings, append([]string{s.target}, s.instead...)) {
		r.unaimed = true
	}
	if len(in.problems) > 0 {
		return nil, in.problems
	}
	external, err := url.Parse(env.ExternalURL)
	if err != nil {
		external = &url.URL{}
	}
	if r.templates, err = defaultTemplates(external); err != nil {
		return nil, conf.Problems{n.Problem("the templates of receivers: "+err.Error(), "tell the makers of Kemi")}
	}
	try, err := r.make(nil, false)
	if err != nil {
		at, what := in.place(n, err)
		return nil, conf.Problems{at.Problem(r.hide(what), "see Alertmanager's documentation of "+strings.TrimSuffix(s.list, "s"))}
	}
	r.texts = templated(r.settings)
	r.put("", try)
	return r, nil
}

func hasAny(settings map[string]any, keys []string) bool {
	for _, key := range keys {
		at := any(settings)
		for part := range strings.SplitSeq(key, ".") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at != nil {
			return true
		}
	}
	return false
}

// Dedups implements notify.Notifier: whether the provider folds by the key that it is given.
func (r *Receiver) Dedups() bool { return r.spec.dedups }

// SendsResolved reports whether the receiver is told that something is over: see notify.Endless.
func (r *Receiver) SendsResolved() bool { return r.resolved }

// Notify implements notify.Notifier.
func (r *Receiver) Notify(ctx context.Context, p *event.Page) (string, error) {
	if p.Kind == event.PageResolved && !r.resolved {
		return "", notify.Permanent(errors.New("not sent: send_resolved is false"))
	}
	a, err := r.aim(p)
	if err != nil {
		err = notify.Permanent(err)
		if p.Person != "" {
			err = notify.Personal(err)
		}
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, fmt.Errorf("no answer within %s: %w", r.timeout, context.DeadlineExceeded))
	defer cancel()
	answer, err := r.send(ctx, p, a, false)
	var u unsent
	if !errors.As(err, &u) {
		return answer, err
	}
	r.env.Scope.Log().Warn("a template of the receiver failed, the page is sent in Kemi's words: correct the template", "receiver", r.name, "error", u.Error())
	answer, err = r.send(ctx, p, a, true)
	if errors.As(err, &u) {
		return "", notify.Permanent(err)
	}
	return strings.TrimSpace(answer + " (sent in Kemi's words: " + u.Error() + ")"), err
}

// unsent says that nothing was sent, because the page could not be put into the words of the configuration.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

func (r *Receiver) send(ctx context.Context, p *event.Page, a aimed, plain bool) (string, error) {
	key := a.key
	if plain {
		key += "\x00plain"
	}
	s, err := r.take(key, a.settings, plain)
	if err != nil {
		err = fmt.Errorf("make receiver: %s", r.hide(cut(err.Error(), maxAnswer), a.secret))
		if !a.secret.IsZero() {
			return "", notify.Personal(notify.Permanent(err)) // It is the person's handle.
		}
		return "", notify.NotArrived(err) // It was made before: a secret's file is being changed.
	}
	answer, err := s.send(ctx, r, p, a)
	r.put(key, s)
	return answer, err
}

// take returns a sender for an address that nobody else uses meanwhile: those of Alertmanager are not all made for being
// used by several at once.
func (r *Receiver) take(key string, over map[string]any, plain bool) (*sender, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.secrets {
		_ = s.Reload() // What was read last is still the best there is.
	}
	if now := r.reveal(); now != r.read {
		r.drop()
		r.read = now
	}
	if free := r.idle[key]; len(free) > 0 {
		s := free[len(free)-1]
		r.idle[key] = free[:len(free)-1]
		r.n--
		return s, nil
	}
	return r.make(over, plain)
}

func (r *Receiver) put(key string, s *sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read == "" {
		r.read = r.reveal()
	}
	if s.read != r.read || s.spoilt {
		s.close()
		return
	}
	if r.n >= maxIdle {
		r.drop()
	}
	r.idle[key] = append(r.idle[key], s)
	r.n++
}

func (r *Receiver) drop() {
	for _, all := range r.idle {
		for _, s := range all {
			s.close()
		}
	}
	clear(r.idle)
	r.n = 0
}

func (r *Receiver) reveal() string {
	var b strings.Builder
	for _, s := range r.secrets {
		b.WriteString(s.Reveal())
		b.WriteByte(0)
	}
	return b.String()
}

// hide writes a text without the secrets that are in it.
func (r *Receiver) hide(text string, more ...conf.Secret) string {
	var all []string
	for _, s := range slices.Concat(r.secrets, more) {
		all = append(all, s.Reveal())
	}
	return post.Hide(text, all...)
}

// aimed is where a page goes, and under which key.
type aimed struct {
	settings map[string]any // What replaces the receiver's settings.
	key      string         // Of the senders with these settings.
	secret   conf.Secret    // The person's address.
	group    string         // The deduplication key.
}

// aim finds the address of a page. The key of a person's page has the person in it when it goes to an address of their
// own: some providers know keys over all addresses, and would fold the page to the second person into that to the first.
func (r *Receiver) aim(p *event.Page) (aimed, error) {
	a := aimed{group: p.DedupKey, settings: map[string]any{}}
	if r.spec.perPage {
		a.group = p.ID
	}
	var handle conf.Secret
	var who notify.Contact
	if p.Person != "" && r.env.Contact != nil {
		who, _ = r.env.Contact(p.Person)
		handle = r.handle(who)
	}
	switch {
	case handle.IsZero() && r.unaimed:
		what, do := r.Lacks(p.Person, who)
		return a, errors.New(what + ": " + do)
	case !handle.IsZero():
		point := r.spec.aim
		if point == nil {
			point = func(settings map[string]any, handle string) error { settings[r.spec.target] = handle; return nil }
		}
		if err := point(a.settings, handle.Reveal()); err != nil {
			return a, fmt.Errorf("the handle of %s for receiver %s: %w", p.Person, r.name, err)
		}
		a.secret, a.key = handle, handle.Reveal()
		if !r.spec.perPage {
			a.group += "/" + p.Person
		}
	}
	if p.Kind == event.PageUpdate && len(r.spec.updates) > 0 {
		for key, value := range r.spec.updates {
			if _, told := r.settings[key]; !told {
				a.settings[key] = value
			}
		}
		a.key += "\x00update"
	}
	return a, nil
}

// defaultTemplates are Alertmanager's with our words in them.
func defaultTemplates(external *url.URL) (*amtemplate.Template, error) {
	t, err := amtemplate.FromGlobs(nil)
	if err != nil {
		return nil, err
	}
	t.ExternalURL = external
	return t, t.Parse(strings.NewReader(ourWords()))
}

// parses says what is wrong with a template's text, before it is needed.
func parses(text string) error {
	_, err := template.New("").Funcs(template.FuncMap(amtemplate.DefaultFuncs)).Parse(text)
	return err
}

// said are the words of a page, as templates find them in .RouteLabels.
func (r *Receiver) said(p *event.Page) map[string]string {
	m := words.Of(p, r.env)
	text := strings.TrimSpace(strings.TrimPrefix(m.Plain, m.Title))
	most := cmp.Or(r.spec.room, 10_000)
	escape := r.spec.escape
	if escape == nil {
		escape = func(s string) string { return s }
	}
	return map[string]string{
		"title": escape(m.Subject), "text": shorten(text, escape, r.spec.cost, most), "incident": p.Incident, "urgency": string(p.Urgency),
		"link": m.Link(words.LinkIncident), "ack": m.Link(words.LinkAck), "runbook": m.Link(words.LinkRunbook), "cause": causeOf(p),
	}
}

// shorten leaves out lines at the end until what is left, escaped, costs no more than so much: characters, if nothing
// else is said.
func shorten(text string, escape func(string) string, cost func(string) int, most int) string {
	if cost == nil {
		cost = utf8.RuneCountInString
	}
	if out := escape(text); cost(out) <= most {
		return out
	}
	var b strings.Builder
	left := most - 1
	for line := range strings.Lines(text) {
		line = escape(line)
		if left -= cost(line); left < 0 {
			break
		}
		b.WriteString(line)
	}
	return b.String() + "…"
}

// causeOf is the target that a page is about, "" when it is about none.
func causeOf(p *event.Page) string {
	if p.Snapshot == nil {
		return ""
	}
	return cut(strings.ToValidUTF8(p.Snapshot.Target(), "\uFFFD"), maxLabel)
}
