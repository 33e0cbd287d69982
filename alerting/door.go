package alerting

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/pause"
)

const (
	// warmUp is how far back verdicts are read when no state was saved.
	warmUp = time.Hour
	// saveEvery is how often what is known of who answers is saved; what came later is read again.
	saveEvery = 30 * time.Second
	// atOnce bounds how many events are published in one go.
	atOnce = 100
	// overlap is how much of what was heard is heard again after a take-over: brokers' clocks need not agree any better.
	overlap = time.Minute
	// statePosition, stateStored and stateReach name the saved pieces: up to where verdicts are in them, when the newest
	// of these was stored, and the memory.
	statePosition = "position"
	stateStored   = "stored"
	stateReach    = "reach/"
)

// partition is the desk and the ledger of one partition, for one epoch. Its post is the only thing that other
// goroutines touch.
type partition struct {
	room   *Room
	own    *bus.Ownership
	count  int // Partitions of the topic.
	desk   *Desk
	ledger *Ledger

	outbox   []event.Event
	position int64     // Of the newest verdict that the desk knows.
	stored   time.Time // When that one was stored; zero when nobody wrote it down.
	saved    int64
	savedAt  time.Time
	pieces   int
	told     int // Outcomes in the outbox.

	post post
}

// post is what reached the partition by other ways than its topic.
type post struct {
	mu       sync.Mutex
	changes  []change
	findings []bus.Message[event.Finding]
	outcomes []Outcome
	news     []news
	hushed   bool // What holds pages back is not what it was.
	abroad   bool // What explains guests is not.
}

// openPartition loads everything that was decided before.
func (r *Room) openPartition(ctx context.Context, own *bus.Ownership) (*partition, error) {
	p := &partition{
		room: r, own: own, count: (*event.Alert)(nil).Topic().Partitions, desk: NewDesk(r.policy, r.people, r.holds()),
		ledger: NewLedger(r.policy, func(name string) bool { return r.receiver(name).Dedups() }),
	}
	p.ledger.after, p.ledger.gate, p.ledger.refuses, p.ledger.quiet = r.people.after, r.gates, r.gates.Refuses, p.desk.Quiet
	p.ledger.endless = func(name string) bool { return notify.Endless(r.receiver(name)) }
	p.desk.hearing = p.ledger.hearing
	p.desk.Share(r.sources.inhibitor, r.targets.find)
	p.desk.abroad = r.abroad
	now := time.Now()
	if err := p.loadRecords(ctx, now); err != nil {
		return nil, err
	}
	if err := p.loadReach(ctx); err != nil {
		return nil, err
	}
	// A failure below ends this attempt: what it started ends with it.
	fctx, cancel := context.WithCancel(ctx)
	if err := p.loadWorld(fctx, now); err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		cancel()
		r.underWay.forget(p)
		p.unmeasure()
	})
	p.desk.Presume()
	return p, nil
}

// loadRecords reads incidents and pages.
func (p *partition) loadRecords(ctx context.Context, now time.Time) error {
	var incidents []*event.Incident
	open := map[string]bool{}
	err := bus.Snapshot(ctx, p.room.bus, func(m bus.Message[event.Incident]) error {
		if i := m.Event; i != nil && (i.State != event.IncidentResolved || p.room.policy.remembers(i, now)) {
			incidents = append(incidents, i)
			open[i.ID] = i.State != event.IncidentResolved || i.Reason.Code != ReasonByHand // It may fire again.
		}
		return nil
	}, p.own.Partition)
	if err != nil {
		return fmt.Errorf("load incidents: %w", err)
	}
	var pages, recent []*event.Page
	err = bus.Snapshot(ctx, p.room.bus, func(m bus.Message[event.Page]) error {
		g := m.Event
		if g == nil {
			return nil
		}
		if young := now.Sub(g.Updated) <= rememberPages; young || !settled(g) || open[g.Incident] || g.Several() {
			if recent = append(recent, g); g.Several() {
				return nil // The ledger's own.
			}
			_, known := open[g.Incident]
			if open[g.Incident] || (!known && young && !settled(g)) {
				pages = append(pages, g)
			}
		}
		return nil
	}, p.own.Partition)
	if err != nil {
		return fmt.Errorf("load pages: %w", err)
	}
	p.desk.Restore(incidents, pages)
	p.ledger.Restore(recent, now)
	p.decided()
	return nil
}

