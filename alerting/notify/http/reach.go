package http

import (
	"fmt"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
)

// Lacks implements notify.Reacher.
func (r *Receiver) Lacks(person string, c notify.Contact) (what, do string) {
	if person == "" || !r.personal || words.Handle(c, r.name, "http") != "" {
		return "", ""
	}
	return fmt.Sprintf("%s has no handle for the receiver %q, which addresses people by it", person, r.name), fmt.Sprintf("write people: {%s: {handles: {%s: …}}}", person, r.name)
}
