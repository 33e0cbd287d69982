// Package canary remembers how far the canary's trips through the pipeline have come.
//
// In: marks, one for each stage a trip passes, with the trip's slot. Out: the newest trip that passed them all.
// It promises that a stage that stands still shows as a growing age within one interval.
// It never decides what is too old.
package canary

import (
	"sync"
	"time"
)

// Stages of a trip, in order.
const (
	StageSchedule = "schedule"
	StageCollect  = "collect"
	StageSeries   = "series"
	StageRule     = "rule"
	StageAlert    = "alert"
	StageAlerting = "alerting"
)

// Tracker holds the newest slot each stage has seen. It is safe for concurrent use; a nil Tracker ignores marks.
type Tracker struct {
	stages []string

	mu   sync.Mutex
	seen map[string]time.Time
}

// New makes a tracker of trips through the given stages, in the order in which a trip passes them.
func New(stages ...string) *Tracker {
	t := &Tracker{stages: stages, seen: map[string]time.Time{}}
	for _, s := range stages {
		t.seen[s] = time.Time{}
	}
	return t
}

// Mark says that the trip of a slot passed a stage. A stage that the tracker does not follow is ignored.
func (t *Tracker) Mark(stage string, slot time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, followed := t.seen[stage]; followed && slot.After(old) {
		t.seen[stage] = slot
	}
}

// Newest returns the slot up to which trips passed every stage, and the first stage that has seen no newer one: when
// trips stop, that is where. The zero time means that no trip is complete yet.
func (t *Tracker) Newest() (slot time.Time, stops string) {
	return t.NewestOf(func(string) bool { return true })
}

// NewestOf is Newest of the stages that are judged only; stops is "" when none is.
func (t *Tracker) NewestOf(judged func(stage string) bool) (slot time.Time, stops string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, stage := range t.stages {
		if !judged(stage) {
			continue
		}
		if at := t.seen[stage]; stops == "" || at.Before(slot) {
			slot, stops = at, stage
		}
	}
	return slot, stops
}
