package alerting

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/hush"

	"kemi.dev/kemi/bus/event"
)

// Desk turns alerts, verdicts and targets into incidents and pages. Inputs are taken in by SetTarget, RemoveTarget,
// Alert and Reachable, in any order and as often as one likes; Step then decides. It is not safe for concurrent use.
type Desk struct {
	policy      Policy
	unreachable *regexp.Regexp
	ways        Ways
	hush        *hush.Set                          // Nil when nothing holds pages back.
	inhibitor   *hush.Inhibitor                    // See Share.
	everywhere  func(id string) *event.Target      // Nil finds the desk's own targets.
	hearing     func(incident, who string) hearing // As the ledger knows it; nil is that whoever is to be told was.
	abroad      *abroad                            // Nil when nothing is known of other domains.
	hushed      int                                // Counts changes of what holds pages back.
	hushSwept   time.Time
	works       []work // Maintenance that people said lately.

	graph     graph
	alerts    map[string]*held
	incidents map[string]*incident // The open ones, by ID.
	order     []*incident          // The same in the order of their opening, and some that ended since the last scan.
	byKey     map[key]*incident    // Those that take in more alerts.
	over      map[string]ended     // Alerts that resolved lately.
	restored  []*incident          // In the order of their opening; until the first Step.
	claims    map[string]*incident // Own alerts of restored incidents, until they are seen again.
	leftovers []*incident          // Restored ones of whose cause it was known that it is none.
	fires     map[fireKey][]time.Time
	flapping  map[fireKey]*incident
	resting   map[restKey]*event.Incident // What was over by itself lately.

	changed  map[*incident]struct{} // Records that differ from what was published last.
	urgent   []*incident            // Those of them to publish in this Step.
	judges   []*held                // Alerts to judge in the next Step.
	reviews  []*incident            // Incidents to review in it.
	loose    map[*held]struct{}
	doubtful map[*node]struct{} // Targets that incidents wait for and nobody has asked yet.
	inflight map[*node]struct{} // Targets that were asked and not heard yet.
	// strangers are those that verdicts came of and the CMDB does not know (yet, or any more), with since when; zero
	// until the next scan.
	strangers      map[*node]time.Time
	suspects       map[*node]struct{}
	guests         map[*node]time.Time    // Targets of other domains that something here is about, with since when it matters what explains them; zero is not yet.
	moved, unasked bool                   // What suspicions go by changed; time alone may change them.
	gathered       map[string][]*incident // Incidents of similar alerts, by what they have in common.
	peers          map[string][]*incident // What may be gathered, as of this Step.
	waiting        int                    // Incidents that are being verified.
	shown          int                    // Of these, the published ones.
	scanned        time.Time
	newest         time.Time // When the newest incident was opened.
	out            Output
}

// Output is what a Step decided, to be published in this order: pages before the incidents that say they were sent.
type Output struct {
	Pages     []*event.Page
	Incidents []*event.Incident
	Verify    []Verify
}

// Verify asks for an immediate poll of a target.
type Verify struct {
	Target *event.Target
	// Incident is the identity of one of those that wait for it.
	Incident string
}

// held is a firing alert.
type held struct {
	event *event.Alert
	node  *node
	inc   *incident
	// cause is what explains it; nil when it is its incident's own.
	cause *node
	// placed is when it came to its incident; loose since when its cause explains it no more.
	placed, loose time.Time
	// spoke names the incident that explained it until it had to speak for itself.
	spoke  string
	queued bool
	hushed bool // Something holds its pages back, as of when its incident's mutes was asked last.
}

// ended is which transition resolved an alert, and when that was seen: what comes again of the time before is old news.
type ended struct{ updated, seen time.Time }

// rememberEnded is how long that is kept.
const rememberEnded = time.Hour

// noTarget begins the names under which alerts without a target are grouped: by what they are called.
const noTarget = event.CauseNoTarget

// key is what an incident is about: a target that is down, or alerts on a target that is not.
type key struct {
	node *node
	own  bool
}

// fireKey is what may flap: a target, or one of its alerts by name.
type fireKey struct{ target, name string }

// NewDesk makes an empty desk. What holds pages back is its own from then on; nil is nothing.
func NewDesk(policy Policy, ways Ways, holds *hush.Set) *Desk {
	d := &Desk{
		policy: policy, ways: ways, hush: holds, unreachable: regexp.MustCompile("^(?:" + policy.Unreachable + ")$"),
		graph:  graph{nodes: map[string]*node{}, within: policy.RerootWithin, changes: 1},
		alerts: map[string]*held{}, incidents: map[string]*incident{}, byKey: map[key]*incident{}, over: map[string]ended{},
		claims: map[string]*incident{}, fires: map[fireKey][]time.Time{}, flapping: map[fireKey]*incident{},
		changed: map[*incident]struct{}{}, loose: map[*held]struct{}{}, doubtful: map[*node]struct{}{}, inflight: map[*node]struct{}{},
		strangers: map[*node]time.Time{}, suspects: map[*node]struct{}{}, gathered: map[string][]*incident{}, resting: map[restKey]*event.Incident{}, guests: map[*node]time.Time{},
	}
	return d
}

