package bus

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

const (
	// standsAfter is for how long dead.v1 may refuse a letter before whoever wants to get rid of it counts as standing still.
	standsAfter = 10 * time.Second
	// standsUntil is for how long it counts when nobody tries any more: the partition may be another's by then.
	standsUntil = time.Minute
)

// stuck is who stands still because dead.v1 does not take what he cannot handle.
type stuck struct {
	mu  sync.Mutex
	all map[place]trial
}

// trial is a letter that is tried again and again.
type trial struct {
	begun, last time.Time
	err         error
}

// tried notes what came of putting a letter on dead.v1. That the broker is away is no matter of dead.v1.
func (s *stuck) tried(at place, now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || errors.Is(err, driver.ErrAway) || errors.Is(err, driver.ErrFenced) || errors.Is(err, driver.ErrClosed) {
		delete(s.all, at)
		return
	}
	if s.all == nil {
		s.all = map[place]trial{}
	}
	t := s.all[at]
	if now.Sub(t.last) > standsUntil {
		t.begun = now
	}
	t.last, t.err = now, err
	s.all[at] = t
}

// StandStill lists who stands still in this process because dead.v1 does not take what he cannot handle, in words: a group
// in one partition of a topic, or who publishes there.
func (b *Bus) StandStill() []string {
	now := time.Now()
	b.stuck.mu.Lock()
	defer b.stuck.mu.Unlock()
	var all []string
	for at, t := range b.stuck.all {
		if now.Sub(t.last) > standsUntil {
			delete(b.stuck.all, at)
			continue
		}
		if now.Sub(t.begun) < standsAfter {
			continue
		}
		who := fmt.Sprintf("the group %s stands still in partition %d of %s", at.group, at.partition, at.topic)
		if at.group == groupPublisher {
			who = "whoever publishes on " + at.topic + " stands still"
		}
		all = append(all, fmt.Sprintf("%s: %s has not taken what cannot be handled for %s: %v%s", who, topicDead.Name, now.Sub(t.begun).Round(time.Second), t.err, raise(t.err)))
	}
	slices.Sort(all)
	return all
}

// raise says what to change where dead.v1 does not take a letter.
func raise(err error) string {
	switch {
	case errors.Is(err, driver.ErrTooLarge):
		return ": raise the size of a record on " + topicDead.Name + " (NATS: nats stream edit PREFIX_dead_v1 --max-msg-size=-1; Kafka: max.message.bytes of PREFIX." + topicDead.Name + ")"
	case errors.Is(err, driver.ErrFull):
		return ": " + topicDead.Name + " is full: raise what it may hold and let the oldest go (NATS: nats stream edit PREFIX_dead_v1 --max-bytes=" +
			strconv.FormatInt(topicDead.MaxBytes, 10) + " --max-msgs=-1 --discard=old; Kafka: cleanup.policy=delete and retention.bytes of PREFIX." + topicDead.Name + "), or the room of the broker"
	}
	return ""
}
