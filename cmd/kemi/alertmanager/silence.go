package alertmanager

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
	own "kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/view"
)

const (
	// maxSilence is how many bytes a posted silence may have.
	maxSilence = 2 << 20
	// readBack is how long a request waits until what it said is what is read.
	readBack = 2 * time.Second
)

// newID makes a random UUID (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // It never returns an error.
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// wanted is the silence that was posted.
func wanted(p *postableSilence) (*event.Silence, error) {
	s := &event.Silence{
		ID: p.ID, Kind: event.PlainSilence, StartsAt: p.StartsAt.Time, EndsAt: p.EndsAt.Time, By: p.CreatedBy, Comment: p.Comment, Annotations: p.Annotations,
	}
	if s.Annotations != nil {
		s.Annotations = maps.Clone(p.Annotations)
		delete(s.Annotations, noteKind)
		delete(s.Annotations, noteRecurs)
	}
	for i, m := range p.Matchers {
		if m.Name == nil || m.Value == nil || m.IsRegex == nil {
			return nil, bad("matcher %d lacks name, value or isRegex", i+1)
		}
		s.Matchers = append(s.Matchers, event.Matcher{Name: *m.Name, Value: *m.Value, Regex: *m.IsRegex, Negative: m.IsEqual != nil && !*m.IsEqual})
	}
	return s, nil
}

// What Kemi says among the annotations of a silence, for those who read them.
const (
	noteKind   = "kemi_kind"
	noteRecurs = "kemi_recurs"
)

// noted are the annotations of a silence that takes the place of another. Programs that do not know of annotations send
// none: then they stay as they are. A name stays in any case, unless there is another.
func noted(s, was *event.Silence) map[string]string {
	all := maps.Clone(s.Annotations)
	if s.Annotations == nil {
		all = maps.Clone(was.Annotations)
		delete(all, own.EndedBy)
	}
	if name := was.Annotations[own.NameOf]; name != "" && all[own.NameOf] == "" {
		if all == nil {
			all = map[string]string{}
		}
		all[own.NameOf] = name
	}
	return all
}

// change decides what becomes of a posted silence: what is to be said, the one that holds from now on first. As with
// Alertmanager what is in force keeps its matchers and its beginning; another silence with a new id takes its place
// otherwise, save that of a maintenance window with a name. was is the one of the same id, nil when there is none.
func change(s, was *event.Silence, id string, now time.Time) ([]event.Event, error) {
	if s.StartsAt.IsZero() {
		s.StartsAt = now
	}
	s.Updated = now
	if was != nil {
		if was.Recurs != "" {
			return nil, bad("silence %s recurs (%s), which this API cannot say: use kemi silence", was.ID, was.Recurs)
		}
		s.Kind, s.Inherit, s.Annotations = was.Kind, was.Inherit, noted(s, was)
	}
	if err := hush.Check(s, now); err != nil {
		return nil, bad("invalid silence: %v", err)
	}
	switch {
	case was != nil && inPlace(s, was, now):
		return []event.Event{s}, nil
	case was != nil && was.Kind == event.MaintenanceWindow && was.Annotations[own.NameOf] != "":
		// Its name makes its id: who starts a window of that name again, or ends it, means this one.
		if s.StartsAt.Before(now) {
			s.StartsAt = now
		}
		return []event.Event{s}, nil
	}
	s.ID = id
	if s.StartsAt.Before(now) {
		s.StartsAt = now
	}
	if was == nil {
		return []event.Event{s}, nil
	}
	if state, _ := hush.StateOf(was, now); state == hush.Expired {
		return []event.Event{s}, nil
	}
	return []event.Event{s, hush.Expire(was, now)}, nil // In this order: in between both hold, rather than none.
}

// inPlace reports whether a silence can be changed under its id.
func inPlace(s, was *event.Silence, now time.Time) bool {
	if !slices.Equal(s.Matchers, was.Matchers) {
		return false
	}
	switch state, _ := hush.StateOf(was, now); state {
	case hush.Active:
		if s.StartsAt.Unix() != was.StartsAt.Unix() {
			return false
		}
		s.StartsAt = was.StartsAt // The API's times are to the millisecond.
		return true
	case hush.Pending:
		return !s.StartsAt.Before(now)
	default:
		return false
	}
}

// silence answers POST /silences.
func (a *api) silence(w http.ResponseWriter, r *http.Request) error {
	data, err := read(w, r, maxSilence)
	if err != nil {
		return err
	}
	var p postableSilence
	if err := json.Unmarshal(data, &p); err != nil {
		return bad("read the request: %v", err)
	}
	s, err := wanted(&p)
	if err != nil {
		return err
	}
	var was *event.Silence
	if p.ID != "" {
		if was, err = a.find(r.Context(), p.ID); err != nil {
			return err
		}
	}
	say, err := change(s, was, newID(), time.Now().UTC())
	if err != nil {
		return err
	}
	if err := a.say(r.Context(), say); err != nil {
		return err
	}
	return answer(w, map[string]string{"silenceID": s.ID})
}

