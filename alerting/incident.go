package alerting

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"kemi.dev/kemi/bus/event"
)

// Codes of the reasons for what an incident is.
const (
	// ReasonVerifying: what may explain it is being asked.
	ReasonVerifying = "verifying"
	// ReasonDown: the cause does not answer, and everything it needs was heard to answer.
	ReasonDown = "cause-down"
	// ReasonReported: an alert says that the cause is down, and nobody can ask it.
	ReasonReported = "reported-down"
	// ReasonSuspected: several branches behind the cause fail, none is known to be well, and nobody could ask it.
	ReasonSuspected = "suspected"
	// ReasonSimilar: much of one kind fails at once, and no cause is known that explains it.
	ReasonSimilar = "similar"
	// ReasonAnswers: the target answers, so the alert is its own.
	ReasonAnswers = "target-answers"
	// ReasonUnverified: what may explain it could not be asked or did not answer in time.
	ReasonUnverified = "unverified"
	// ReasonSpoke: the alert was still there when what had explained it was over.
	ReasonSpoke = "suppression-ended"
	// ReasonRerooted: the cause was found after people were told of another.
	ReasonRerooted = "re-rooted"
	// ReasonMerged: another incident explains this one.
	ReasonMerged = event.ReasonMerged
	// ReasonFlapping: it came and went too often; it stays open until it is calm.
	ReasonFlapping = "flapping"
	// ReasonOver: nothing of it is left.
	ReasonOver = event.ReasonOver
	// ReasonUnanswered: it was over before it was known what it is.
	ReasonUnanswered = event.ReasonUnanswered
	// ReasonOverUntold: it was over before its page was due.
	ReasonOverUntold = "over-before-page"
	// ReasonParentDown: why an alert is suppressed.
	ReasonParentDown = "parent-down"
)

// incident is an open incident and what the desk needs to know to lead it.
type incident struct {
	rec     event.Incident
	key     key
	members map[string]*held
	own     map[string]*held // Those of them that nothing explains but itself.
	team    string           // The cause's team, or its alert's.
	told    []string         // Whom, as receiver or receiver/person.
	// former were told that it fired and that it was over, before it fired again; before is the record of then, when this
	// process knows it; overAt is since when they know it to be over.
	former []string
	overAt time.Time
	before *event.Incident

	// verifySince begins the wait for verifying polls, first bounds it over changes of the cause.
	verifySince, first time.Time
	doubts             []*node
	// pageAt is when the firing page is due, updateAt when those who were told hear of another cause.
	pageAt, updateAt time.Time
	toldCause        string
	toldTeam         string
	paused           bool // The escalation is held back; it begins anew when that is over.
	byHand           bool // Somebody resolved it; what still fires stays with it.
	// What is known of what holds its pages back: as of which silences, until when, and that its alerts are others since.
	muted      []event.Reason
	mutedBy    int
	mutedUntil time.Time
	restless   bool
	speaks     *held   // The worst of its own that nothing held back then; nil when all were.
	fresh      []*held // What came to its own since.
	worstOwn   *held   // What severe found, as long as ranked says that it is still that.
	ranked     bool
	found      bool // A cause was found for some of its similar alerts.
	updates    int
	fire       fireKey
	calm       time.Time // Since when it is over but kept open because it flaps.
	settling   bool      // It, or what is above it, came back only now.
	into       string    // The incident that its last alert went to.
	toldJoined int       // How many had gone into it silently when a page said how it is.
	saidAt     time.Time // When one did last.
	standing   int       // How many of its own only stand in for an alert; see standin.go.
	cleared    *node     // What was told as its cause and is not it; see dissolve.
	clearedBy  time.Time // Of one that was restored, when that was known at the latest.
	unlisted   int       // As unclaimed, of one that was restored with a cleared cause.
	peak       *count    // The most it took along.
	counted    uint64    // As of which changes what it takes along was counted; 0 is not yet.
	countedAt  uint64    // And as of which fires, when the cause is only suspected.
	resume     string    // Why the escalation is to begin anew when nothing holds it back.
	// When people were told first, and when its escalation took a step last; and how bad it was when they were called last.
	toldAt, calledAt time.Time
	calls            map[string]time.Time // When each was called last, whatever for.
	toldSeverity     string
	loud             string // How bad it was at worst, of what nothing held back.
	unclaimed        int    // Alerts of it, as of a time, that its record did not list.
	asOf             time.Time

	closed    bool // It ended before a restart, but its record does not say so.
	queued    bool
	released  bool
	published bool
	emitted   time.Time // When it was published last.
}

