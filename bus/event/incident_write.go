package event

// write implements written.
func (i *Incident) write(w *writer) {
	w.text("id", i.ID)
	w.text("domain", i.Domain)
	w.text("state", string(i.State))
	w.some("kind", string(i.Kind))
	w.text("team", i.Team)
	w.text("cause", i.Cause)
	w.text("title", i.Title)
	w.some("severity", i.Severity)
	list(w, "alerts", i.Alerts)
	w.int("firing", i.Firing)
	list(w, "left", i.Left)
	w.someCounts("suppressed", i.Suppressed)
	w.someInt("suppressed_total", i.SuppressedTotal)
	w.someCounts("suppressed_peak", i.SuppressedPeak)
	list(w, "examples", i.Examples)
	w.someTexts("roots", i.Roots)
	w.someInt("joined", i.Joined)
	w.time("opened_at", i.OpenedAt)
	if len(i.Reopened) > 0 {
		w.name("reopened")
		w.out = append(w.out, '[')
		for _, t := range i.Reopened {
			w.comma()
			w.at(t)
		}
		w.out = append(w.out, ']')
	}
	w.someTime("resolved_at", i.ResolvedAt)
	w.time("updated", i.Updated)
	w.int("revision", i.Revision)
	w.someTexts("told", i.Told)
	w.some("urgency", string(i.Urgency))
	w.someTrue("suspected", i.Suspected)
	w.some("flapping", i.Flapping)
	w.some("cleared", i.Cleared)
	list(w, "muted", i.Muted)
	if i.Ack != nil {
		w.field("ack", i.Ack)
	}
	w.some("assignee", i.Assignee)
	w.someTime("snoozed_until", i.SnoozedUntil)
	w.someInt("step", i.Step)
	w.someInt("round", i.Round)
	if i.Next != nil {
		w.field("next", i.Next)
	}
	list(w, "repeats", i.Repeats)
	list(w, "acts", i.Acts)
	list(w, "changes", i.Changes)
	w.field("reason", &i.Reason)
}

// write implements written.
func (a *Ack) write(w *writer) {
	w.text("by", a.By)
	w.time("at", a.At)
	w.someTime("until", a.Until)
	w.some("comment", a.Comment)
}

// write implements written.
func (s *NextStep) write(w *writer) {
	w.time("at", s.At)
	w.some("team", s.Team)
	w.someTexts("who", s.Who)
	w.someTrue("asleep", s.Asleep)
	w.someTrue("anew", s.Anew)
	w.text("text", s.Text)
}

// write implements written.
func (a *Act) write(w *writer) {
	w.text("kind", string(a.Kind))
	w.some("by", a.By)
	w.time("at", a.At)
	w.some("text", a.Text)
}

// write implements written.
func (c *Change) write(w *writer) {
	w.time("at", c.At)
	w.text("text", c.Text)
}

// write implements written.
func (a *IncidentAlert) write(w *writer) {
	w.text("id", a.ID)
	w.text("name", a.Name)
	w.text("target", a.Target)
	w.text("state", string(a.State))
	w.some("severity", a.Severity)
	w.some("summary", a.Summary)
	w.some("description", a.Description)
	w.some("runbook", a.Runbook)
	w.some("graph", a.Graph)
	if len(a.Labels) > 0 {
		w.labels("labels", a.Labels)
	}
	w.number("value", a.Value)
	w.some("threshold", a.Threshold)
	w.time("starts_at", a.StartsAt)
}

// write implements written.
func (a *AlertLeft) write(w *writer) {
	w.text("id", a.ID)
	w.time("at", a.At)
}

// write implements written.
func (a *SuppressedAlert) write(w *writer) {
	w.text("id", a.ID)
	w.text("name", a.Name)
	w.text("target", a.Target)
	w.some("class", a.Class)
	w.field("reason", &a.Reason)
}
