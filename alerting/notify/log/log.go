// Package log writes pages to Kemi's own log. In: pages. Out: one line each. It promises that a page is in the log when
// it says so. It never folds: a page that is handed over twice is two lines, the second marked.
package log

import (
	"context"
	"log/slog"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

// Config is empty: there is nothing to set.
type Config struct{}

// Default is the configuration of a receiver that says nothing.
func Default() Config { return Config{} }

// Receiver writes pages to the log.
type Receiver struct {
	name string
	log  *slog.Logger
}

// New makes the receiver of the given name.
func New(name string, _ Config, env notify.Env) (notify.Notifier, error) {
	return &Receiver{name: name, log: env.Scope.Log()}, nil
}

// Notify implements notify.Notifier.
func (r *Receiver) Notify(ctx context.Context, p *event.Page) (string, error) {
	level := slog.LevelWarn
	if p.Kind == event.PageResolved {
		level = slog.LevelInfo
	}
	r.log.LogAttrs(ctx, level, "page", slog.String("receiver", r.name), slog.String("kind", string(p.Kind)), slog.String("team", p.Team),
		slog.String("title", p.Title), slog.String("incident", p.Incident), slog.String("page", p.ID), slog.Bool("possible_duplicate", p.PossibleDuplicate))
	return "logged", nil
}

// Dedups implements notify.Notifier.
func (r *Receiver) Dedups() bool { return false }
