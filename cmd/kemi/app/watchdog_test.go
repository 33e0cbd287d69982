package app

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
)

// Whichever stage stops, nobody outside is told any more that Kemi watches.
func TestTheWatchdogIsNotToldWhileAnyStageStandsStill(t *testing.T) {
	all := stages(func(Role) bool { return true }, true)
	for _, stopped := range all {
		synctest.Test(t, func(t *testing.T) {
			a := &App{Config: &config.Config{CanaryEvery: 10 * time.Second}, bus: bus.New(mem.New(), bus.Settings{}, obs.Scope{}), canary: canary.New(all...), alone: true}
			if ok, why := a.watches(); ok || why == "" {
				t.Errorf("before the bus is open: %q", why)
			}
			if err := a.bus.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer a.bus.Close()
			a.open.Store(true)
			if ok, why := a.watches(); ok || why == "" {
				t.Errorf("before the first trip: %q", why)
			}
			trip := func(without string) {
				for _, stage := range all {
					if stage != without {
						a.canary.Mark(stage, time.Now())
					}
				}
				<-time.After(a.Config.CanaryEvery)
			}
			trip("")
			if ok, why := a.watches(); !ok {
				t.Errorf("after a trip: %q", why)
			}
			for range tooOld + 1 {
				trip(stopped)
			}
			if ok, why := a.watches(); ok || !strings.Contains(why, stopped) {
				t.Errorf("%s stopped: %v %q", stopped, ok, why)
			}
			trip("")
			if ok, why := a.watches(); !ok {
				t.Errorf("it goes on: %q", why)
			}
		})
	}
}
