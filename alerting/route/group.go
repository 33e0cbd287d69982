package route

import (
	"github.com/prometheus/common/model"

	"kemi.dev/kemi/bus/event"
)

// GroupLabels are the labels that an alert with these labels has in common with the others of its group.
func (m *Match) GroupLabels(ls event.Labels) event.Labels {
	if m.GroupByAll {
		return ls
	}
	out := make(event.Labels, 0, len(m.GroupBy))
	for _, name := range m.GroupBy {
		if value := ls.Get(name); value != "" {
			out = append(out, event.Label{Name: name, Value: value})
		}
	}
	return out
}

// GroupKey is Alertmanager's key of the group that an alert with these labels is in: the route's and the group's labels,
// `{}/{team="network"}:{alertname="LinkDown"}`. Two receivers of one route have the same keys.
func (m *Match) GroupKey(ls event.Labels) string {
	set := model.LabelSet{}
	for _, l := range m.GroupLabels(ls) {
		set[model.LabelName(l.Name)] = model.LabelValue(l.Value)
	}
	return m.Key + ":" + set.String()
}