// loadReach reads what was saved of who answers.
func (p *partition) loadReach(ctx context.Context) error {
	state, err := p.own.LoadState(ctx)
	if err != nil {
		return fmt.Errorf("load who answers: %w", err)
	}
	for name, data := range state {
		if !strings.HasPrefix(name, stateReach) {
			continue
		}
		p.pieces++
		if err := p.desk.Recall(data); err != nil {
			p.room.scope.Log().Warn("saved state cannot be read", "piece", name, "err", err)
		}
	}
	if position, err := strconv.ParseInt(string(state[statePosition]), 10, 64); err == nil {
		p.position, p.saved = position, position
	}
	if stored, err := time.Parse(time.RFC3339Nano, string(state[stateStored])); err == nil {
		p.stored = stored
	}
	return nil
}

// loadWorld reads targets, verdicts and the alerts that fire, and goes on to follow the first two.
func (p *partition) loadWorld(ctx context.Context, now time.Time) error {
	if err := p.room.targets.watch(ctx, p); err != nil {
		return err
	}
	if err := p.room.said.watch(ctx, p); err != nil {
		return err
	}
	if err := p.room.sources.watch(ctx, p); err != nil {
		return err
	}
	p.room.abroad.watch(ctx, p)
	caughtUp := make(chan struct{})
	var once sync.Once
	go p.followFindings(ctx, now, func() { once.Do(func() { close(caughtUp) }) })
	err := bus.Snapshot(ctx, p.room.bus, func(m bus.Message[event.Alert]) error {
		// Of those that are over only the ones matter whose transitions will be handed over again.
		a := m.Event
		if a != nil && a.Rule != event.RuleCanary && (a.State == event.AlertFiring || m.Position >= p.own.From) {
			p.room.sources.ahead(m)
			p.desk.Alert(a)
		}
		return nil
	}, p.own.Partition)
	if err != nil {
		return fmt.Errorf("load alerts: %w", err)
	}
	select {
	case <-caughtUp:
	case <-ctx.Done():
		return ctx.Err()
	}
	if len(p.desk.guests) > 0 {
		if err := p.room.abroad.known(ctx); err != nil {
			return err
		}
	}
	p.takeIn(now)
	return nil
}

// unheard is from where on verdicts are not in what was loaded. A position alone does not say it: a topic that was removed
// and made again counts from the beginning, and may have come past it by now. What is heard twice does no harm.
func (p *partition) unheard(now time.Time) bus.From {
	switch {
	case !p.stored.IsZero() && p.stored.Before(now):
		return bus.From{Time: p.stored.Add(-overlap)}
	case !p.stored.IsZero(): // The broker's clock is ahead, or was.
		return bus.From{Time: now.Add(-overlap)}
	case p.position > 0:
		return bus.From{Position: p.position + 1}
	}
	return bus.From{Time: now.Add(-warmUp)}
}

// followFindings puts verdicts on who answers into the post, until ctx ends.
func (p *partition) followFindings(ctx context.Context, now time.Time, caughtUp func()) {
	from := p.unheard(now)
	for {
		err := bus.FollowKey(ctx, p.room.bus, from, event.RuleReachable, func(m bus.Message[event.Finding]) error {
			from = bus.From{Time: m.Stored}
			if m.Event != nil && m.Event.Rule == event.RuleReachable {
				p.post.mu.Lock()
				p.post.findings = append(p.post.findings, m)
				p.post.mu.Unlock()
				p.own.Wake()
			}
			return nil
		}, caughtUp, p.own.Partition)
		if ctx.Err() != nil {
			return
		}
		p.room.scope.Log().Error("follow findings again", "partition", p.own.Partition, "err", err)
		if !pause.For(ctx, time.Second) {
			return
		}
	}
}

// owns says whether a domain's causes are sought here.
func (p *partition) owns(domain string) bool {
	return bus.Partition(domain, p.count) == p.own.Partition
}

