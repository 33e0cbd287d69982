package alerting

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Restore takes in what was published before: the newest record of each incident and every page known. It comes before
// the first Alert; the targets may come before or after. Incidents whose alerts are gone meanwhile end in the first
// Step, and those who were told of them are told.
func (d *Desk) Restore(incidents []*event.Incident, pages []*event.Page) {
	told := map[string]*toldOf{}
	known := map[string]bool{}
	records := slices.Clone(incidents)
	for _, i := range records {
		known[i.ID] = true
	}
	for _, p := range pages {
		t := told[p.Incident]
		if t == nil {
			t = &toldOf{fires: map[string]int{}, updates: map[string]int{}, calls: map[string]time.Time{}, began: map[int]time.Time{}}
			told[p.Incident] = t
		}
		t.note(p)
		if !known[p.Incident] && p.Snapshot != nil {
			known[p.Incident] = true // The page was stored and then the process died.
			records = append(records, p.Snapshot)
		}
	}
	slices.SortFunc(records, func(a, b *event.Incident) int {
		return cmp.Or(a.OpenedAt.Compare(b.OpenedAt), cmp.Compare(a.ID, b.ID))
	})
	for _, r := range records {
		t := told[r.ID]
		if t == nil {
			t = &toldOf{}
		}
		d.restore(r, t)
	}
}

// toldOf is what the ledger knows of one incident.
type toldOf struct {
	who     []string        // In the order in which they were told.
	fires   map[string]int  // In which round each was told last that it fires.
	overs   []int           // After which rounds they were told that it is over, from 1.
	newest  *event.Incident // As the newest of its pages says it.
	at      time.Time
	called  time.Time            // When an escalation called somebody last.
	calls   map[string]time.Time // When each was called last, whatever for.
	began   map[int]time.Time    // When the first was told in each round that it fires.
	overAt  time.Time            // When somebody was told last that it is over.
	updates map[string]int
	said    []*event.Incident // As each of its pages says it that does not say that it is over.
}

func (t *toldOf) note(p *event.Page) {
	round, who := roundOf(p), whoOf(p)
	switch p.Kind {
	case event.PageResolved:
		t.overs = append(t.overs, round)
		if p.Created.After(t.overAt) {
			t.overAt = p.Created
		}
		if p.Snapshot != nil && p.Snapshot.Reason.Code == ReasonByHand {
			t.newest = p.Snapshot
		}
		return
	case event.PageFiring:
		if p.Created.After(t.called) && escalates(p.Reason.Code) {
			t.called = p.Created
		}
		if p.Created.After(t.calls[who]) {
			t.calls[who] = p.Created
		}
	case event.PageUpdate:
		t.updates[who]++
	default:
		return
	}
	if first := t.began[round]; first.IsZero() || p.Created.Before(first) {
		t.began[round] = p.Created
	}
	if t.fires[who] == 0 {
		t.who = append(t.who, who)
	}
	t.fires[who] = max(t.fires[who], round)
	if p.Snapshot != nil {
		t.said = append(t.said, p.Snapshot)
	}
	if p.Snapshot != nil && !p.Created.Before(t.at) {
		t.newest, t.at = p.Snapshot, p.Created
	}
}

// over is the last round after which they were told that it is over, or the n-th before that; 0 is none.
func (t *toldOf) over(n int) int {
	rounds := slices.Sorted(slices.Values(t.overs))
	if rounds = slices.Compact(rounds); len(rounds) <= n {
		return 0
	}
	return rounds[len(rounds)-1-n]
}

// worstOf is how bad a record says the incident's own alerts are.
func worstOf(r *event.Incident) string {
	worst := ""
	for _, a := range r.Alerts {
		worst = worse(worst, a.Severity)
	}
	return cmp.Or(worst, r.Severity)
}

