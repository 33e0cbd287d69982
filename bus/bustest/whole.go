package bustest

import (
	"bytes"
	"time"

	"kemi.dev/kemi/bus/history"
)

var whole = []clause{
	{"the history of a whole run, with members that come, go and are lost, keeps every rule", wholeRun},
}

// wholeRun is the load of the fault runs in small, and their checker: what the other clauses look at one by one goes on at
// once here.
func wholeRun(e *env) {
	var log bytes.Buffer
	r := history.NewRecorder(&log, "whole")
	scene := history.Scene{
		Workload:   history.Workload{Name: "whole", Seed: 1, Settle: e.h.Hold, Window: 32, Timeout: e.h.Patience / 4},
		Publishers: 2, Calls: 60, Patience: 2 * e.h.Patience,
		Open:    e.h.Open,
		Disturb: e.h.Lose,
	}
	if err := scene.Play(e.ctx, r); err != nil {
		e.Errorf("play: %v", err)
	}
	if err := r.Close(); err != nil {
		e.Fatalf("record: %v", err)
	}
	// A commit that was accepted may be written a moment later, and a member that was lost may acknowledge work that is on
	// its way to another.
	v, err := history.Check(history.Rules{CommitDelay: time.Second, AckDelay: time.Minute}, &log)
	if err != nil {
		e.Fatalf("check: %v", err)
	}
	if !v.OK() || v.Counts.Reads < 7 || v.Counts.Acknowledged < 300 || v.Counts.Foreign > 0 {
		e.Fatalf("%s", v)
	}
}