// open makes the incident of a key; a is the alert that it is opened for.
func (d *Desk) open(k key, a *held, now time.Time) *incident {
	opened := now
	if !opened.After(d.newest) {
		opened = d.newest.Add(1) // No two of one moment: the identity is computed from it.
	}
	d.newest = opened
	inc := &incident{key: k, members: map[string]*held{}, verifySince: now, first: now}
	inc.rec = event.Incident{
		ID:     event.ComputeID("incident", a.event.Domain, k.node.id, strconv.FormatBool(k.own), a.event.ID, opened.UTC().Format(time.RFC3339Nano)),
		Domain: a.event.Domain, State: event.IncidentVerifying, OpenedAt: opened, Updated: now,
		Reason: event.Reason{Code: ReasonVerifying},
	}
	inc.fire = fireKey{target: k.node.id}
	if k.own {
		inc.fire.name = a.event.Name
	}
	if a.spoke != "" {
		inc.rec.Reason = event.Reason{Code: ReasonSpoke, Causes: []string{a.spoke, a.event.ID}}
	}
	d.incidents[inc.rec.ID], d.order = inc, append(d.order, inc)
	d.waiting++
	inc.attach(d, k)
	return inc
}

// attach gives the incident its key.
func (inc *incident) attach(d *Desk, k key) {
	inc.key = k
	inc.rec.Cause, inc.rec.Kind = k.node.id, event.IncidentDown
	switch {
	case k.node.group:
		inc.rec.Kind = event.IncidentSimilar
	case k.own:
		inc.rec.Kind = event.IncidentOwn
	}
	if d.byKey[k] == nil && !inc.closed && (!k.own || len(inc.told) == 0) {
		d.byKey[k] = inc
	}
	k.node.incidents = append(k.node.incidents, inc)
	inc.counted, d.moved = 0, true
	inc.touch(d)
}

// detach takes its key from the incident.
func (inc *incident) detach(d *Desk) {
	if d.byKey[inc.key] == inc {
		delete(d.byKey, inc.key)
	}
	d.moved = true
	n := inc.key.node
	n.incidents = slices.DeleteFunc(n.incidents, func(i *incident) bool { return i == inc })
	d.graph.forget(n)
}

// touch marks the record as changed and has the incident reviewed.
func (inc *incident) touch(d *Desk) {
	if inc != nil {
		d.changed[inc] = struct{}{}
		inc.review(d)
	}
}

// say has the record published in this Step.
func (inc *incident) say(d *Desk) { d.urgent = append(d.urgent, inc) }

// review has the incident examined in this or the next Step.
func (inc *incident) review(d *Desk) {
	if !inc.queued {
		inc.queued = true
		d.reviews = append(d.reviews, inc)
	}
}

// Open counts the open incidents.
func (d *Desk) Open() int { return len(d.incidents) }

// reviewAll has all incidents examined in this Step, in the order of their opening.
func (d *Desk) reviewAll() {
	d.order = slices.DeleteFunc(d.order, func(inc *incident) bool { return inc.released })
	d.reviews = slices.Clone(d.order)
	for _, inc := range d.order {
		inc.queued = true
	}
}

// sooner orders by time, and what is of one moment by id. Comparing ids costs more than times, which mostly differ.
func sooner(a, b time.Time, idA, idB string) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return cmp.Compare(idA, idB)
}

func (inc *incident) take(d *Desk, a *held, cause *node) {
	a.inc = inc
	a.blame(cause)
	inc.members[a.event.ID] = a
	inc.into = ""
	inc.calm = time.Time{}
	inc.touch(d)
}

// blame says what explains an alert of an incident; nil is nothing but itself.
func (a *held) blame(cause *node) {
	inc := a.inc
	if a.cause = cause; cause != nil {
		inc.disown(a)
		inc.restless = true
	} else {
		inc.adopt(a)
	}
}

func (inc *incident) leave(d *Desk, a *held) {
	delete(inc.members, a.event.ID)
	inc.disown(a)
	a.inc, a.cause = nil, nil
	inc.touch(d)
}