func (d *Desk) restore(r *event.Incident, t *toldOf) {
	fire := fireOf(r)
	if times := fired(r); len(times) > 0 {
		d.fires[fire] = append(d.fires[fire], times...)
		slices.SortFunc(d.fires[fire], time.Time.Compare)
	}
	if r.OpenedAt.After(d.newest) {
		d.newest = r.OpenedAt
	}
	unsaid := false // What the record has to say yet.
	if said := t.newest; said != nil && said.Revision >= r.Revision && (r.State != event.IncidentResolved || said.Round > r.Round) {
		unsaid = true
		newer := *said // The page was stored, and what followed from it was not.
		newer.Told = r.Told
		if r.State == event.IncidentResolved {
			newer.Told = nil // It fires again, and who was told of that the pages say.
		}
		r = &newer
	}
	byHand := r.State == event.IncidentResolved && r.Reason.Code == ReasonByHand && (r.Firing > 0 || unsaid)
	if r.State == event.IncidentResolved && !byHand {
		d.rest(r)
		return
	}
	about := d.graph.node
	if r.Kind == event.IncidentSimilar {
		about = d.graph.group
	}
	n := about(r.Cause)
	inc := &incident{
		rec: *r, members: map[string]*held{}, told: slices.Clone(r.Told), published: true, fire: fire, team: r.Team,
		byHand: byHand, paused: len(r.Muted) > 0, toldTeam: r.Team, toldCause: r.Cause,
		pageAt: r.Updated.Add(d.policy.GroupWait), closed: t.over(0) > r.Round && !byHand,
		calledAt: t.called, calls: t.calls, toldSeverity: worstOf(r),
	}
	if r.State != event.IncidentVerifying && len(r.Muted) == 0 {
		inc.loud = r.Severity
	}
	if said := t.newest; said != nil {
		inc.toldCause, inc.toldTeam, inc.toldSeverity = said.Cause, said.Team, worstOf(said)
		if severity(said.Severity) < severity(inc.toldSeverity) {
			inc.toldSeverity = said.Severity // What is worse was held back.
		}
	}
	over := t.over(0)
	if inc.closed || byHand {
		over = t.over(1)
	}
	inc.restorePeak(t, over)
	for round, at := range t.began {
		if round > over && (inc.toldAt.IsZero() || at.Before(inc.toldAt)) {
			inc.toldAt = at
		}
	}
	for _, who := range t.who {
		if t.fires[who] > over && !slices.Contains(inc.told, who) {
			inc.told = append(inc.told, who)
		}
	}
	if len(inc.told) == 0 {
		inc.former, inc.overAt = t.who, t.overAt
	} else if said := t.newest; said != nil && len(r.Muted) > 0 {
		inc.loud = said.Severity
	}
	for _, act := range r.Acts {
		if act.Kind == event.Unacknowledge && act.At.After(t.called) {
			inc.resume = ReasonUnacknowledged // And nobody was called since.
		}
	}
	inc.restoreJoined(t)
	for _, updates := range t.updates {
		inc.updates = max(inc.updates, updates)
	}
	switch {
	case byHand:
	case len(inc.told) > 0:
		if inc.rec.State == event.IncidentVerifying {
			inc.rec.State = event.IncidentOpen
		}
		if inc.toldCause != r.Cause {
			inc.updateAt = r.Updated
		}
	case r.State == event.IncidentVerifying:
		d.waiting++
		d.shown++
	}
	d.incidents[r.ID], d.restored, d.order = inc, append(d.restored, inc), append(d.order, inc)
	if often := r.Flapping; !byHand && (often != "" || r.Reason.Code == ReasonFlapping) {
		d.flaps(inc, cmp.Or(often, r.Reason.Text)) // Records of before there was the field have it in the reason.
	}
	inc.attach(d, key{n, r.Kind != event.IncidentDown})
	if r.Kind == event.IncidentSimilar && !byHand {
		d.gathered[n.id] = append(d.gathered[n.id], inc)
	}
	if byHand && d.byKey[inc.key] == nil {
		d.byKey[inc.key] = inc
	}
	if unsaid {
		inc.say(d)
	}
	inc.unclaimed, inc.asOf = r.Firing-len(r.Alerts)-len(r.Examples), r.Updated
	d.restoreCleared(inc)
	d.restoreRoots(inc)
	for _, a := range r.Alerts {
		if (byHand || a.State == event.AlertFiring) && !inc.closed {
			d.claims[a.ID] = inc
		}
	}
}

