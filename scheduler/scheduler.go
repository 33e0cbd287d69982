// Package scheduler decides when: Targets in, Jobs out.
//
// In: Targets, as the cmdb publishes them. Out: one Job for each check of each target in each of its slots.
// It promises that a slot is computed from target and check alone, so that restarts and other owners mean the same
// jobs; that what is due is published within a second or counted as missed; and that nothing is caught up in a storm.
// It never polls a target and never waits for a result.
package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
)

// ErrZone is wrapped when a target is in a zone that is not configured: no poller would take its jobs.
var ErrZone = errors.New("no poller is configured for the zone")

// Options of New.
type Options struct {
	Bus   *bus.Bus
	Scope obs.Scope
	// Zones are those that there are pollers for; none means event.DefaultZone.
	Zones []string
	// Canary is told when the canary's jobs are published; it may be nil.
	Canary *canary.Tracker
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Room is the scheduler.
type Room struct {
	bus    *bus.Bus
	scope  obs.Scope
	zones  []string
	canary *canary.Tracker
	now    func() time.Time

	jobs, refused, missed *prometheus.CounterVec
	targets               *prometheus.GaugeVec
	delay                 *prometheus.HistogramVec

	publishing, saving obs.Trouble
	unsaid             unsaid
}

// Why a slot was missed, the label of kemi_scheduler_slots_missed_total.
const (
	missedStopped = "stopped" // no scheduler ran
	missedPause   = "pause"   // the scheduler was held up, or the clock was put forward
	missedLate    = "late"    // the bus did not take the job in time
	missedRefused = "refused" // the topic never takes the job, for its size; it is on dead.v1
)

// New makes the scheduler.
func New(o Options) (*Room, error) {
	if o.Bus == nil {
		return nil, fmt.Errorf("make scheduler: no bus")
	}
	if len(o.Zones) == 0 {
		o.Zones = []string{event.DefaultZone}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	scope := o.Scope.For("scheduler")
	r := &Room{
		bus: o.Bus, scope: scope, zones: o.Zones, canary: o.Canary, now: o.Now,
		jobs:    scope.Counter("kemi_scheduler_jobs_total", "Jobs published."),
		refused: scope.Counter("kemi_scheduler_targets_refused_total", "Targets that came in and could not be scheduled, or not all of their checks.", "reason"),
		missed:  scope.Counter("kemi_scheduler_slots_missed_total", "Slots of which no job was published.", "reason"),
		targets: scope.Gauge("kemi_scheduler_targets", "Targets that have something scheduled.", "partition"),
		delay: scope.Histogram("kemi_scheduler_start_delay_seconds", "Time from a slot to when its job was stored on the bus.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15}),
	}
	for _, reason := range []string{missedStopped, missedPause, missedLate, missedRefused} {
		r.missed.WithLabelValues(reason)
	}
	return r, nil
}
