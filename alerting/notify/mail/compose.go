package mail

import (
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
)

// compose writes the mail. The same page is the same mail, with the same Message-ID and date, however often it is sent:
// who folds by that folds it. All mails of one incident refer to one, which was never sent, and so are one thread.
func (r *Receiver) compose(p *event.Page, m words.Message, to []*netmail.Address) *gomail.Msg {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(r.from)
	msg.ToMailAddress(to...)
	if r.replyTo != nil {
		msg.ReplyToMailAddress(r.replyTo)
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(date(p))
	msg.SetMessageIDWithValue("page." + token(p.ID) + "@" + r.domain)
	thread := "<thread." + token(p.DedupKey) + "@" + r.domain + ">"
	msg.SetGenHeader(gomail.HeaderInReplyTo, thread)
	msg.SetGenHeader(gomail.HeaderReferences, thread)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nothing answers by itself.
	msg.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	msg.SetGenHeader("List-Id", fmt.Sprintf("<%s.kemi.%s>", slug(p.Team), r.domain)) // RFC 2919
	msg.SetUserAgent("Kemi")
	msg.SetGenHeader("X-Kemi-Incident", token(p.Incident))
	msg.SetGenHeader("X-Kemi-Page", token(p.ID))
	msg.SetGenHeader("X-Kemi-Kind", token(string(p.Kind)))
	if i := p.Snapshot; i != nil && i.Severity != "" {
		msg.SetGenHeader("X-Kemi-Severity", token(i.Severity))
	}
	if p.Kind == event.PageFiring && p.Urgency == event.UrgencyPage {
		// Not by SetImportance: X-MSMail-Priority without Outlook's other headers looks like spam to SpamAssassin.
		msg.SetGenHeader(gomail.HeaderImportance, "high")
		msg.SetGenHeader(gomail.HeaderXPriority, "1")
	}
	msg.SetBodyString(gomail.TypeTextPlain, m.Plain)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg
}

func date(p *event.Page) time.Time {
	if p.Created.IsZero() {
		return time.Now()
	}
	return p.Created.UTC()
}

// slug makes a readable identifier of a team's name.
func slug(team string) string {
	return token(strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(team)), "-"))
}

// token makes of any text what may stand in an identifier: a short one of letters, digits, dashes and dots stays as it is.
func token(s string) string {
	ok := s != "" && len(s) <= 60 && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
	for _, c := range s {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_')
	}
	if ok {
		return s
	}
	return event.ComputeID("token", s)
}
