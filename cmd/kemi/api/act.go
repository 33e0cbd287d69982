package api

import (
	"net/http"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// Act is what is posted about an incident.
type Act struct {
	// By is who does it.
	By string `json:"by"`
	// Comment is why, for people.
	Comment string `json:"comment,omitempty"`
	// Until or For ("2h") say how long an acknowledgement or a snooze holds. An acknowledgement without either holds as
	// long as alerting.ack_for says.
	Until time.Time `json:"until,omitzero"`
	For   string    `json:"for,omitempty"`
	// To is whom it is assigned to.
	To string `json:"to,omitempty"`
}

// Acted is what became of it.
type Acted struct {
	Command *event.Command `json:"command"`
	// Taken says that alerting has taken it in; while it has not, the command waits for it on the bus.
	Taken bool `json:"taken"`
	// Incident is how it is then.
	Incident *event.Incident `json:"incident"`
}

// acts are the words of the path: those of the command line beside those of the events.
var acts = map[string]event.CommandKind{
	"acknowledge": event.Acknowledge, "unacknowledge": event.Unacknowledge, "assign": event.Assign, "comment": event.Remark,
	"resolve": event.Resolve, "snooze": event.Snooze, "ack": event.Acknowledge, "unack": event.Unacknowledge,
}

// longest is how long an acknowledgement or a snooze may hold: what is not to page for longer is for a silence.
const longest = 30 * 24 * time.Hour

func (d *Duty) act(w http.ResponseWriter, r *http.Request) {
	word := r.PathValue("act")
	kind, there := acts[word]
	if !there {
		complain(w, known("act", word, []string{"acknowledge", "assign", "comment", "resolve", "snooze", "unacknowledge"}))
		return
	}
	var a Act
	if !body(w, r, maxCommand, "what to do", &a) {
		return
	}
	inc, err := d.incident(r.PathValue("id"))
	if err != nil {
		complain(w, err)
		return
	}
	c, err := d.command(kind, &a, inc, time.Now().UTC())
	if err == nil {
		err = d.Bus.PublishPromptly(r.Context(), c)
	}
	if err != nil {
		complain(w, err)
		return
	}
	e := d.Model.Effect(r.Context(), c)
	if e.Late {
		complain(w, wrong(http.StatusConflict, "%s is over since %s, before this was taken in: nothing came of it: %s", inc.ID, stamp(e.Incident.ResolvedAt), e.Incident.Title))
		return
	}
	if e.Incident == nil { // Forgotten meanwhile.
		e.Incident = inc
	}
	code := http.StatusOK
	if !e.Taken {
		code = http.StatusAccepted
	}
	answer(w, code, Acted{Command: c, Taken: e.Taken, Incident: e.Incident})
}

// incident finds the incident that an id, or the start of it, means.
func (d *Duty) incident(id string) (*event.Incident, error) {
	var all []*event.Incident
	d.Model.Read(func(s *view.State) { all = s.Incidents(view.Filter{}) })
	return one("incident", id, all, func(i *event.Incident) string { return i.ID }, "kemi incidents list")
}

// command is what somebody says about an incident, or why it cannot be said.
func (d *Duty) command(kind event.CommandKind, a *Act, inc *event.Incident, now time.Time) (*event.Command, error) {
	by, err := byOf(a.By)
	if err != nil {
		return nil, err
	}
	if inc.State == event.IncidentResolved {
		return nil, wrong(http.StatusConflict, "%s is over since %s: %s", inc.ID, stamp(inc.ResolvedAt), inc.Title)
	}
	c := &event.Command{Kind: kind, Subject: inc.ID, By: by, At: now, Comment: strings.TrimSpace(a.Comment)}
	holds := kind == event.Acknowledge || kind == event.Snooze
	if !holds && (a.For != "" || !a.Until.IsZero()) {
		return nil, wrong(http.StatusBadRequest, "%s has no end: leave for and until out", kind)
	}
	if kind != event.Assign && a.To != "" {
		return nil, wrong(http.StatusBadRequest, "%s is to nobody: leave to out, or assign", kind)
	}
	switch kind {
	case event.Unacknowledge:
		if inc.Ack == nil {
			return nil, wrong(http.StatusConflict, "nobody has acknowledged %s: %s", inc.ID, inc.Title)
		}
	case event.Remark:
		if c.Comment == "" {
			return nil, wrong(http.StatusBadRequest, "the comment is empty: write one")
		}
	case event.Assign:
		if a.To == "" {
			return nil, wrong(http.StatusBadRequest, "say to whom: one of people in the configuration")
		}
		if err := known("person", a.To, d.Roster.People()); err != nil {
			return nil, err
		}
		c.Args = map[string]string{"to": a.To}
	}
	if holds {
		until, err := end(a.Until, a.For, now, now)
		switch {
		case err != nil:
			return nil, err
		case until.IsZero() && kind == event.Snooze:
			return nil, wrong(http.StatusBadRequest, "say until when it is not to be spoken of, with until or for")
		case until.After(now.Add(longest)):
			return nil, wrong(http.StatusBadRequest, "%s is more than 30 days away: use a silence for that", stamp(until))
		case !until.IsZero():
			// Up to the next whole second: that is how it is written.
			c.Args = map[string]string{"until": stamp(until.Add(time.Second - 1).Truncate(time.Second))}
		}
	}
	return c, nil
}
