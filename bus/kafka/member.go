package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
	"kemi.dev/kemi/internal/pause"
)

// member is a feed's place in its group, by Kafka's classic group protocol. Two goroutines look after it: run joins,
// takes over and gives back; keep says that we are alive, and commits. What is held of each partition is a lease.
//
// A rebalance is not a hand-over: whoever joins again says what it owns, and keeps it (see divide), so an epoch goes on
// through any number of generations as long as the broker knows the member by the name it gave it. When it does not any
// more, everything is lost and the member joins anew as somebody else.
type member struct {
	feed
	group  string // As Kafka knows it.
	desks  desks
	home   *coordinator
	client *kafkago.Client // What is asked of the coordinator.
	life   context.Context // Ends after the member left.
	quit   context.CancelFunc
	kick   chan struct{} // Something is to be given back, or the feed was closed.
	again  chan struct{} // The group divides anew.
	pulse  chan struct{} // Somebody waits for a heartbeat.

	called string // The name that was told last. Run's.

	commits sync.Mutex // One commit at a time, so that none overtakes another.

	// Guarded by the feed's mutex.
	id         string // "" before the broker gave one.
	generation int    // -1 before the first.
	joining    bool   // A join or sync is under way, so that the generation may be over without us being out.
	valid      time.Time
	heard      time.Time // When the last request was sent that the broker answered as to a member.
	settled    time.Time // When the last heartbeat was sent that was not told to join again.
	out        bool      // The broker does not know us any more.
	give       int       // How many partitions are to be given back.
	giveBy     time.Time
	abort      context.CancelFunc // Ends a joining that waits; nil when none does.
	fresh      []int              // Ours by the last division, and not taken over yet.
	leases     map[int]*lease
	past       map[int]beginning // What the last epoch of partitions came to that were lost.
	changed    chan struct{}     // Closed when valid or a lease changed.
}

// desks makes what keeps the books of a partition: in order for Log and Latest, one by one for Work.
type desks interface {
	// open begins a partition. It runs with the feed locked.
	open(l *lease)
	// over ends one. It runs with the feed locked.
	over(l *lease)
	// tick is called every tuning.commit, without a lock, and without one twice at a time.
	tick(now time.Time)
}

// groupID is the name of a group in Kafka: one for each topic, so that a group's members of one topic rebalance alone.
func groupID(prefix, group, topic string) string { return prefix + "." + group + "." + topic }

// protocol is how Kemi's members divide partitions; Kafka refuses others that do it in another way.
const dividing = "kemi"

