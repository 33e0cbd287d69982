package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// owner is a member's feed of a Log or Latest topic. One goroutine, run, looks after its leases: it renews and
// commits, takes what is free, and hands over what others should have.
//
// An Ack is accepted when the lease is this member's for certain, and written within tuning.commit. A position that was
// accepted and not yet written when the process dies is delivered again; it is never taken back in favour of a later
// owner that began before it, because that owner could not begin while the lease was valid.
type owner struct {
	feed
	name   string
	prefix string // Begins the keys of the group in both buckets.
	kick   chan struct{}
	silent atomic.Bool // Tests make the member as good as paused.

	events []driver.Delivery // Guarded by the mutex, as is leases.
	leases map[int]*lease

	// The goroutine's own.
	view   map[int]*seen
	epochs map[int]uint64 // The latest of each partition: none begins below it, even when the bucket was lost.
	there  map[string]presence
	latest time.Time // When the bucket stored what any member said last, this one included.
	beaten time.Time
}

// presence is when a member was last heard of, by our clock, and when the bucket stored what it said, by the server's.
type presence struct {
	heard, stored time.Time
}

// seen is what the bucket says about a partition, and since when by our clock.
type seen struct {
	entry
	revision uint64
	at       time.Time
}

func newOwner(d *Driver, t *topic, s driver.Subscription, name string) *owner {
	return &owner{
		feed: newFeed(d, t, s), name: name, prefix: token(t.Name) + "." + token(s.Group) + ".",
		kick: make(chan struct{}, 1), leases: map[int]*lease{}, view: map[int]*seen{}, epochs: map[int]uint64{}, there: map[string]presence{},
	}
}

func (o *owner) begin(context.Context) error {
	o.Tasks.Go(o.run)
	return nil
}

func (o *owner) stir() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// run looks after the leases until the feed is closed.
func (o *owner) run() {
	log := o.d.scope.Log().With("topic", o.t.Name, "group", o.s.Group)
	for attempt := 0; o.Ctx.Err() == nil; attempt++ {
		err := o.attend()
		if o.Ctx.Err() != nil {
			return
		}
		o.d.links[process].warn(log, "look after partitions anew", err)
		if !pause.For(o.Ctx, min(20*time.Millisecond<<min(attempt, 7), time.Second)) || o.d.links[process].connected(o.Ctx) != nil {
			return
		}
	}
}

// attend watches the buckets and acts until something breaks.
func (o *owner) attend() error {
	reborn := o.d.links[process].next()
	ctx, cancel := context.WithCancel(o.Ctx)
	defer cancel()
	leases, err := o.d.groups.Watch(ctx, o.prefix+">")
	if err != nil {
		return fmt.Errorf("watch leases: %w", err)
	}
	defer func() { _ = leases.Stop() }()
	members, err := o.d.members.Watch(ctx, o.prefix+">")
	if err != nil {
		return fmt.Errorf("watch members: %w", err)
	}
	defer func() { _ = members.Stop() }()
	// Whoever was silent while we did not listen gets a whole lease of time. The leases are all told again: the bucket may
	// have been made again meanwhile, and count its revisions from one.
	now := time.Now()
	clear(o.view)
	for m, p := range o.there {
		o.there[m] = presence{now, p.stored}
	}
	clock := time.NewTicker(o.d.tuning.commit)
	defer clock.Stop()
	complete := 0
	o.beaten = time.Time{}
	for {
		select {
		case <-o.Ctx.Done():
			return o.Ctx.Err()
		case <-reborn:
			return errReborn
		case e, ok := <-leases.Updates():
			switch {
			case !ok:
				return errors.New("the watch of leases ended")
			case e == nil:
				complete++
			default:
				o.see(e)
			}
			if len(leases.Updates()) > 0 {
				continue
			}
		case e, ok := <-members.Updates():
			switch {
			case !ok:
				return errors.New("the watch of members ended")
			case e == nil:
				complete++
			default:
				o.hear(e)
			}
			if len(members.Updates()) > 0 {
				continue
			}
		case <-o.kick:
		case <-clock.C:
		}
		if o.silent.Load() || !o.d.links[process].there() {
			continue
		}
		if err := o.step(time.Now(), complete >= 2); err != nil {
			return err
		}
	}
}

