// Package canary polls the canary: a target that is always there, so that a stage of the pipeline that stands still
// shows as readings that do not arrive.
//
// In: Jobs of kind kemi-canary. Out: a Reading at once, whose one value is the job's slot.
// It promises to answer without asking anybody. It never fails.
package canary

import (
	"context"
	"encoding/json"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Table and Column name the one value: the slot of the trip in Unix seconds.
const (
	Table  = "canary"
	Column = "kemi_canary_slot_timestamp_seconds"
)

// Poller answers for the canary.
type Poller struct{}

// New makes the poller.
func New() *Poller { return &Poller{} }

// Poll implements poller.Poller.
func (*Poller) Poll(_ context.Context, job *event.Job) *event.Reading {
	r := event.ReadingFor(job)
	r.Started, r.Status = time.Now(), event.StatusOK
	r.Tables = []event.Table{{Name: Table, Rows: 1, Columns: []event.Column{{
		Name: Column, Kind: event.Gauge, Unit: "seconds",
		Gauges: []float64{float64(job.Slot.UnixMilli()) / 1000},
	}}}}
	r.Duration = time.Since(r.Started)
	return r
}

// Spec implements poller.Poller: the canary has no settings.
func (*Poller) Spec(n conf.Node) (json.RawMessage, conf.Problems) {
	return nil, n.Into(&struct{}{})
}