// Recall takes in what Remember gave, after Restore and before the first Step. For causes that even that does not know
// the incident's word is taken until they are heard.
func (d *Desk) Recall(pieces ...[]byte) error {
	for _, piece := range pieces {
		var all []memory
		if err := json.Unmarshal(piece, &all); err != nil {
			return fmt.Errorf("recall who answers: %w", err)
		}
		for _, m := range all {
			n := d.graph.node(m.Target)
			if m.Heard.Before(n.heard) {
				continue
			}
			d.graph.changes++
			n.state, n.since, n.heard, n.recovered, n.finding = up, m.Since, m.Heard, m.Recovered, m.Finding
			if m.Down {
				n.state = down
			}
			if n.target == nil {
				d.strangers[n] = time.Time{}
			}
		}
	}
	return nil
}

// Presume believes the open incidents about causes of which nothing is known; Step has those asked. It comes after
// everything that could be known was taken in.
func (d *Desk) Presume() {
	for _, inc := range d.order {
		n := inc.key.node
		if d.incidents[inc.rec.ID] != inc {
			continue
		}
		d.invite(n)
		d.presumeRoots(inc)
		if inc.key.own || inc.rec.State != event.IncidentOpen || n.state != unheard || n.target == nil {
			continue
		}
		switch {
		case d.doubtsAnew(inc):
			continue
		case inc.rec.Suspected:
			n.suspected, n.before = true, n.state
			d.suspects[n] = struct{}{}
		case !n.pollable():
			continue // Only its alerts know.
		}
		d.graph.changes++
		n.state, n.since = down, inc.rec.OpenedAt
		d.stir(n)
	}
}

// memory is what is kept of a target's answering.
type memory struct {
	Target    string    `json:"t"`
	Down      bool      `json:"d,omitempty"`
	Since     time.Time `json:"s"`
	Heard     time.Time `json:"h"`
	Recovered time.Time `json:"r,omitzero"`
	Finding   string    `json:"f,omitempty"`
}

// memoryPiece is how many targets go into one piece: some 500 kB.
const memoryPiece = 2500

// Remember gives what Recall takes: the targets that are down, and those heard since a time, in pieces of at most some
// 500 kB.
func (d *Desk) Remember(since time.Time) [][]byte {
	var all []memory
	for _, n := range d.graph.nodes {
		if n.reported || n.suspected {
			continue // The alerts say it again.
		}
		if n.gone() || (n.state == up && !n.heard.Before(since)) {
			all = append(all, memory{n.id, n.state == down, n.since, n.heard, n.recovered, n.finding})
		}
	}
	slices.SortFunc(all, func(a, b memory) int { return cmp.Compare(a.Target, b.Target) })
	var pieces [][]byte
	for part := range slices.Chunk(all, memoryPiece) {
		data, err := json.Marshal(part)
		if err != nil {
			panic("remember: " + err.Error()) // Strings and times in years of four digits: cannot happen.
		}
		pieces = append(pieces, data)
	}
	return pieces
}

// wentInto finds the incident that people were told of and that has an untold incident's alerts: of the merging only that
// was stored.
func (d *Desk) wentInto(inc *incident) *incident {
	if len(inc.told) > 0 || len(inc.members) > 0 {
		return nil
	}
	if other := inc.key.node.toldIn(); other != nil && !inc.key.own && other != inc && len(other.told) > 0 {
		return other
	}
	for _, said := range inc.rec.Alerts {
		if a := d.alerts[said.ID]; a != nil && a.inc != nil && a.inc != inc && len(a.inc.told) > 0 {
			return a.inc
		}
	}
	return nil
}
