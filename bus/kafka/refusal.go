package kafka

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// recent is how long a refusal counts that is not heard again: whoever is refused asks again sooner.
const recent = time.Minute

// refusals are what brokers refuse to do for this user, by what was asked: brokers that answer, and say no. What is done
// in the end is taken off.
type refusals struct {
	some atomic.Bool // There may be one: what works is looked up only then.
	mu   sync.Mutex
	last map[string]*refusal
}

type refusal struct {
	err       error
	since, at time.Time
}

// judge notes what became of something that was asked of the brokers: what, and about which topic or group. What only was in
// vain says nothing about permissions.
func (rs *refusals) judge(verb, about string, err error, now time.Time) {
	if err != nil && !refused(err) || err == nil && !rs.some.Load() {
		return
	}
	what := verb + " " + about
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if have := rs.last[what]; err != nil && have != nil {
		have.err, have.at = err, now
		return
	}
	if delete(rs.last, what); err != nil {
		if rs.last == nil || len(rs.last) >= 1000 {
			rs.last = map[string]*refusal{}
		}
		rs.last[what] = &refusal{err, now, now}
	}
	rs.some.Store(len(rs.last) > 0)
}

// health is nil, or what has been refused for longest, with how many others there are.
func (rs *refusals) health(now time.Time) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var first *refusal
	for what, r := range rs.last {
		switch {
		case now.Sub(r.at) > recent:
			delete(rs.last, what)
		case first == nil || r.since.Before(first.since):
			first = r
		}
	}
	switch {
	case first == nil:
		return nil
	case len(rs.last) > 1:
		return fmt.Errorf("since %s the brokers refuse it: %w; and %d more are refused", first.since.UTC().Format(time.RFC3339), explain(first.err), len(rs.last)-1)
	}
	return fmt.Errorf("since %s the brokers refuse it: %w", first.since.UTC().Format(time.RFC3339), explain(first.err))
}
