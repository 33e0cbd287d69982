package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/line"
)

// Names that turn the direction of writing, hide text or move the cursor do so in no output: in text they are spaces, in JSON
// escapes that say the same.
func TestNoNameTurnsALineAround(t *testing.T) {
	now := time.Now().UTC()
	bad := func(s string) string { return s + "\u202e\u2066\u200f\U000E0041\u009b[2J" }
	target := &event.Target{ID: "srv-1", Class: bad("server"), Address: bad("10.0.0.1"), Team: bad("net"), Lifecycle: event.Active, Labels: map[string]string{"name": bad("web")}, Checks: []event.Check{{Name: bad("ping"), Kind: "icmp"}}}
	target.Version = target.ComputeVersion()
	alert := &event.Alert{
		ID: "alert1", Name: bad("Down"), Rule: bad("hosts/Down"), State: event.AlertFiring, Target: bad("srv"), Team: bad("net"), Domain: "default", Severity: bad("critical"),
		StartsAt: now, Updated: now, Annotations: map[string]string{"summary": bad("no answer")},
	}
	incident := &event.Incident{
		ID: "inc1", Domain: "default", State: event.IncidentOpen, Kind: event.IncidentOwn, Team: bad("net"), Cause: bad("srv"), Title: bad("it is down"), Severity: bad("critical"),
		OpenedAt: now, Updated: now, Revision: 1, Urgency: event.UrgencyPage, Ack: &event.Ack{By: bad("jo"), At: now, Until: now.Add(time.Hour)}, Assignee: bad("sun"),
		Muted: []event.Reason{{Code: "silenced", Text: bad("by lee")}}, Next: &event.NextStep{At: now.Add(time.Hour), Text: bad("the secondary")},
		Alerts: []event.IncidentAlert{{ID: "alert1", Name: bad("Down"), Target: bad("srv")}}, Acts: []event.Act{{Kind: event.Remark, By: bad("jo"), At: now, Text: bad("looking")}},
		Reason: event.Reason{Code: "alert", Text: bad("Down fires")},
	}
	page := &event.Page{
		ID: "page1", Incident: "inc1", Domain: "default", Team: bad("net"), Receiver: bad("pager"), Person: bad("jo"), Kind: event.PageFiring, Stage: event.PageSent, Attempts: 1,
		Title: bad("it is down"), Text: bad("since") + "\n" + bad("noon"), Response: bad("202"), Created: now, Updated: now, Reason: event.Reason{Code: "sent"},
	}
	silence := &event.Silence{
		ID: "silence1", Kind: event.MaintenanceWindow, Matchers: []event.Matcher{{Name: "team", Value: bad("net")}}, StartsAt: now, EndsAt: now.Add(time.Hour),
		By: bad("jo"), Comment: bad("rack 7"), Updated: now,
	}
	run := asked(t, target, alert, incident, page, silence)
	for _, c := range []struct {
		cmd  *cobra.Command
		args []string
	}{
		{newList(targetsView), []string{"list"}},
		{newList(targetsView), []string{"show", "srv-1"}},
		{newList(alertsView), []string{"list"}},
		{newList(incidentsView), []string{"list"}},
		{newList(incidentsView), []string{"list", "-o", "json"}},
		{newPages(), []string{"list"}},
		{newPages(), []string{"show", "page1"}},
		{newWhy(), []string{"alert1"}},
		{newWhy(), []string{"inc1", "-o", "json"}},
		{newTopics(), nil},
		{newTail(), []string{"incidents.v1", "--from", "beginning", "--limit", "1"}},
		{newTail(), []string{"incidents.v1", "--from", "beginning", "--limit", "1", "-o", "json"}},
	} {
		out, errs, err := run(c.cmd, c.args...)
		if err != nil {
			t.Errorf("%s %q: %v", c.cmd.Name(), c.args, err)
		}
		if i := strings.IndexFunc(out+errs, func(r rune) bool { return line.Hidden(r) && r != '\n' }); i >= 0 {
			t.Errorf("%s %q:\n%q", c.cmd.Name(), c.args, out+errs)
		}
		if slices.Contains(c.args, "json") && !strings.Contains(out, `\u202e\u2066\u200f\udb40\udc41\u009b[2J`) {
			t.Errorf("%s %q does not say the same:\n%s", c.cmd.Name(), c.args, out)
		}
	}
	var b bytes.Buffer
	must(t, printJSON(&b, []string{bad("a"), "한글 · ✓"}))
	var back []string
	must(t, json.Unmarshal(b.Bytes(), &back))
	if !slices.Equal(back, []string{bad("a"), "한글 · ✓"}) || !strings.Contains(b.String(), "한글 · ✓") {
		t.Errorf("%s", b.String())
	}
}
