package processors_test

import (
	"context"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors"
	"kemi.dev/kemi/processors/rule"
)

// A reading of a target that does not answer becomes an alert, by rules that were given while the room ran.
func TestAReadingBecomesAnAlert(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	defer b.Close()
	if err := b.Open(ctx); err != nil {
		t.Fatal(err)
	}
	room, problems := processors.New(processors.Options{Bus: b, DataDir: t.TempDir()})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	rules, problems := rule.Parse("r.yaml", []byte("groups: [{name: g, rules: [{alert: TargetDown, expr: up == 0}]}]"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { done <- room.Run(running) }()
	room.ReloadRules(rules)

	now := time.Now()
	if err := b.Publish(ctx, &event.Reading{
		JobID: "j1", Target: "t1", Check: "snmp", Kind: "snmp", Status: event.StatusTimeout, Slot: now, Started: now, Interval: time.Second,
		Labels: event.LabelsOf(map[string]string{"target": "t1", "team": "net"}),
	}); err != nil {
		t.Fatal(err)
	}
	alerts, found := make(chan *event.Alert, 1), context.Canceled
	if err := bus.Follow(ctx, b, bus.From{}, func(m bus.Message[event.Alert]) error {
		alerts <- m.Event
		return found
	}, nil); err != found {
		t.Fatalf("no alert came: %v", err)
	}
	if a := <-alerts; a.Name != "TargetDown" || a.Target != "t1" || a.Team != "net" || a.State != event.AlertFiring {
		t.Fatalf("got %+v", a)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