// changed takes a changed target into the post when it concerns the partition.
func (p *partition) changed(c change, ours bool) {
	if ours {
		p.post.mu.Lock()
		p.post.changes = append(p.post.changes, c)
		p.post.mu.Unlock()
		p.own.Wake()
	}
}

// visited takes a changed target of another partition into the post. It wakes nobody: whoever decides looks at the post
// first.
func (p *partition) visited(c change) {
	p.post.mu.Lock()
	p.post.changes, p.post.hushed = append(p.post.changes, c), true
	p.post.mu.Unlock()
}

// takeIn hands the post to desk and ledger.
func (p *partition) takeIn(now time.Time) {
	p.post.mu.Lock()
	changes, findings, outcomes, news := p.post.changes, p.post.findings, p.post.outcomes, p.post.news
	hushed := p.post.hushed || p.post.abroad && len(p.desk.guests) > 0 // Who becomes one later is asked about by then.
	p.post.changes, p.post.findings, p.post.outcomes, p.post.news, p.post.hushed, p.post.abroad = nil, nil, nil, nil, false, false
	p.post.mu.Unlock()
	if hushed {
		p.desk.Hushed()
	}
	for _, c := range changes {
		switch {
		case c.target == nil:
			p.desk.RemoveTarget(c.id)
		case c.foreign:
			p.desk.Guest(c.target)
		default:
			p.desk.SetTarget(c.target)
		}
	}
	for _, m := range findings {
		p.desk.Reachable(m.Event)
		p.position, p.stored = m.Position, m.Stored // The position may go back: a log that was made again begins at 1.
	}
	p.hear(news, now)
	p.told += len(outcomes)
	for _, o := range outcomes {
		line := p.ledger.Outcome(o, now)
		if line == nil {
			continue
		}
		if other := p.ledger.Fallback(line, now); other != nil {
			p.ledger.Take(other, now)
			p.desk.Told(other)
			p.decided() // Before the line: whoever dies in between has forgotten nobody.
		}
		p.outbox = append(p.outbox, line)
		p.decided()
	}
}

// decided puts what the ledger decided into the outbox.
func (p *partition) decided() {
	for _, line := range p.ledger.Lines() {
		p.outbox = append(p.outbox, line)
	}
}

// Handle implements bus.Handler.
func (p *partition) Handle(ctx context.Context, batch []bus.Message[event.Alert]) error {
	var trip time.Time
	for _, m := range batch {
		switch a := m.Event; {
		case a == nil:
		case a.Rule == event.RuleCanary:
			trip = a.Updated
		default:
			p.room.sources.ahead(m)
			p.desk.Alert(a)
		}
	}
	if err := p.pass(ctx, time.Now()); err != nil {
		return err
	}
	if !trip.IsZero() {
		p.room.canary.Mark(canary.StageAlerting, trip)
	}
	return nil
}

// Tick implements bus.Handler.
func (p *partition) Tick(ctx context.Context, now time.Time) error { return p.pass(ctx, now) }