// say publishes silences and waits until they are what is read.
func (a *api) say(ctx context.Context, say []event.Event) error {
	if err := a.Bus.PublishPromptly(ctx, say...); err != nil {
		return fmt.Errorf("take in silence: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readBack)
	defer cancel()
	if !a.Model.Await(ctx, func(m *view.State) bool {
		return !slices.ContainsFunc(say, func(e event.Event) bool {
			s := e.(*event.Silence)
			now := m.Silence(s.ID)
			return now == nil || now.Updated.Before(s.Updated)
		})
	}) {
		return wrong(http.StatusServiceUnavailable, "the silence cannot be read yet: ask for it in a moment, and say it again when it is not there")
	}
	return nil
}

// find returns a silence that people said, or an error that there is none.
func (a *api) find(ctx context.Context, id string) (s *event.Silence, err error) {
	if err := a.caughtUp(ctx, patience); err != nil {
		return nil, err
	}
	a.Model.Read(func(m *view.State) { s = m.Silence(id) })
	if s != nil {
		return s, nil
	}
	if slices.ContainsFunc(a.windows(), func(s *event.Silence) bool { return s.ID == id }) {
		return nil, wrong(http.StatusNotFound, "%s stands in the configuration under maintenance: change it there", id)
	}
	return nil, wrong(http.StatusNotFound, "silence %.80s not found", id)
}

// windows are the maintenance windows of the configuration.
func (a *api) windows() []*event.Silence {
	a.held.mu.Lock()
	defer a.held.mu.Unlock()
	var all []*event.Silence
	for s := range a.held.set.All() {
		if a.held.silences[s.ID] == nil {
			all = append(all, s)
		}
	}
	return all
}

// expire answers DELETE /silence/{id}.
func (a *api) expire(w http.ResponseWriter, r *http.Request) error {
	s, err := a.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if s.Recurs != "" {
		return bad("silence %s recurs (%s), and this API could not say it again: use kemi silence expire", s.ID, s.Recurs)
	}
	now := time.Now().UTC()
	if state, _ := hush.StateOf(s, now); state != hush.Expired {
		if err := a.say(r.Context(), []event.Event{hush.Expire(s, now)}); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// oneSilence answers GET /silence/{id}.
func (a *api) oneSilence(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	for _, s := range a.windows() {
		if s.ID == id {
			return answer(w, silenceWord(s, time.Now()))
		}
	}
	s, err := a.find(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, silenceWord(s, time.Now()))
}

// silences answers GET /silences: the ones in force first, which end next, then those to come, then those that are over,
// the last of them first. What this API can neither change nor bring back is not among them, for programs change and
// expire all that is listed: windows of the configuration, and silences that recur. GET /silence/{id} has these.
func (a *api) silences(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	matchers, err := matchersOf(q, "filter")
	if err != nil {
		return err
	}
	var active, expired, pending bool
	if err := flags(q, map[string]*bool{"active": &active, "expired": &expired, "pending": &pending}); err != nil {
		return err
	}
	if err := a.caughtUp(r.Context(), 0); err != nil {
		return err
	}
	want := map[string]bool{string(hush.Active): active, string(hush.Expired): expired, string(hush.Pending): pending}
	var all []*event.Silence
	a.Model.Read(func(m *view.State) {
		for _, s := range m.Silences() {
			if s.Recurs == "" {
				all = append(all, s)
			}
		}
	})
	now := time.Now()
	found := []gettableSilence{}
	for _, s := range all {
		if !selects(s, matchers) {
			continue
		}
		if g := silenceWord(s, now); want[g.Status.State] {
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(x, y gettableSilence) int {
		order := map[string]int{string(hush.Active): 1, string(hush.Pending): 2, string(hush.Expired): 3}
		c := cmp.Compare(order[x.Status.State], order[y.Status.State])
		if c == 0 {
			switch hush.State(x.Status.State) {
			case hush.Active:
				c = x.EndsAt.Compare(y.EndsAt.Time)
			case hush.Pending:
				c = x.StartsAt.Compare(y.StartsAt.Time)
			default:
				c = y.EndsAt.Compare(x.EndsAt.Time)
			}
		}
		return cmp.Or(c, cmp.Compare(x.ID, y.ID))
	})
	return answer(w, found)
}

// selects reports whether a silence has each of the matchers among its own.
func selects(s *event.Silence, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		same := event.Matcher{
			Name: m.Name, Value: m.Value,
			Regex:    m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp,
			Negative: m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp,
		}
		if !slices.Contains(s.Matchers, same) {
			return false
		}
	}
	return true
}

// silenceWord is a silence as Alertmanager says it. Of one that recurs it is the time that runs or comes next; its rule
// is among the annotations.
func silenceWord(s *event.Silence, now time.Time) gettableSilence {
	state, until := hush.StateOf(s, now)
	g := gettableSilence{ID: s.ID, Status: silenceStatus{string(state)}, UpdatedAt: moment{s.Updated}, silenceWords: silenceWords{
		Annotations: labelSet{}, Comment: s.Comment, CreatedBy: s.By, StartsAt: moment{s.StartsAt}, EndsAt: moment{s.EndsAt}, Matchers: []matcherWord{},
	}}
	maps.Copy(g.Annotations, s.Annotations)
	if s.Kind == event.MaintenanceWindow {
		g.Annotations[noteKind] = string(s.Kind)
	}
	if s.Recurs != "" {
		lasts := time.Duration(s.LastsSeconds) * time.Second
		g.Annotations[noteRecurs] = strings.TrimSpace(s.Recurs + " " + s.Timezone)
		switch state {
		case hush.Active:
			g.EndsAt, g.StartsAt = moment{until}, moment{until.Add(-lasts)}
		case hush.Pending:
			g.StartsAt, g.EndsAt = moment{until}, moment{until.Add(lasts)}
		}
	}
	for _, m := range s.Matchers {
		g.Matchers = append(g.Matchers, matcherWord{Name: &m.Name, Value: &m.Value, IsRegex: &m.Regex, IsEqual: new(bool)})
		*g.Matchers[len(g.Matchers)-1].IsEqual = !m.Negative
	}
	return g
}