func newMember(d *Driver, t *topic, s driver.Subscription) *member {
	m := &member{
		feed: newFeed(d, t, s), group: groupID(d.config.Prefix, s.Group, s.Topic), generation: -1, leases: map[int]*lease{}, past: map[int]beginning{},
		kick: make(chan struct{}, 1), again: make(chan struct{}, 1), pulse: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	m.home = &coordinator{link: d.link, key: m.group, kind: kafkago.CoordinatorKeyTypeConsumer, node: anyone}
	m.client = &kafkago.Client{Addr: d.link.addr, Transport: m.home}
	m.life, m.quit = context.WithCancel(context.Background())
	return m
}

// begin asks for the coordinators, so that whoever may not use the group, or may not fence what it writes, is told at
// once. Everything else may pass, and is waited for.
func (m *member) begin(ctx context.Context) error {
	homes := []*coordinator{m.home}
	if len(m.s.Writes) > 0 {
		homes = append(homes, newWriter(m.d, &lease{m: m, place: place{m.s.Topic, m.s.Group, 0}}).home)
	}
	for _, home := range homes {
		ask, cancel := context.WithTimeout(ctx, m.d.tuning.lease/3)
		_, err := home.find(ask)
		cancel()
		switch {
		case refused(err):
			return fmt.Errorf("find the coordinator of %s: %w", home.key, err)
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		}
	}
	m.Tasks.Go(m.run)
	m.Tasks.Go(m.keep)
	return nil
}

// signal wakes whoever listens.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// usual is how long a cluster may need to find a group's coordinator, be it a new one or the first ever, without anybody
// being told.
const usual = 5 * time.Second

// trouble is what goes wrong several times in a row. What passes soon is not told; what stays is, ever more rarely.
type trouble struct {
	since   time.Time // When it began; zero while there is none.
	attempt int
	told    bool
}

func (t *trouble) tell(log *slog.Logger, what string, err error) {
	if t.since.IsZero() {
		t.since = time.Now()
	}
	switch {
	case passing(err) && time.Since(t.since) < usual:
		log.Debug(what, "err", err, "attempt", t.attempt)
	case !t.told || t.attempt&(t.attempt-1) == 0:
		t.told = true
		log.Warn(what, "err", explain(err), "attempt", t.attempt)
	}
	t.attempt++
}

// pause is how long to wait before the next attempt.
func (t *trouble) pause(again time.Duration) time.Duration {
	return min(again<<min(t.attempt, 5), 2*time.Second)
}

// run makes the feed a member and keeps it one, until it has left.
func (m *member) run() {
	defer m.quit()
	defer m.introduce("")
	log := m.d.scope.Log().With("topic", m.t.Name, "group", m.s.Group)
	var had trouble
	for m.life.Err() == nil {
		if m.Open() != nil {
			if m.leave() {
				return
			}
			// The group is just dividing anew: what is ours can be committed after that.
		}
		err := m.join()
		m.d.refusals.judge("join", m.group, err, time.Now())
		if err == nil {
			begun := time.Now()
			err = m.stay(log)
			if err == nil || errors.Is(err, kafkago.RebalanceInProgress) || time.Since(begun) > usual {
				had = trouble{}
			}
		}
		switch {
		case err == nil:
			continue
		case isOut(err) || m.isOut():
			m.lose()
			log.Warn("the group goes on without this member: join anew", "err", err)
			continue
		case m.Open() != nil, errors.Is(err, kafkago.RebalanceInProgress):
		default:
			m.home.forget()
			had.tell(log, "join the group again", err)
		}
		waits := m.Ctx
		if m.Open() != nil { // It has ended: a member that is closing would not wait at all.
			waits = m.life
		}
		pause.For(waits, had.pause(m.d.tuning.again))
	}
}

// isOut says that the broker does not count us among the members any more.
func isOut(err error) bool {
	return errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.IllegalGeneration) || errors.Is(err, kafkago.FencedInstanceID)
}

// isOut says that the broker has told us so.
func (m *member) isOut() bool {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	return m.out
}

// lose ends all leases: others may own the partitions already.
func (m *member) lose() {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	m.id, m.generation, m.out, m.joining, m.fresh = "", -1, false, false, nil
	for _, l := range m.leases {
		m.over(l)
	}
}

// over ends a lease, with the feed locked.
func (m *member) over(l *lease) {
	if l.lost {
		return
	}
	l.lost = true
	offset, mark := l.mark()
	m.past[l.partition] = beginning{offset: offset, mark: mark}
	l.cancel()
	delete(m.leases, l.partition)
	m.drop(l)
	m.desks.over(l)
	m.turn()
	m.Nudge()
}

// turn tells those who wait that something changed, with the feed locked.
func (m *member) turn() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// call gives a request to the group's coordinator its time.
func (m *member) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.life, m.d.tuning.lease/3)
}

// patient gives a request to the coordinator more time than that, for what others need not wait for.
func (m *member) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.life, m.d.tuning.lease*2/3)
}

