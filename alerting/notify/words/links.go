package words

import (
	"net/url"
	"strings"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

// noTarget begins the cause of incidents about alerts that name no target: the rest is what they are called.
const noTarget = "alert/"

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
	if base := strings.TrimRight(env.ExternalURL, "/"); base != "" {
		if p.Kind == event.PageSummary || p.Several() {
			add(LinkIncident, "Incidents", base+"/")
		} else {
			add(LinkIncident, "Incident", base+"/incidents/"+url.PathEscape(p.Incident))
		}
		if i.Cause != "" && !strings.HasPrefix(i.Cause, noTarget) {
			add(LinkGraph, "Graphs of "+clean(i.Cause, maxName), base+"/targets/"+url.PathEscape(i.Cause))
		}
	}
	seen := map[string]bool{}
	for _, a := range own {
		if len(seen) < 3 && a.Runbook != "" && !seen[a.Runbook] {
			seen[a.Runbook] = true
			add(LinkRunbook, "Runbook of "+clean(a.Name, maxName), a.Runbook)
		}
	}
	return all
}

// web returns an address as it may stand in a page, or nothing: absolute, http or https, without a password, whatever a
// rule's annotation says.
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
	if s != clean(s, maxURL) || strings.ContainsAny(s, " <>\"'`") {
		return ""
	}
	return s
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
