package api

import (
	"cmp"
	"crypto/rand"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
)

// NameOf is the annotation that holds the name of a maintenance window; EndedBy the one of who ended a silence early.
const (
	NameOf  = "name"
	EndedBy = "ended_by"
)

// NewSilence is what is posted to hold pages back: a silence or, with the kind maintenance, a window.
type NewSilence struct {
	event.Silence
	// Name of a maintenance window: one of the same name is replaced.
	Name string `json:"name,omitempty"`
	// Match are matchers as Alertmanager writes them, beside those of Matchers: severity="warning", {a=~"b.*",c!="d"}.
	Match []string `json:"match,omitempty"`
	// For ("2h") is how long after its start it ends; instead of EndsAt.
	For string `json:"for,omitempty"`
	// Lasts ("2h") is how long it is in force each time when it recurs; instead of LastsSeconds.
	Lasts string `json:"lasts,omitempty"`
}

// Silence is a silence and how it is.
type Silence struct {
	*event.Silence
	// Name of a maintenance window.
	Name string `json:"name,omitempty"`
	// Match are its matchers as Alertmanager writes them.
	Match []string `json:"match"`
	// State says whether it is in force, and Until until when it is, or from when on when it is pending; absent is for ever.
	State hush.State `json:"state"`
	Until time.Time  `json:"until,omitzero"`
	// Configured windows stand in the configuration, and can only be changed there.
	Configured bool `json:"configured,omitempty"`
	// Holds counts the alerts of those that fire now that it holds back while it is in force; only for one by itself.
	Holds *int `json:"holds,omitempty"`
}

func show(s *event.Silence, configured bool, now time.Time) *Silence {
	out := &Silence{Silence: s, Name: s.Annotations[NameOf], Configured: configured}
	if configured {
		_, out.Name, _ = strings.Cut(s.ID, ":")
	}
	for _, m := range s.Matchers {
		out.Match = append(out.Match, matcherText(m))
	}
	out.State, out.Until = hush.StateOf(s, now)
	return out
}

// matcherText writes a matcher as Alertmanager does.
func matcherText(m event.Matcher) string {
	sign := map[[2]bool]string{{false, false}: "=", {true, false}: "=~", {false, true}: "!=", {true, true}: "!~"}[[2]bool{m.Regex, m.Negative}]
	return m.Name + sign + strconv.Quote(m.Value)
}

// matchers reads matchers as Alertmanager writes them; one text may hold several.
func matchers(texts []string) ([]event.Matcher, error) {
	parse := compat.FallbackMatchersParser(slog.New(slog.DiscardHandler))
	var all []event.Matcher
	for _, text := range texts {
		parsed, err := parse(text, "api")
		if err != nil {
			return nil, wrong(http.StatusBadRequest, "%q is no matcher (%v): write one such as severity=\"warning\" or instance=~\"web.*\"", text, err)
		}
		for _, m := range parsed {
			all = append(all, event.Matcher{
				Name: m.Name, Value: m.Value, Regex: m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp,
				Negative: m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp,
			})
		}
	}
	return all, nil
}

// shownSilences are the silences that people said and the windows of the configuration: those in force first, those that
// are over last; of each those that change first.
func (d *Duty) shownSilences(now time.Time) []*Silence {
	all := []*Silence{}
	d.Model.Read(func(s *view.State) {
		for _, said := range s.Silences() {
			all = append(all, show(said, false, now))
		}
	})
	for said := range d.Holds().All() {
		all = append(all, show(said, true, now))
	}
	order := []hush.State{hush.Active, hush.Pending, hush.Expired}
	slices.SortFunc(all, func(a, b *Silence) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), a.Until.Compare(b.Until), b.EndsAt.Compare(a.EndsAt), strings.Compare(a.ID, b.ID))
	})
	return all
}

func (d *Duty) silences(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "silences", "all kind") {
		return
	}
	over, err := parseBool(r, "all")
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	kind := event.SilenceKind(r.URL.Query().Get("kind"))
	if err := knownKind(kind); err != nil {
		complain(w, err)
		return
	}
	all := slices.DeleteFunc(d.shownSilences(time.Now()), func(s *Silence) bool {
		return !over && s.State == hush.Expired || kind != "" && s.Kind != kind
	})
	answer(w, http.StatusOK, all)
}

