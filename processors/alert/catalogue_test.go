package alert

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/obs"
)

// Untied alerts are looked up again when a target is called otherwise or is another's, and not whenever any target changes.
func TestOnlyWhatTargetsAreCalledIsAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := newCatalogue()
		go func() { _ = c.follow(t.Context(), b) }()
		c.read(func(int, func(string) *event.Target) {})
		x := event.Target{ID: "srv-9", Address: "192.0.2.9", Team: "net", Lifecycle: event.Active, Labels: map[string]string{event.LabelName: "nine"}}
		version := 0
		for _, step := range []struct {
			what    string
			change  func()
			counts  bool
			unknown bool
		}{
			{"it is there", func() {}, true, false},
			{"another label", func() { x.Labels["rack"] = "7" }, false, false},
			{"another check", func() { x.Checks = []event.Check{{Name: "ping", Kind: "ping", Every: time.Minute}} }, false, false},
			{"maintenance", func() { x.Lifecycle = event.Maintenance }, false, false},
			{"another team", func() { x.Team = "dba" }, true, false},
			{"another name", func() { x.Labels[event.LabelName] = "ten" }, true, false},
			{"another address", func() { x.Address = "192.0.2.10" }, true, false},
			{"back to what it was, with another rack", func() { x.Labels["rack"] = "8" }, false, false},
			{"retired", func() { x.Lifecycle = event.Retired }, true, true},
			{"retired with another rack", func() { x.Labels["rack"] = "9" }, false, true},
			{"there again", func() { x.Lifecycle = event.Active }, true, false},
		} {
			step.change()
			said := x
			said.Labels = maps.Clone(x.Labels)
			said.Version = said.ComputeVersion()
			if err := b.Publish(t.Context(), &said); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			c.read(func(v int, called func(string) *event.Target) {
				if (v != version) != step.counts {
					t.Errorf("%s: version %d after %d", step.what, v, version)
				}
				version = v
				found := called(x.Address)
				if (found == nil) != step.unknown || found != nil && (found.Team != x.Team || found != called(x.Labels[event.LabelName])) {
					t.Errorf("%s: found %+v", step.what, found)
				}
			})
		}
	})
}