// SetTarget takes in a new or changed target.
func (d *Desk) SetTarget(t *event.Target) {
	if t.Lifecycle == event.Retired {
		d.RemoveTarget(t.ID)
		return
	}
	if old := d.find(t.ID); old == nil || old.Version != t.Version || old.Lifecycle != t.Lifecycle {
		d.hushed++ // What holds pages back may go by it.
	}
	n, changed := d.graph.set(t)
	delete(d.guests, n)
	d.graph.changes++ // Its class may be another.
	if !changed {
		return
	}
	if !n.pollable() && !n.reported && !n.suspected && n.state == down { // Nobody will hear of it coming back.
		n.state = unheard
	}
	if n.pollable() && n.reported { // From now on its polls decide.
		n.reported, n.state = false, unheard
	}
	for _, a := range n.alerts {
		d.report(a)
	}
	d.stir(n)
}

// RemoveTarget forgets a target: it explains nothing any more.
func (d *Desk) RemoveTarget(id string) {
	n := d.graph.nodes[id]
	if n == nil || n.target == nil {
		return
	}
	d.stir(n)
	delete(d.doubtful, n)
	delete(d.inflight, n)
	delete(d.suspects, n)
	delete(d.guests, n)
	d.graph.remove(n)
}

// Alert takes in an alert's transition. One that is older than what is known already is ignored.
func (d *Desk) Alert(e *event.Alert) {
	a := d.alerts[e.ID]
	if a != nil && e.Updated.Before(a.event.Updated) {
		return
	}
	switch {
	case e.State == event.AlertResolved:
		if o := d.over[e.ID]; !e.Updated.Before(o.updated) {
			d.over[strings.Clone(e.ID)] = ended{e.Updated, d.scanned} // The ID is a part of all that was read of the alert.
		}
		delete(d.claims, e.ID)
		if a != nil {
			d.drop(a, e.Updated)
		}
	case e.State != event.AlertFiring, !e.Updated.After(d.over[e.ID].updated):
	case a != nil:
		old := a.event
		if old.Updated.Equal(e.Updated) {
			return
		}
		if a.inc != nil {
			a.inc.resaid()
		}
		if a.event = e; saysTheSame(old, e) {
			return // It was only said again.
		}
		if n := d.nodeOf(e); n != a.node {
			d.rehome(a, n)
		}
		d.judge(a)
		a.inc.touch(d)
	default:
		a = &held{event: e}
		d.alerts[e.ID] = a
		d.put(a, d.nodeOf(e))
		if inc := d.claims[e.ID]; inc != nil {
			delete(d.claims, e.ID)
			if !inc.byHand || !e.StartsAt.After(inc.rec.ResolvedAt) {
				inc.take(d, a, inc.claim(a))
			}
		}
		d.judge(a)
	}
}

// saysTheSame reports whether a later transition tells people nothing that the earlier one did not.
func saysTheSame(a, b *event.Alert) bool {
	return a.Unknown == b.Unknown && a.Team == b.Team && a.Severity == b.Severity && a.Value == b.Value && a.Target == b.Target && a.StartsAt.Equal(b.StartsAt) && maps.Equal(a.Annotations, b.Annotations)
}

// drop forgets an alert, which was over at that time.
func (d *Desk) drop(a *held, at time.Time) {
	d.leftNow(a, at)
	if a.inc != nil {
		a.inc.leave(d, a)
	}
	delete(d.loose, a)
	delete(d.alerts, a.event.ID)
	delete(a.node.alerts, a.event.ID)
	d.graph.fires++
	d.withdraw(a.node, at)
	d.graph.forget(a.node)
}

// Reachable takes in a verdict of event.RuleReachable; others, and older ones than the newest known, are ignored.
func (d *Desk) Reachable(f *event.Finding) {
	if f.Rule != event.RuleReachable {
		return
	}
	var state reach
	switch f.Verdict {
	case event.VerdictFiring:
		state = down
	case event.VerdictOK:
		state = up
	default:
		return // Pending and unknown change nothing.
	}
	n := d.graph.node(f.Target)
	if f.At.Before(n.heard) || n.target != nil && !n.pollable() {
		return // Of what is not polled any more nobody would hear that it is back.
	}
	switch {
	case n.suspected && state == up:
		d.clear(n, n.toldOf(), " is up: it answers", f.At)
	case n.suspected:
		d.acquit(n)
	}
	d.graph.changes++
	d.moved = d.moved || len(d.suspects) > 0
	before := n.state
	n.reported = false
	if before != state {
		n.since = f.Since
		if before == down {
			n.recovered = f.At
		}
	}
	n.state, n.heard, n.finding = state, f.At, f.Identity()
	if n.gone() {
		d.accused(n, ReasonDown, n.finding)
	}
	if n.target == nil {
		d.strangers[n] = time.Time{}
	}
	if _, asked := d.inflight[n]; asked && !f.At.Before(n.asked) {
		delete(d.inflight, n)
	}
	if before != state || (state == up && (d.waiting > 0 || len(n.alerts) > 0)) {
		d.stir(n)
	}
}