// find finds the silence that an id, the start of it, or the name of a maintenance window means; with a kind it is one of
// these.
func (d *Duty) find(r *http.Request, now time.Time) (*Silence, error) {
	id, kind := r.PathValue("id"), event.SilenceKind(r.URL.Query().Get("kind"))
	if err := knownKind(kind); err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(d.shownSilences(now), func(s *Silence) bool { return kind != "" && s.Kind != kind })
	names := make([]string, 0, len(all))
	for _, s := range all {
		if s.Name != "" && s.Name == id {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if kind != event.MaintenanceWindow {
		return one("silence", id, all, func(s *Silence) string { return s.ID }, "kemi silence list --all")
	}
	s, err := one("maintenance window", id, all, func(s *Silence) string { return s.ID }, "kemi maintenance list --all")
	if n := conf.Nearest(id, names); err != nil && n != "" {
		err = wrong(http.StatusNotFound, "there is no maintenance window %q: did you mean %q?", id, n)
	}
	return s, err
}

func knownKind(kind event.SilenceKind) error {
	if kind != "" && kind != event.PlainSilence && kind != event.MaintenanceWindow {
		return wrong(http.StatusBadRequest, "there is no kind of silence %q: use %s or %s", kind, event.PlainSilence, event.MaintenanceWindow)
	}
	return nil
}

func (d *Duty) silence(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	s, err := d.find(r, now)
	if err != nil {
		complain(w, err)
		return
	}
	s.Holds = d.holds(s.Silence, now)
	answer(w, http.StatusOK, s)
}

func (d *Duty) addSilence(w http.ResponseWriter, r *http.Request) {
	var n NewSilence
	if !body(w, r, maxLetters, "silence", &n) {
		return
	}
	now := time.Now().UTC()
	s, err := d.newSilence(&n, now)
	if err != nil {
		complain(w, err)
		return
	}
	d.saySilence(w, r, s, http.StatusCreated)
}

// newSilence is the silence that somebody asks for, or why it cannot be.
func (d *Duty) newSilence(n *NewSilence, now time.Time) (*event.Silence, error) {
	s := n.Silence
	var err error
	more, err := matchers(n.Match)
	if err != nil {
		return nil, err
	}
	s.Matchers = append(slices.Clone(s.Matchers), more...)
	s.Kind, s.By, s.Updated = cmp.Or(s.Kind, event.PlainSilence), strings.TrimSpace(s.By), now
	if s.StartsAt.IsZero() {
		s.StartsAt = now
	}
	if s.EndsAt, err = end(s.EndsAt, n.For, s.StartsAt, now); err != nil {
		return nil, err
	}
	if n.Lasts != "" {
		until, err := end(time.Time{}, n.Lasts, now, now)
		if err != nil {
			return nil, err
		}
		s.LastsSeconds = int64(until.Sub(now) / time.Second)
	}
	switch {
	case n.Name != "" && s.Kind != event.MaintenanceWindow:
		return nil, wrong(http.StatusBadRequest, "names are for maintenance: leave name out, or say kind %s", event.MaintenanceWindow)
	case n.Name != "" && s.ID != "":
		return nil, wrong(http.StatusBadRequest, "it has a name and an id: one of both says which it replaces")
	case n.Name != "":
		for said := range d.Holds().All() {
			if show(said, true, now).Name == n.Name {
				return nil, wrong(http.StatusConflict, "%q stands under maintenance: in the configuration: choose another name", n.Name)
			}
		}
		s.ID, s.Annotations = event.ComputeID("maintenance", n.Name), maps.Clone(s.Annotations)
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[NameOf] = n.Name
	case s.ID == "":
		s.ID = event.ComputeID("silence", s.By, rand.Text())
	default:
		old, err := one("silence", s.ID, d.shownSilences(now), func(s *Silence) string { return s.ID }, "kemi silence list --all")
		if err != nil {
			return nil, err
		}
		if old.Configured {
			return nil, wrong(http.StatusConflict, "%s stands under maintenance: in the configuration: change it there", old.Name)
		}
		s.ID = old.ID
	}
	if err := hush.Check(&s, now); err != nil {
		return nil, problem{http.StatusBadRequest, err}
	}
	return &s, nil
}

// saySilence publishes a silence and answers when it shows.
func (d *Duty) saySilence(w http.ResponseWriter, r *http.Request, s *event.Silence, code int) {
	if err := d.Bus.PublishPromptly(r.Context(), s); err != nil {
		complain(w, err)
		return
	}
	if !seen(r.Context(), func() (shows bool) {
		d.Model.Read(func(v *view.State) {
			have := v.Silence(s.ID)
			shows = have != nil && !have.Updated.Before(s.Updated)
		})
		return shows
	}) {
		code = http.StatusAccepted
	}
	now := time.Now()
	out := show(s, false, now)
	out.Holds = d.holds(s, now)
	answer(w, code, out)
}

// holds counts the alerts that fire now and that a silence holds back while it is in force; nil when it is over.
func (d *Duty) holds(s *event.Silence, now time.Time) *int {
	at := now
	switch state, until := hush.StateOf(s, now); state {
	case hush.Expired:
		return nil
	case hush.Pending:
		at = until
	}
	set, problems := hush.New(hush.Config{})
	one := *s
	one.ID = "this"
	if len(problems) > 0 || set.Put(&one) != nil {
		return nil // It was taken in by a newer Kemi, which understands more.
	}
	n := 0
	d.Model.Read(func(v *view.State) {
		find := func(id string) *event.Target {
			t, _ := v.Target(id)
			return t.Target
		}
		for _, a := range v.Alerts(view.Filter{State: string(event.AlertFiring)}) {
			if slices.ContainsFunc(set.Why(hush.Subject{Labels: a.Labels, Target: find(a.Target), Find: find}, at), func(why event.Reason) bool {
				return len(why.Causes) > 0 && why.Causes[0] == one.ID
			}) {
				n++
			}
		}
	})
	return &n
}

func (d *Duty) expireSilence(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "silences", "by kind") {
		return
	}
	by, err := byOf(r.URL.Query().Get("by"))
	if err != nil {
		complain(w, err)
		return
	}
	now := time.Now().UTC()
	old, err := d.find(r, now)
	switch {
	case err != nil:
	case old.Configured:
		err = wrong(http.StatusConflict, "%s stands under maintenance: in the configuration: change it there", old.Name)
	case old.State == hush.Expired:
		what := "silence " + old.ID
		if old.Kind == event.MaintenanceWindow {
			what = "the maintenance window " + strconv.Quote(cmp.Or(old.Name, old.ID))
		}
		err = wrong(http.StatusConflict, "%s was over at %s", what, stamp(old.EndsAt))
	}
	if err != nil {
		complain(w, err)
		return
	}
	s := hush.Expire(old.Silence, now)
	s.Annotations = maps.Clone(s.Annotations)
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[EndedBy] = by
	d.saySilence(w, r, s, http.StatusOK)
}
