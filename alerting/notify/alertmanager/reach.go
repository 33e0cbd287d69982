package alertmanager

import (
	"fmt"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/internal/conf"
)

// Lacks implements notify.Reacher.
func (r *Receiver) Lacks(person string, c notify.Contact) (what, do string) {
	var handle conf.Secret
	if person != "" {
		handle = r.handle(c)
	}
	switch {
	case !handle.IsZero() && r.spec.aim != nil:
		if err := r.spec.aim(map[string]any{}, handle.Reveal()); err != nil {
			return fmt.Sprintf("the handle of %s for the receiver %q cannot be used: %v", person, r.name, err), fmt.Sprintf("correct people: {%s: {handles: …}}", person)
		}
	case !handle.IsZero() || !r.unaimed:
	case person == "":
		return fmt.Sprintf("the receiver %q tells nobody: it has no %s, and what is told here is for no person", r.name, r.spec.target),
			fmt.Sprintf("write receivers: {%s: {%s: {%s: …}}}", r.name, r.kind, r.spec.target)
	case r.spec.phone:
		return fmt.Sprintf("%s has no phone for the receiver %q, which has no %s of its own", person, r.name, r.spec.target),
			fmt.Sprintf("write people: {%s: {phone: \"+82 10 1234 5678\"}}", person)
	default:
		return fmt.Sprintf("%s has no handle for the receiver %q, which has no %s of its own", person, r.name, r.spec.target),
			fmt.Sprintf("write people: {%s: {handles: {%s: …}}}", person, r.name)
	}
	return "", ""
}

// handle is the address of a person at this receiver: by its name, by its kind, or the phone number where that is one.
func (r *Receiver) handle(c notify.Contact) conf.Secret {
	if r.spec.target == "" && r.spec.aim == nil {
		return conf.Secret{}
	}
	handle := c.Handles[r.kind]
	if own, ok := c.Handles[r.name]; ok {
		handle = own
	}
	if handle.IsZero() && r.spec.phone && c.Phone != "" {
		handle = conf.NewSecret(c.Phone)
	}
	return handle
}
