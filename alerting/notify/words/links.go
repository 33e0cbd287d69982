package words

import (
	"net/url"
	"slices"
	"strings"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/line"
)

// maxOf is how many links of one kind a page has at most.
const maxOf = 3

// graphsOf are where those alerts that come from elsewhere are shown.
func graphsOf(own []event.IncidentAlert) []Link {
	var all []Link
	for _, a := range own {
		if address := Graph(a); len(all) < maxOf && address != "" && !slices.ContainsFunc(all, func(l Link) bool { return l.URL == address }) {
			all = append(all, Link{LinkGraph, "Graph of " + line.Of(a.Name, maxName), address})
		}
	}
	return all
}

// Graph is where an alert from elsewhere is shown, empty when that is not said or leads nowhere. What senders leave as it is
// in their expressions is escaped.
func Graph(a event.IncidentAlert) string {
	return web(strings.NewReplacer(" ", "%20", `"`, "%22", "'", "%27", "<", "%3C", ">", "%3E", "`", "%60").Replace(strings.TrimSpace(a.Graph)))
}

// links are where to go from a page.
func links(p *event.Page, i *event.Incident, own []event.IncidentAlert, env notify.Env) []Link {
	var all []Link
	add := func(kind LinkKind, name, address string) {
		if address = web(address); address != "" {
			all = append(all, Link{kind, name, address})
		}
	}
	if env.AckURL != nil && p.Kind != event.PageResolved && p.Kind != event.PageSummary {
		add(LinkAck, "Acknowledge", env.AckURL(p))
	}
	graphs := graphsOf(own)
	if base := strings.TrimRight(env.ExternalURL, "/"); base != "" {
		if p.Kind == event.PageSummary || p.Several() {
			add(LinkIncident, "Incidents", base+"/")
		} else {
			add(LinkIncident, "Incident", base+"/incidents/"+url.PathEscape(p.Incident))
		}
		all, graphs = append(all, graphs...), nil // Whoever judged it shows what was judged: that comes first.
		target := i.Target()
		if _, id, ok := i.Behind(); ok {
			target = id
		}
		if target != "" {
			add(LinkGraph, "Graphs of "+line.Of(target, maxName), base+"/targets/"+url.PathEscape(target))
		}
	}
	all = append(all, graphs...)
	seen := map[string]bool{}
	for _, a := range own {
		if len(seen) < maxOf && a.Runbook != "" && !seen[a.Runbook] {
			seen[a.Runbook] = true
			add(LinkRunbook, "Runbook of "+line.Of(a.Name, maxName), a.Runbook)
		}
	}
	return all
}

// web returns an address as it may stand in a page, or nothing: absolute, http or https, without a password, whatever a
// rule's annotation or a sender says.
func web(address string) string {
	if len(address) > maxURL {
		return ""
	}
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return ""
	}
	strange := func(r rune) bool { return r < 0x80 && !strings.ContainsRune(".-_:[]", r) && !isAlnum(r) }
	if strings.ContainsFunc(u.Host, strange) {
		return ""
	}
	s := u.String()
	if s != line.Of(s, maxURL) || strings.ContainsAny(s, " <>\"'`") {
		return ""
	}
	return s
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
