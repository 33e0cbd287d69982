package app

import (
	"fmt"
	"slices"
	"strings"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/processors/alert"
	"kemi.dev/kemi/processors/rule"
	"kemi.dev/kemi/scheduler"
)

// Role is a share of the pipeline that a process takes. Any number of processes may have the same one: they share its
// work by partition, and one takes over what another leaves.
type Role string

// The roles.
const (
	RoleScheduler  Role = "scheduler"  // reads the sources, says when
	RoleCollector  Role = "collector"  // polls
	RoleProcessors Role = "processors" // judges, and writes to stores that are elsewhere
	RoleAlerting   Role = "alerting"   // tells people
	RoleAPI        Role = "api"        // console, API and the embedded store
)

// Roles are all of them, in the order of the pipeline.
func Roles() []Role {
	return []Role{RoleScheduler, RoleCollector, RoleProcessors, RoleAlerting, RoleAPI}
}

// ParseRoles reads names of roles; none is all.
func ParseRoles(names []string) ([]Role, error) {
	if len(names) == 0 {
		return Roles(), nil
	}
	known := make([]string, 0, len(Roles()))
	for _, r := range Roles() {
		known = append(known, string(r))
	}
	var roles []Role
	for _, name := range names {
		switch {
		case !slices.Contains(known, name):
			text := fmt.Sprintf("there is no role %q: the roles are %s", name, strings.Join(known, ", "))
			if near := conf.Nearest(name, known); near != "" {
				text = fmt.Sprintf("there is no role %q: did you mean %q?", name, near)
			}
			return nil, fmt.Errorf("%s", text)
		case !slices.Contains(roles, Role(name)):
			roles = append(roles, Role(name))
		}
	}
	return roles, nil
}

func (a *App) has(r Role) bool { return slices.Contains(a.roles, r) }

// whole reports whether this process is the whole pipeline.
func (a *App) whole() bool { return len(a.roles) == len(Roles()) }

// stages are those that the canary passes in processes of the given roles.
func stages(has func(Role) bool, store bool) []string {
	var all []string
	add := func(r Role, stages ...string) {
		if has(r) {
			all = append(all, stages...)
		}
	}
	add(RoleScheduler, canary.StageSchedule)
	add(RoleCollector, canary.StageCollect)
	if store {
		add(RoleAPI, canary.StageSeries)
	}
	add(RoleProcessors, canary.StageRule, canary.StageAlert)
	add(RoleAlerting, canary.StageAlerting)
	return all
}

// judged reports whether the canary has to come through the stage in this process. Where several processes may share a
// stage it passes only one of them.
func (a *App) judged(stage string) bool {
	if a.alone || stage == canary.StageSeries {
		return true
	}
	switch stage {
	case canary.StageSchedule:
		return a.bus.Owns(scheduler.Group, (*event.Target)(nil).Topic(), event.CanaryTarget)
	case canary.StageRule:
		return a.bus.Owns(rule.Group, (*event.Reading)(nil).Topic(), event.CanaryTarget)
	case canary.StageAlert:
		return a.bus.Owns(alert.Group, (*event.Finding)(nil).Topic(), event.DefaultDomain)
	case canary.StageAlerting:
		return a.bus.Owns(alerting.Group, (*event.Alert)(nil).Topic(), event.DefaultDomain)
	}
	return false // Any collector may have taken the job.
}

// stored reports whether the configured stores have the embedded one among them; without a word it is there.
func stored(series []conf.Node) bool {
	for _, n := range series {
		if !n.Get("embedded").IsZero() {
			return true
		}
	}
	return len(series) == 0
}
