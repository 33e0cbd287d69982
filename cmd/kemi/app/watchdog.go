package app

import (
	"context"
	"time"

	"kemi.dev/kemi/cmd/kemi/watchdog"
	"kemi.dev/kemi/internal/canary"
)

// watchdog tells the external watchdog that Kemi watches, until ctx ends.
func (a *App) watchdog(ctx context.Context) error {
	return watchdog.New(*a.Config.Watchdog, a.watches, a.scope).Run(ctx)
}

// watches reports whether the canary comes through every stage in time. Of several processes the one answers at whose
// alerting the trips end: a trip that ends has passed the others. Elsewhere it is no, without a reason.
func (a *App) watches() (ok bool, why string) {
	if a.open.Load() && !a.judged(canary.StageAlerting) {
		return false, ""
	}
	if ok, why = a.Ready(); !ok {
		return false, why
	}
	slot, _ := a.canary.NewestOf(func(stage string) bool { return stage == canary.StageAlerting })
	if age := time.Since(slot); slot.IsZero() || age > tooOld*a.Config.CanaryEvery {
		return false, "no trip of the canary has come through alerting lately"
	}
	return true, ""
}