// examine leads an incident on: to its true cause, out of verification, to its pages, to its end.
func (d *Desk) examine(inc *incident, now time.Time) {
	switch {
	case inc.byHand:
		if len(inc.members) == 0 {
			d.forgetByHand(inc, now)
		}
		return
	case inc.closed:
		d.end(inc, ReasonOver, now)
		return
	case len(inc.members) == 0 && len(inc.told) == 0 && inc.into != "":
		inc.rec.Reason.Causes = []string{inc.into}
		d.end(inc, ReasonMerged, now)
		return
	case len(inc.members) == 0 && len(inc.told) == 0 && inc.rec.State == event.IncidentVerifying:
		d.end(inc, ReasonUnanswered, now)
		return
	case len(inc.members) == 0 && len(inc.told) == 0 && d.flapping[inc.fire] != inc:
		d.end(inc, ReasonOverUntold, now)
		return
	}
	if over := !d.stands(inc, now) && len(inc.members) == 0 && (inc.key.own || !inc.key.node.gone()); over {
		d.finish(inc, now)
		return
	}
	if d.reroot(inc, now) {
		return
	}
	if inc.rec.State == event.IncidentVerifying && !d.verified(inc, now) {
		return
	}
	if d.dissolve(inc, now) {
		return
	}
	inc.calm = time.Time{}
	d.stale(inc, now)
	d.lead(inc, now)
}

// stale asks for a cause that was not heard of for long: a verdict that was lost must not keep its incident open.
func (d *Desk) stale(inc *incident, now time.Time) {
	const long = 5 * time.Minute
	if n := inc.key.node; !inc.key.own && n.pollable() && now.Sub(n.heard) > long && now.Sub(n.asked) > long {
		d.doubtful[n] = struct{}{}
	}
}

// opened ends verification: the cause is known as well as it can be.
func (d *Desk) opened(inc *incident, code string, causes []string, now time.Time) {
	inc.setDoubts(d, nil, now)
	d.decided(inc)
	inc.rec.State = event.IncidentOpen
	if inc.rec.Reason.Code != ReasonSpoke {
		inc.rec.Reason = event.Reason{Code: code, Causes: causes}
	}
	inc.pageAt = now.Add(d.groupWait(inc, now))
	inc.say(d)
	d.countFire(inc, now)
}

// countFire notes that the incident's cause fired and whether that has become too often.
func (d *Desk) countFire(inc *incident, now time.Time) {
	times := append(d.fires[inc.fire], now)
	times = slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) > d.policy.FlapWindow })
	d.fires[inc.fire] = times
	if len(times) >= d.policy.FlapCount {
		if other := d.flapping[inc.fire]; other != nil && other != inc {
			d.unflap(other) // What fires by that name goes into this one from now on.
			other.touch(d)
		}
		d.flaps(inc, strconv.Itoa(len(times))+" times within "+d.policy.FlapWindow.String())
		inc.rec.Reason = event.Reason{Code: ReasonFlapping, Text: inc.rec.Flapping, Causes: inc.rec.Reason.Causes}
	}
}

// flaps notes that an incident came and went too often; often says how often.
func (d *Desk) flaps(inc *incident, often string) {
	d.flapping[inc.fire], inc.rec.Flapping = inc, often
}

// unflap notes that an incident flaps no more.
func (d *Desk) unflap(inc *incident) {
	inc.rec.Flapping = ""
	if d.flapping[inc.fire] == inc {
		delete(d.flapping, inc.fire)
	}
}

// finish ends an incident of which nothing is left, unless it flaps and is not calm yet.
func (d *Desk) finish(inc *incident, now time.Time) {
	if d.flapping[inc.fire] == inc {
		if inc.calm.IsZero() {
			inc.calm = now
		}
		if now.Sub(inc.calm) < d.policy.FlapCalm {
			return // Also when nobody was told yet: what comes and goes faster than a page waits is told when it comes again.
		}
	}
	code := ReasonOver
	if len(inc.told) == 0 {
		code = ReasonOverUntold
	}
	d.end(inc, code, now)
}

// end closes an incident and tells everybody who was told of it.
func (d *Desk) end(inc *incident, code string, now time.Time) {
	inc.setDoubts(d, nil, now)
	d.decided(inc)
	d.release(inc)
	if n := len(inc.rec.Reopened); n > 0 && inc.rec.State == event.IncidentVerifying {
		inc.rec.Reopened = inc.rec.Reopened[:n-1] // Whether it fired again was only ever a question.
	}
	inc.rec.State, inc.rec.ResolvedAt = event.IncidentResolved, now
	inc.rec.Next, inc.rec.Repeats, inc.rec.Muted = nil, nil, nil
	inc.rec.Reason = event.Reason{Code: code, Causes: inc.rec.Reason.Causes}
	if !inc.published && len(inc.told) == 0 {
		if inc.before != nil {
			d.rest(inc.before)
		}
		return // Nobody ever heard of it.
	}
	d.close(inc, now)
	d.rest(d.emit(inc, now))
}

// close tells whoever was told of an incident that it is over.
func (d *Desk) close(inc *incident, now time.Time) {
	inc.rec.Left = nil
	over := inc.overFor()
	d.render(inc, now)
	for _, who := range over {
		d.page(inc, who, event.PageResolved, inc.rec.Round, "", now)
	}
}