// see notes a change of a lease.
func (o *owner) see(e jetstream.KeyValueEntry) {
	p, err := strconv.Atoi(strings.TrimPrefix(e.Key(), o.prefix+"p"))
	if err != nil || p < 0 || p >= o.t.Partitions {
		return
	}
	if have := o.view[p]; have != nil && have.revision >= e.Revision() {
		return
	}
	s := &seen{revision: e.Revision(), at: time.Now()}
	if e.Operation() == jetstream.KeyValuePut {
		_ = json.Unmarshal(e.Value(), &s.entry) // What cannot be read has no owner.
	}
	o.view[p], o.epochs[p] = s, max(o.epochs[p], s.Epoch)
}

// hear notes that a member is there, or gone.
func (o *owner) hear(e jetstream.KeyValueEntry) {
	name := strings.TrimPrefix(e.Key(), o.prefix+"m-")
	o.latest = e.Created()
	if e.Operation() == jetstream.KeyValuePut {
		o.there[name] = presence{time.Now(), e.Created()}
	} else {
		delete(o.there, name)
	}
}

// lives says whether a member, last heard of at that time, may still be alive.
func (o *owner) lives(name string, at, now time.Time) bool {
	if h := o.d.host; h != nil && !strings.HasPrefix(name, h.run+"-") {
		return false // It was of a process that is gone: only this one reaches the servers.
	}
	return name == o.name || now.Sub(at) < o.d.tuning.lease
}

// step does what is due.
func (o *owner) step(now time.Time, complete bool) error {
	ctx, cancel := context.WithTimeout(o.Ctx, o.d.tuning.lease/2)
	defer cancel()
	o.Mu.Lock()
	mine := make([]*lease, 0, len(o.leases))
	for _, l := range o.leases {
		mine = append(mine, l)
	}
	o.Mu.Unlock()
	for _, l := range mine {
		o.Mu.Lock()
		release := l.leaving && (len(l.open) == 0 || now.After(l.leaveBy))
		due := l.acked > l.wrote && now.Sub(l.written) >= o.d.tuning.commit || now.Sub(l.written) >= o.d.tuning.lease/3
		o.Mu.Unlock()
		// What somebody else is just writing is not waited for, the other leases are to be renewed meanwhile.
		if (release || due) && l.cas.TryLock() {
			err := l.put(ctx, release)
			l.cas.Unlock()
			if err != nil && !errors.Is(err, driver.ErrFenced) {
				return err
			}
		}
	}
	if now.Sub(o.beaten) >= o.d.tuning.lease/3 {
		if _, err := o.d.members.Put(ctx, o.prefix+"m-"+o.name, []byte("1")); err != nil {
			return fmt.Errorf("announce member: %w", err)
		}
		o.beaten = now
	}
	if !complete {
		return nil
	}
	claim, yield := plan(o.name, o.owners(now), o.alive(now))
	for _, p := range claim {
		if err := o.claim(ctx, p); err != nil {
			return err
		}
	}
	o.Mu.Lock()
	defer o.Mu.Unlock()
	for p, l := range o.leases {
		switch leave := slices.Contains(yield, p); {
		case leave && !l.leaving:
			l.leaving, l.leaveBy = true, now.Add(o.d.tuning.handover)
			if len(l.open) == 0 {
				o.stir()
			}
		case !leave && l.leaving: // Who should have it went away.
			l.leaving = false
			l.in.nudge()
			o.Nudge()
		}
	}
	return nil
}

func (o *owner) owners(now time.Time) []string {
	out := make([]string, o.t.Partitions)
	for p, s := range o.view {
		if s.Owner != "" && o.lives(s.Owner, s.at, now) {
			out[p] = s.Owner
		}
	}
	o.Mu.Lock()
	defer o.Mu.Unlock()
	for p := range out {
		if o.leases[p] != nil {
			out[p] = o.name
		} else if out[p] == o.name {
			out[p] = "" // Ours by the bucket, yet not begun: it is to be taken anew.
		}
	}
	return out
}

// alive are the members that are there. A member that was killed is found in the bucket for a while by whoever comes
// later, and by whoever was stopped and hears it all now: it is not there when the others have said something a lease
// later. That the server's clock may jump does no harm: nobody loses a lease by it, and everybody says something anew soon.
func (o *owner) alive(now time.Time) []string {
	out := []string{o.name}
	for m, p := range o.there {
		if m != o.name && o.lives(m, p.heard, now) && o.latest.Sub(p.stored) < o.d.tuning.lease {
			out = append(out, m)
		}
	}
	return out
}
