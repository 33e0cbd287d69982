// Package source holds what a CMDB source and the cmdb room agree on.
//
// In: configuration nodes of checks, addresses and names, as a source found them. Out: the words of bus/event, or
// problems with the place of each mistake.
// It promises that every source judges checks, addresses, labels and names by the same rules.
// It never reads a file and never knows what other sources found.
package source

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// Source is one place that says what exists.
type Source interface {
	// Name tells the sources of one configuration apart and stays the same over restarts: "file:targets/*.yaml".
	Name() string
	// List reads everything the source has now. A list that comes with problems serves only to find more of them; it is
	// nil when there may be targets that could not be seen.
	List(ctx context.Context) ([]Found, conf.Problems)
	// Watch calls changed whenever List may give a new answer, until ctx ends. An error says that changes can no longer
	// be seen; the room starts the watch again.
	Watch(ctx context.Context, changed func()) error
}

// Found is a target and where its parts were written, for problems that only show when all sources are seen together.
// Version and Updated of the target are the room's to fill in, as is Origin.
type Found struct {
	Target *event.Target
	// At is where the target's id stands.
	At conf.Pos
	// Refs are the targets that its relations name.
	Refs []Ref
}

// Ref is one target that a relation names.
type Ref struct {
	Relation string
	ID       string
	At       conf.Pos
}

// RefsOf lists the references of a target of which no places are known.
func RefsOf(t *event.Target) []Ref {
	var refs []Ref
	for _, kind := range event.RelationKinds() {
		for _, need := range t.Relations[kind] {
			for _, id := range need {
				refs = append(refs, Ref{Relation: kind, ID: id})
			}
		}
	}
	return refs
}

// Env is what a source is given besides its own configuration.
type Env struct {
	// Dir is what relative paths are relative to.
	Dir string
	// Judge knows the names of what else is configured.
	Judge Judge
	// Scope is where the source says what it does not return.
	Scope obs.Scope
}

// Judge knows what else is configured, so that a wrong name is a problem at its place. A list that is nil, unlike one
// that is empty, and a function that is nil accept everything.
type Judge struct {
	// Kinds are the kinds of check there are pollers for.
	Kinds []string
	// Credential says what is wrong with a kind of check using a credential that is configured, or "" for none.
	Credential func(kind, name string) error
	// Credentials, Teams and Zones are the configured names.
	Credentials, Teams, Zones []string
	// Spec checks the settings of a check that are its kind's own and returns them as the poller wants them.
	Spec func(kind string, settings conf.Node) (json.RawMessage, conf.Problems)
	// Profile says what is wrong with a profile of a kind of check.
	Profile func(kind, profile string) error
	// Cron says what is wrong with a cron expression.
	Cron func(expression string) error
}

// known returns the problem of a name that is none of the known ones.
func known(at conf.Pos, what, name string, names []string) conf.Problems {
	if names == nil || slices.Contains(names, name) {
		return nil
	}
	return conf.Problems{at.Problem(fmt.Sprintf("there is no %s %q", what, name), meant(name, names, what))}
}

// meant says what a wrong name was probably meant to be.
func meant(name string, names []string, what string) string {
	if near := conf.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	switch {
	case len(names) == 0:
		return "add it to the configuration first, none is configured yet"
	case len(names) > 12:
		return "correct the name, or add the " + what + " to the configuration"
	}
	sorted := slices.Sorted(slices.Values(names))
	return "use one of " + strings.Join(sorted, ", ") + ", or add it to the configuration"
}

// Team returns the problem of a team that is not configured.
func (j *Judge) Team(at conf.Pos, name string) conf.Problems { return known(at, "team", name, j.Teams) }

// Zone returns the problem of a zone that no poller is configured for.
func (j *Judge) Zone(at conf.Pos, name string) conf.Problems { return known(at, "zone", name, j.Zones) }

// Class returns the problem of a class that the source does not describe.
func Class(at conf.Pos, name string, classes []string) conf.Problems {
	if slices.Contains(classes, name) {
		return nil
	}
	do := fmt.Sprintf("add it under classes, if only as %s: {}", name)
	if near := conf.Nearest(name, classes); near != "" {
		do = fmt.Sprintf("did you mean %q?", near)
	}
	return conf.Problems{at.Problem(fmt.Sprintf("there is no class %q", name), do)}
}