// retell lets those who were told know of the cause that was found since, and tells the team it belongs to when that is
// another: nobody else of the same team is called.
func (d *Desk) retell(inc *incident, now time.Time) {
	inc.updateAt = time.Time{}
	if inc.toldCause == inc.rec.Cause {
		return
	}
	before := slices.Clone(inc.told)
	inc.toldCause = inc.rec.Cause
	var fresh []string
	if team := d.ownerOf(inc); team != inc.toldTeam {
		inc.toldTeam = team
		r := &inc.rec
		r.Urgency, _ = d.ways.Urgency(team, r.Severity, now)
		r.Round, r.Step, r.Next = r.Round+1, 0, nil
		if inc.lookedAfter() || len(r.Muted) > 0 {
			inc.paused = true // Its own people are called when nothing holds that back.
		} else {
			route := d.route(inc, now)
			if fresh, r.Step = d.first(route, r.Urgency, now); r.Step > 0 {
				d.plan(inc, route.Team, now)
			}
			fresh = slices.DeleteFunc(fresh, func(who string) bool { return slices.Contains(before, who) })
			d.await(inc, route, before...)
		}
	}
	inc.told = append(inc.told, fresh...)
	d.render(inc, now)
	for _, who := range before {
		d.page(inc, who, event.PageUpdate, inc.sequence(), "", now)
	}
	inc.updates++
	for _, who := range fresh {
		d.page(inc, who, event.PageFiring, inc.rec.Round*steps, "", now)
	}
	inc.say(d)
}

// page decides a page: it says what the incident is now, however late it will arrive. code says why when that is not
// what the incident is.
func (d *Desk) page(inc *incident, who string, kind event.PageKind, sequence int, code string, now time.Time) {
	snapshot := inc.rec
	if kind != event.PageResolved {
		inc.toldJoined, inc.saidAt = snapshot.Joined, now
	}
	calling, unreached := d.heardBy(inc, now)
	receiver, person := recipient(who)
	reason := inc.rec.Reason
	if code != "" {
		reason = event.Reason{Code: code, Causes: reason.Causes}
	}
	d.out.Pages = append(d.out.Pages, &event.Page{
		ID: event.PageID(inc.rec.ID, who, kind, sequence), Incident: inc.rec.ID, Domain: inc.rec.Domain, Team: inc.rec.Team,
		Receiver: receiver, Person: person, Urgency: inc.rec.Urgency, Step: inc.rec.Step,
		Kind: kind, Stage: event.PageIntent, DedupKey: DedupKey(inc.rec.ID, who),
		Title: inc.rec.Title, Text: text(inc, kind), Snapshot: &snapshot, Created: now, Updated: now, Reason: reason,
		Calling: calling, Unreached: unreached,
	})
}

// forgetByHand forgets an incident that was resolved by hand, of which nothing fires any more.
func (d *Desk) forgetByHand(inc *incident, now time.Time) {
	d.release(inc)
	inc.rec.Firing = 0
	d.emit(inc, now)
}

// decided ends the count of an incident among those that are being verified.
func (d *Desk) decided(inc *incident) {
	if inc.rec.State == event.IncidentVerifying {
		d.waiting--
		if inc.published {
			d.shown--
		}
	}
}

// merge ends an incident of which nobody was told: what it has goes into another, the last of its causes then.
func (d *Desk) merge(inc, into *incident, now time.Time) {
	d.move(inc, into, now)
	inc.rec.Reason.Causes = append(inc.rec.Reason.Causes, into.rec.ID)
	d.end(inc, ReasonMerged, now)
}

// refuse has an incident take in nothing more by what it resembles or how it flaps.
func (d *Desk) refuse(inc *incident) {
	if all := slices.DeleteFunc(d.gathered[inc.rec.Cause], func(i *incident) bool { return i == inc }); len(all) > 0 {
		d.gathered[inc.rec.Cause] = all
	} else {
		delete(d.gathered, inc.rec.Cause)
	}
	d.unflap(inc)
}

// release takes an incident that is over out of everything: what fires anew is another problem.
func (d *Desk) release(inc *incident) {
	for _, s := range inc.standIns() {
		d.unstand(s)
	}
	inc.detach(d)
	d.refuse(inc)
	maps.DeleteFunc(d.claims, func(_ string, i *incident) bool { return i == inc })
	inc.released = true
	delete(d.incidents, inc.rec.ID)
	delete(d.changed, inc)
}

// DedupKey is the same for all pages of an incident to one of whom is told, as receiver or receiver/person.
func DedupKey(incident, who string) string { return event.ComputeID("dedup", incident, who) }