// stay holds the share of a generation: it takes over what is fresh and gives back what is asked for. Nil is to join
// again.
//
// A coordinator that is slow or moves does not end the generation while the heartbeats go on: joining again would disturb
// all the others, and begin from the start what is nearly done.
func (m *member) stay(log *slog.Logger) error {
	var had trouble
	clock := time.NewTicker(m.d.tuning.commit)
	defer clock.Stop()
	for {
		m.Mu.Lock()
		fresh := slices.Clone(m.fresh)
		m.Mu.Unlock()
		switch {
		case m.isOut():
			return kafkago.UnknownMemberId
		case m.Open() != nil:
			return nil
		case len(fresh) > 0:
			switch err := m.takeOver(fresh); {
			case passing(err):
				m.home.forget()
				had.tell(log, "take over again", err)
				pause.For(m.Ctx, had.pause(m.d.tuning.again))
			case err != nil:
				return err
			}
		}
		gave, err := m.giveBack(time.Now())
		if gave || err != nil {
			return err
		}
		select {
		case <-m.life.Done():
			return nil
		case <-m.again:
			return nil
		case <-m.kick:
		case <-clock.C:
		}
	}
}

// giveBack lets go of partitions that others should have: first those of which nothing is in hand, and when the time
// for it is over, of an ordered topic, the others too.
func (m *member) giveBack(now time.Time) (bool, error) {
	m.Mu.Lock()
	all := make([]*lease, 0, len(m.leases))
	for _, l := range m.leases {
		all = append(all, l)
	}
	rank := func(l *lease) int {
		switch {
		case l.desk.idle():
			return 0
		case l.leaving:
			return 1
		}
		return 2
	}
	slices.SortFunc(all, func(a, b *lease) int {
		if x := rank(a) - rank(b); x != 0 {
			return x
		}
		return b.partition - a.partition
	})
	var ready []*lease
	for i, l := range all {
		was := l.leaving
		l.leaving = i < m.give
		if was && !l.leaving { // Who should have it went away, or can have another.
			l.nudge()
			m.Nudge()
		}
		if l.leaving && (l.desk.idle() || now.After(m.giveBy) && m.t.Kind != driver.Work) {
			ready = append(ready, l)
		}
	}
	m.Mu.Unlock()
	if len(ready) == 0 {
		return false, nil
	}
	// What was acknowledged is committed before anybody else can take it.
	if err := m.commit(ready); err != nil {
		return false, err
	}
	m.Mu.Lock()
	defer m.Mu.Unlock()
	m.give = max(0, m.give-len(ready))
	for _, l := range ready {
		m.over(l)
	}
	return true, nil
}

// leave commits and leaves the group, so that others need not wait for the session to end. False is that the commit was
// not taken, and may be in the next generation. Brokers that are away are not waited for: what was not committed comes again.
func (m *member) leave() bool {
	m.Mu.Lock()
	var all []*lease
	for _, l := range m.leases {
		all = append(all, l)
	}
	m.Mu.Unlock()
	err := m.commit(all)
	if err != nil && !errors.Is(err, kafkago.UnknownMemberId) && m.d.link.health() == nil {
		return false
	}
	m.Mu.Lock()
	for _, l := range all {
		m.over(l)
	}
	id := m.id
	m.Mu.Unlock()
	if id == "" || err != nil {
		return true
	}
	ctx, cancel := m.call()
	defer cancel()
	if _, err := m.client.LeaveGroup(ctx, &kafkago.LeaveGroupRequest{GroupID: m.group, Members: []kafkago.LeaveGroupRequestMember{{ID: id}}}); err != nil {
		m.d.scope.Log().Debug("leave group", "group", m.s.Group, "topic", m.t.Name, "err", err)
	}
	return true
}

// Nack implements driver.Feed for ordered topics.
func (m *member) Nack(context.Context, driver.Delivery, time.Duration) error {
	return outlet.ErrNotWork
}

// close commits what was acknowledged, gives up what the member owns and leaves the group.
func (m *member) close() bool {
	if !m.End() {
		return false
	}
	signal(m.kick)
	overdue := time.AfterFunc(m.d.tuning.lease, m.quit)
	defer overdue.Stop()
	m.Tasks.Wait()
	m.Mu.Lock()
	for _, l := range m.leases {
		m.over(l)
	}
	m.Mu.Unlock()
	return true
}