// stir has everything judged anew that may depend on n.
func (d *Desk) stir(n *node) {
	d.moved, d.graph.changes = true, d.graph.changes+1
	d.graph.below(n, func(n *node) {
		for _, a := range n.alerts {
			d.judge(a)
		}
		for _, inc := range n.incidents {
			inc.review(d)
		}
	})
}

// judge has an alert judged in the next Step.
func (d *Desk) judge(a *held) {
	if !a.queued {
		a.queued = true
		d.judges = append(d.judges, a)
	}
}

// scanEvery is how often Step looks at what only time changes.
const scanEvery = time.Second

// Step decides what follows from what was taken in and from time passing.
func (d *Desk) Step(now time.Time) Output {
	d.peers = nil
	scan := now.Sub(d.scanned) >= scanEvery || now.Before(d.scanned)
	if scan {
		d.scanned = now
		d.scan(now)
		if len(d.restored) == 0 { // Alerts find their incidents first.
			d.suspect(now)
		}
	}
	if len(d.restored) > 0 {
		d.resume(now)
	}
	// A judgement may lead to a review and the other way round. Each round settles something; the bound only guards
	// against a mistake that would have them go round for ever.
	for round := 0; round < 1000 && len(d.judges)+len(d.reviews) > 0; round++ {
		d.judgeAll(now)
		reviews := d.reviews
		d.reviews = nil
		slices.SortFunc(reviews, func(a, b *incident) int {
			return sooner(a.rec.OpenedAt, b.rec.OpenedAt, a.rec.ID, b.rec.ID)
		})
		for _, inc := range reviews {
			inc.queued = false
			if d.incidents[inc.rec.ID] == inc {
				d.examine(inc, now)
			}
		}
	}
	d.ask(now)
	d.publish(now, scan)
	out := d.out
	d.out = Output{} // Commands decide before the next Step.
	return out
}

// judgeAll decides on the alerts that are to be judged.
func (d *Desk) judgeAll(now time.Time) {
	judges := d.judges
	d.judges = nil
	slices.SortFunc(judges, func(a, b *held) int {
		return sooner(a.event.StartsAt, b.event.StartsAt, a.event.ID, b.event.ID)
	})
	for _, a := range judges {
		a.queued = false
		if d.alerts[a.event.ID] == a {
			d.decide(a, now)
		}
	}
}

// scan queues what time alone may have changed.
func (d *Desk) scan(now time.Time) {
	d.reviewAll()
	for a := range d.loose {
		d.judge(a)
	}
	for _, a := range d.alerts {
		// Its cause is down, but nobody heard that the target itself is silent: ask it, when there is time.
		n := a.node
		if a.cause != nil && n.state == up && n.pollable() && now.Sub(a.placed) >= d.policy.VerifyTimeout && n.asked.Before(a.placed) {
			d.doubtful[n] = struct{}{}
		}
	}
	for id, o := range d.over {
		switch {
		case o.seen.IsZero():
			d.over[id] = ended{o.updated, now}
		case now.Sub(o.seen) > rememberEnded:
			delete(d.over, id)
		}
	}
	d.dismiss(now)
	d.leftovers = slices.DeleteFunc(d.leftovers, func(inc *incident) bool { return inc.released })
	d.seeOff()
	d.forgetRested(now)
	if d.hush != nil && now.Sub(d.hushSwept) > time.Hour {
		d.hush.Sweep(now.Add(-time.Hour))
		d.hushSwept = now
	}
	for k, times := range d.fires {
		if now.Sub(times[len(times)-1]) > d.policy.FlapWindow {
			delete(d.fires, k)
		}
	}
}

// forgetStrangers is how long a verdict waits for its target, which comes by another topic, and how long one that comes
// after its target was removed is kept.
const forgetStrangers = 15 * time.Minute

// dismiss forgets the strangers that nothing mentions.
func (d *Desk) dismiss(now time.Time) {
	for n, since := range d.strangers {
		switch {
		case n.target != nil || d.graph.nodes[n.id] != n:
			delete(d.strangers, n)
		case since.IsZero():
			d.strangers[n] = now
		case now.Sub(since) > forgetStrangers && !n.mentioned():
			delete(d.strangers, n)
			d.graph.remove(n)
		}
	}
}
