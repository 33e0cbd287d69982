package alertmanager

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/bus/event"
)

// groups answers GET /alerts/groups: the alerts by the routes that they take and by the labels that those group by. What
// goes to its owner by no route of the configuration is grouped by team. Kemi's own grouping is by cause: that is what
// incidents are.
func (a *api) groups(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilter(r.URL.Query())
	if err != nil {
		return err
	}
	if err := a.caughtUp(r.Context(), 0); err != nil {
		return err
	}
	return answer(w, a.grouped(&f, time.Now()))
}

func (a *api) grouped(f *filter, now time.Time) []alertGroup {
	a.held.mu.Lock()
	defer a.held.mu.Unlock()
	type key struct{ receiver, group string }
	groups := map[key]*alertGroup{}
	for _, s := range a.selected(f, now) {
		s.ways = a.waysOf(&s)
		for _, w := range s.ways {
			if !f.takes(w.receiver) {
				continue
			}
			if !f.muted && a.muted(&w, now) {
				continue
			}
			st := a.judge(&s, []way{w}, now)
			if !f.wants(st) {
				continue
			}
			labels := w.GroupLabels(s.alert.Labels)
			if a.tree == nil {
				labels = event.LabelsOf(map[string]string{route.TeamLabel: w.Team})
			}
			k := key{w.receiver, w.Key + ":" + labels.String()}
			if groups[k] == nil {
				groups[k] = &alertGroup{Alerts: []gettableAlert{}, Labels: labels.Map(), Receiver: receiver{w.receiver}, RouteLabels: labelSet{}}
			}
			groups[k].Alerts = append(groups[k].Alerts, word(&s, st, now.Add(a.Limits.ResolveTimeout)))
		}
	}
	keys := make([]key, 0, len(groups))
	for k, g := range groups {
		keys = append(keys, k)
		slices.SortFunc(g.Alerts, func(x, y gettableAlert) int { return cmp.Compare(x.Fingerprint, y.Fingerprint) })
	}
	slices.SortFunc(keys, func(x, y key) int { return cmp.Or(cmp.Compare(x.group, y.group), cmp.Compare(x.receiver, y.receiver)) })
	all := []alertGroup{}
	for _, k := range keys {
		all = append(all, *groups[k])
	}
	return all
}

// muted reports whether a way is mute at that time for whatever takes it.
func (a *api) muted(w *way, now time.Time) bool {
	return slices.ContainsFunc(a.held.set.Why(hush.Subject{Ways: []hush.Way{w.times()}}, now), func(r event.Reason) bool { return r.Code == hush.CodeMuted })
}
