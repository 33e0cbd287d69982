package app

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/alerting/subscription"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Receivers makes the room that tells people without anything around it, for trying a receiver out. It never runs.
func Receivers(cfg *config.Config, log *slog.Logger) (*alerting.Room, conf.Problems) {
	a := &App{Config: cfg, roles: Roles(), scope: obs.New(log, prometheus.NewRegistry())}
	a.bus = bus.New(mem.New(), bus.Settings{Zones: cfg.Zones}, a.scope) // Rooms want one to be made; it is never opened.
	problems := a.sinks()
	return a.alerting, problems
}

// Subscriptions makes the room that delivers to the webhooks of teams, for trying one out. It never runs.
func Subscriptions(cfg *config.Config, log *slog.Logger) (*subscription.Room, conf.Problems) {
	return subscription.New(subscription.Options{Subscriptions: cfg.Subscriptions, Scope: obs.New(log, prometheus.NewRegistry())})
}
