package alertmanager

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// held is what holds pages back, kept equal to the read model.
type held struct {
	mu        sync.Mutex
	set       *hush.Set
	inhibitor *hush.Inhibitor
	silences  map[string]*event.Silence
	sources   map[string]*event.Alert
	index     index  // Of sources.
	position  uint64 // In the model's changes.
}

// follow takes in what changed in the model since the last time. It costs a look at every silence.
func (h *held) follow(s *view.State) {
	for id, p := range s.Silences() {
		if h.silences[id] != p {
			h.silences[id] = p
			if h.set.Put(p) != nil { // It holds nothing back: alerting has said so.
				h.set.Drop(id)
			}
		}
	}
	for id := range h.silences {
		if s.Silence(id) == nil {
			delete(h.silences, id)
			h.set.Drop(id)
		}
	}
	ids, next, ok := s.ChangedSince(h.position)
	h.position = next
	if ok {
		for _, id := range ids {
			h.source(id, s.FiringOne(id))
		}
		return
	}
	for id := range h.sources {
		if s.FiringOne(id) == nil {
			h.source(id, nil)
		}
	}
	for id, a := range s.Firing() {
		h.source(id, a)
	}
}

// source takes in what an alert is now, nil when it does not fire.
func (h *held) source(id string, a *event.Alert) {
	was := h.sources[id]
	if was == a {
		return
	}
	h.index.change(was, a)
	if a == nil {
		delete(h.sources, id)
		h.inhibitor.Unset(id)
		return
	}
	h.sources[id] = a
	h.inhibitor.Set(id, a.Labels)
}

// shown is an alert with the ways by which it is told.
type shown struct {
	alert  *event.Alert
	ways   []way
	target *event.Target
}

// way is one way by which an alert is told.
type way struct {
	route.Match
	receiver string
}

// selected picks the alerts that fire and match, with what the model knows of them.
func (a *api) selected(f *filter, now time.Time) []shown {
	var all []shown
	a.Model.Read(func(s *view.State) {
		a.held.follow(s)
		for e := range a.held.index.find(f.matchers, a.held.sources) {
			if (e.Until.IsZero() || now.Before(e.Until)) && matches(f.matchers, e.Labels.Get) {
				all = append(all, shown{alert: e, target: s.Known(e.Target)})
			}
		}
	})
	return all
}

// waysOf says by which ways an alert is told: it belongs to the team that has its target now, as alerting has it. A
// team's way is called as in our route: team:NAME.
func (a *api) waysOf(s *shown) []way {
	labels, team := s.alert.Labels, s.alert.Team
	if s.target != nil && s.target.Team != "" {
		team = s.target.Team
	}
	if team != "" && labels.Get(route.TeamLabel) != team {
		labels = labels.With(map[string]string{route.TeamLabel: team})
	}
	var all []way
	for _, m := range a.tree.Match(labels) {
		w := way{m, m.Receiver}
		if m.Receiver == "" {
			team := m.Team
			if _, known := slices.BinarySearch(a.Told.Teams(), team); !known {
				team = route.DefaultTeam
			}
			w.receiver = route.TeamPrefix + team
		}
		all = append(all, w)
	}
	return all
}

// times are those at which a way is mute.
func (w *way) times() hush.Way { return hush.Way{Route: w.Where(), Mute: w.Mute, Active: w.Active} }

// judge says what holds an alert's pages back on these ways, as alerting judges it.
func (a *api) judge(s *shown, ways []way, now time.Time) alertStatus {
	st := alertStatus{State: stateActive, InhibitedBy: []string{}, MutedBy: []string{}, SilencedBy: []string{}}
	find := func(id string) (t *event.Target) {
		a.Model.Read(func(m *view.State) { t = m.Known(id) })
		return t
	}
	subject := hush.Subject{Labels: s.alert.Labels, Target: s.target, Find: find, Sources: a.held.inhibitor}
	for i := range ways {
		subject.Ways = append(subject.Ways, ways[i].times())
	}
	why := a.held.set.Why(subject, now)
	for _, r := range why {
		st.State = stateSuppressed
		by := ""
		if len(r.Causes) > 0 {
			by = r.Causes[0]
		}
		switch {
		case r.Code == hush.CodeInhibited:
			if source := a.held.sources[by]; source != nil {
				by = fingerprint(source.Labels)
			}
			st.InhibitedBy = append(st.InhibitedBy, by)
		case a.held.set.Get(by) != nil:
			st.SilencedBy = append(st.SilencedBy, by)
		default: // The CMDB's lifecycle, and mute times.
			st.MutedBy = append(st.MutedBy, cmp.Or(by, r.Code))
		}
	}
	return st
}

// wants reports whether an alert of that status is asked for.
func (f *filter) wants(st alertStatus) bool {
	return (f.active || st.State != stateActive) && (f.silenced || len(st.SilencedBy) == 0) && (f.inhibited || len(st.InhibitedBy) == 0)
}

// fingerprint is Alertmanager's of these labels.
func fingerprint(ls event.Labels) string {
	return labelNames(ls).Fingerprint().String()
}

func labelNames(ls event.Labels) model.LabelSet {
	all := make(model.LabelSet, len(ls))
	for _, l := range ls {
		all[model.LabelName(l.Name)] = model.LabelValue(l.Value)
	}
	return all
}

// word is an alert as Alertmanager says it. What our own rules judge has no end of its own: it is shown as Alertmanager
// shows what says none; open is the end of those.
func word(s *shown, st alertStatus, open time.Time) gettableAlert {
	e := s.alert
	g := gettableAlert{
		Annotations: labelSet(e.Annotations), StartsAt: moment{e.StartsAt}, EndsAt: moment{e.Until}, UpdatedAt: moment{e.Updated},
		Fingerprint: fingerprint(e.Labels), Labels: e.Labels.Map(), Status: st, GeneratorURL: e.GeneratorURL, Receivers: []receiver{},
	}
	if g.Annotations == nil {
		g.Annotations = labelSet{}
	}
	if e.Until.IsZero() {
		g.EndsAt.Time = open
	}
	for _, w := range s.ways {
		if r := (receiver{w.receiver}); !slices.Contains(g.Receivers, r) {
			g.Receivers = append(g.Receivers, r)
		}
	}
	return g
}

// list answers GET /alerts.
func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilter(r.URL.Query())
	if err != nil {
		return err
	}
	if err := a.caughtUp(r.Context(), 0); err != nil {
		return err
	}
	return answer(w, a.listed(&f, time.Now()))
}

func (a *api) listed(f *filter, now time.Time) []gettableAlert {
	a.held.mu.Lock()
	defer a.held.mu.Unlock()
	all := []gettableAlert{}
	for _, s := range a.selected(f, now) {
		s.ways = a.waysOf(&s)
		if !slices.ContainsFunc(s.ways, func(w way) bool { return f.takes(w.receiver) }) {
			continue
		}
		if st := a.judge(&s, s.ways, now); f.wants(st) {
			all = append(all, word(&s, st, now.Add(a.Limits.ResolveTimeout)))
		}
	}
	slices.SortFunc(all, func(x, y gettableAlert) int { return cmp.Compare(x.Fingerprint, y.Fingerprint) })
	return all
}
