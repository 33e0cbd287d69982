package mail

import (
	"fmt"
	netmail "net/mail"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
)

// Lacks implements notify.Reacher.
func (r *Receiver) Lacks(person string, c notify.Contact) (what, do string) {
	if person == "" {
		if len(r.to) > 0 {
			return "", ""
		}
		return fmt.Sprintf("the receiver %q writes to nobody: it has no to, and what is told here is for no person", r.name),
			fmt.Sprintf("write receivers: {%s: {mail: {to: [team@example.org], …}}}", r.name)
	}
	text := words.Handle(c, r.name, "mail")
	if text == "" {
		text = c.Mail
	}
	if text == "" {
		return fmt.Sprintf("%s has no mail address for the receiver %q", person, r.name), fmt.Sprintf("write people: {%s: {mail: %s@example.org}}", person, person)
	}
	if _, err := netmail.ParseAddress(text); err != nil {
		return fmt.Sprintf("the handle of %s for the receiver %q is no mail address", person, r.name), "write it like jo@example.org"
	}
	return "", ""
}
