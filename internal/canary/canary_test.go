package canary_test

import (
	"testing"
	"time"

	"kemi.dev/kemi/internal/canary"
)

var at = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func TestTheStageWhereTripsStopIsNamed(t *testing.T) {
	all := []string{canary.StageSchedule, canary.StageCollect, canary.StageSeries, canary.StageRule, canary.StageAlert, canary.StageAlerting}
	for stops, want := range all {
		c := canary.New(all...)
		for trip := range 3 {
			for i, stage := range all {
				if trip < 2 || i < stops { // The third trip ends before a stage.
					c.Mark(stage, at.Add(time.Duration(trip)*time.Second))
				}
			}
		}
		if slot, got := c.Newest(); got != want || !slot.Equal(at.Add(time.Second)) {
			t.Errorf("stopping before %s: named %s at %s", want, got, slot)
		}
	}
}

func TestMarksOfOldTripsAndOtherStagesChangeNothing(t *testing.T) {
	c := canary.New("a")
	c.Mark("a", at)
	c.Mark("a", at.Add(-time.Second))
	c.Mark("b", at.Add(time.Hour))
	if slot, _ := c.Newest(); !slot.Equal(at) {
		t.Errorf("newest %s", slot)
	}
	var none *canary.Tracker
	none.Mark("a", at)
}