// pass publishes what was decided, decides what follows, and sends what is due. What could not be published is kept
// and published first the next time, before anything else is decided.
func (p *partition) pass(ctx context.Context, now time.Time) error {
	p.takeIn(now)
	if err := p.flush(ctx); err != nil {
		return err
	}
	if len(p.desk.guests) > 0 {
		p.room.abroad.want()
	}
	out := p.desk.Step(now)
	for _, page := range out.Pages {
		p.ledger.Take(page, now)
	}
	for _, page := range p.ledger.Review(now) {
		p.desk.Told(page)
	}
	p.decided()
	for _, i := range out.Incidents {
		p.outbox = append(p.outbox, i)
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	p.verify(ctx, out.Verify, now)
	if due := p.ledger.Due(now); len(due) > 0 && p.room.underWay.begin(ctx, p, len(due)) {
		for _, page := range due {
			p.room.send(ctx, p, page)
		}
	}
	p.decided()
	if err := p.flush(ctx); err != nil { // What is held because there is too much.
		return err
	}
	p.measure(ctx)
	return p.save(ctx, now)
}

// measure tells how much there is to do, unless the partition has gone.
func (p *partition) measure(ctx context.Context) {
	p.post.mu.Lock() // Not after unmeasure.
	defer p.post.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	label := strconv.Itoa(p.own.Partition)
	p.room.open.WithLabelValues(label).Set(float64(p.desk.Open()))
	p.room.unsent.WithLabelValues(label).Set(float64(p.ledger.Unsent()))
}

// unmeasure takes the partition's gauges away: another process has them now.
func (p *partition) unmeasure() {
	p.post.mu.Lock()
	defer p.post.mu.Unlock()
	label := strconv.Itoa(p.own.Partition)
	p.room.open.DeleteLabelValues(label)
	p.room.unsent.DeleteLabelValues(label)
}

// flush publishes the outbox: what the ledger knows is stored from then on, and may be sent.
func (p *partition) flush(ctx context.Context) error {
	for len(p.outbox) > 0 {
		n := min(len(p.outbox), atOnce)
		if err := p.own.Publish(ctx, p.outbox[:n]...); err != nil {
			return err
		}
		for _, e := range p.outbox[:n] {
			if page, ok := e.(*event.Page); ok {
				p.room.pages.WithLabelValues(page.Receiver, string(page.Kind), string(page.Stage)).Inc()
			}
		}
		p.outbox = p.outbox[n:]
	}
	p.outbox = nil
	if p.told > 0 {
		p.room.underWay.end(p, p.told)
		p.told = 0
	}
	return nil
}

// verify asks for polls. A job that could not be published is no worse than one that was not answered. Each zone is
// asked by itself: one that is not configured any more spoils no other.
func (p *partition) verify(ctx context.Context, asks []Verify, now time.Time) {
	jobs := map[string][]event.Event{}
	slot := now.Truncate(time.Millisecond)
	deadline := slot.Add(p.room.policy.VerifyTimeout * 2 / 3)
	for _, v := range asks {
		for _, check := range checksToAsk(v.Target.Checks) {
			job := event.JobFor(v.Target, check, slot, deadline, 0, event.CauseVerify, v.Incident)
			jobs[job.Zone] = append(jobs[job.Zone], job)
		}
	}
	for _, zone := range slices.Sorted(maps.Keys(jobs)) {
		if err := p.room.bus.Publish(ctx, jobs[zone]...); err != nil && ctx.Err() == nil {
			p.room.scope.Log().Warn("ask for verifying polls", "zone", zone, "jobs", len(jobs[zone]), "err", err)
			continue
		}
		p.room.verifies.WithLabelValues().Add(float64(len(jobs[zone])))
	}
}

// checksToAsk picks the checks of a verifying poll: a target answers when any of them is answered, so one that was well
// a moment ago would speak for the others. The device's own protocol goes first.
func checksToAsk(checks []event.Check) []event.Check {
	const most = 3
	sorted := slices.Clone(checks)
	slices.SortStableFunc(sorted, func(a, b event.Check) int {
		rank := func(c event.Check) int {
			if c.Kind == "snmp" {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return sorted[:min(len(sorted), most)]
}

// save keeps what is known of who answers for whoever owns the partition next.
func (p *partition) save(ctx context.Context, now time.Time) error {
	if p.position == p.saved || now.Sub(p.savedAt) < saveEvery {
		return nil
	}
	p.savedAt = now
	pieces := p.desk.Remember(now.Add(-2 * p.room.policy.RerootWithin))
	for i := range max(len(pieces), p.pieces) {
		var data []byte
		if i < len(pieces) {
			data = pieces[i]
		}
		if err := p.own.SaveState(ctx, stateReach+strconv.Itoa(i), data); err != nil {
			return fmt.Errorf("save who answers: %w", err)
		}
	}
	p.pieces = len(pieces)
	position := p.position
	if err := p.own.SaveState(ctx, stateStored, []byte(p.stored.UTC().Format(time.RFC3339Nano))); err != nil {
		return fmt.Errorf("save who answers: %w", err)
	}
	if err := p.own.SaveState(ctx, statePosition, []byte(strconv.FormatInt(position, 10))); err != nil {
		return fmt.Errorf("save who answers: %w", err)
	}
	p.saved = position
	return nil
}
