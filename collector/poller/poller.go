// Package poller holds what the collector and its pollers agree on.
//
// In: a Job. Out: its Reading.
// It promises that a poller needs to know nothing of the room: one package, one line in collector/kinds.go.
// It never polls anything itself.
package poller

import (
	"context"
	"encoding/json"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/profile"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Poller asks targets of one kind of check. It is safe for concurrent use.
type Poller interface {
	// Poll asks the job's target and says what it found; it never returns nil, failure is a Reading too. It
	// returns soon after ctx ends. See Probing.
	Poll(ctx context.Context, job *event.Job) *event.Reading
	// Spec checks the keys of a check that are the poller's own and turns them into the JSON that a Job carries;
	// nil when nothing is set.
	Spec(n conf.Node) (json.RawMessage, conf.Problems)
}

// Profiled is a Poller whose checks name profiles.
type Profiled interface {
	// Profile says what is wrong with the name of a profile; "" is the default profile.
	Profile(name string) error
	// Profiles lists what the profiles read, sorted by name.
	Profiles() []profile.Profile
}

// Closer is a Poller that holds something open between polls. A poll after Close opens it again.
type Closer interface {
	Close() error
}

// Setup is what a poller is made from.
type Setup struct {
	// Credentials by name: of each the part that is this kind's.
	Credentials map[string]conf.Node
	// Profiles is the folder of the user's own profiles; may be empty.
	Profiles string
	Scope    obs.Scope
}

type probing struct{}

// WithProbing marks a poll of a target that did not answer several times: it is to fail cheaply.
func WithProbing(ctx context.Context) context.Context {
	return context.WithValue(ctx, probing{}, true)
}

// Probing reports whether the poll is to fail cheaply: first ask once, little and without retries. When the target
// answers, the poll goes on as any other.
func Probing(ctx context.Context) bool { return ctx.Value(probing{}) != nil }
