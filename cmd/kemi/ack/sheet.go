package ack

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/line"
)

// sheet is one page as people see it.
type sheet struct {
	code                      int
	Heading, Said             string
	Title, Since, More, Cause string
	// Person is whom the link is for; without one the form asks for a name.
	Person string
	Form   bool
}

// about fills in what is wrong; nil is an incident that is not known.
func (s *sheet) about(i *event.Incident) {
	if i == nil {
		return
	}
	s.Title, s.Since, s.Cause = i.Title, stamp(i.OpenedAt), i.Cause
	said := []string{}
	if i.Severity != "" {
		said = append(said, i.Severity)
	}
	switch {
	case i.Firing == 1:
		said = append(said, "1 alert fires")
	case i.Firing > 1:
		said = append(said, fmt.Sprintf("%d alerts fire", i.Firing))
	}
	if i.SuppressedTotal > 0 {
		said = append(said, fmt.Sprintf("explains %d more", i.SuppressedTotal))
	}
	s.More = strings.Join(said, ", ")
}

// notYet is what is true while nobody has taken in what was stored.
const notYet = "It is stored and is taken in once alerting runs; until then others may still be called. Load this page again to see."

// effect says what came of an acknowledgement.
func (s *sheet) effect(c *event.Command, e view.Effect, now time.Time) {
	s.Form = false
	if e.Incident != nil {
		s.about(e.Incident)
	}
	switch {
	case e.Late:
		s.code, s.Heading = http.StatusGone, "It is over"
		s.Said = "Since " + stamp(e.Incident.ResolvedAt) + ", before this was taken in. There is nothing to do."
	case !e.Taken:
		s.code, s.Heading, s.Said = http.StatusAccepted, "Stored, not taken in yet", notYet
	case e.Incident.State == event.IncidentResolved:
		s.Heading, s.Said = "It is over", "Since "+stamp(e.Incident.ResolvedAt)+". Acknowledged by "+c.By+" just before."
	case e.Incident.Ack == nil:
		s.code, s.Heading, s.Said = http.StatusConflict, "Nobody has it", "Acknowledged by "+c.By+", and taken back since."
	case e.Incident.Ack.By != c.By:
		s.code, s.Heading, s.Said = http.StatusConflict, e.Incident.Ack.By+" has it", "Acknowledged by "+c.By+", and by "+e.Incident.Ack.By+" since"+untilText(e.Incident.Ack.Until)+"."
	default:
		s.Heading = "You have it"
		if until := e.Incident.Ack.Until; !until.IsZero() {
			s.Heading += " until " + clock(until, now)
		}
		s.Said = "Acknowledged by " + c.By + ". Nobody else is called until then. If it is still there then, the escalation begins anew."
	}
}

// sheetText is HTML that a phone shows well without anything else: no script, no picture, nothing from elsewhere.
const sheetText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow"><title>{{.Heading}}</title>
<style>
:root{color-scheme:light dark}
body{font:18px/1.5 system-ui,sans-serif;margin:0 auto;padding:1.2em;max-width:34em}
h1{font-size:1.4em;margin:0 0 .6em}
.what{border-left:4px solid #c33;padding:.1em .8em;margin:0 0 1em}
.what p{margin:.2em 0}
label{display:block;margin:.8em 0 .2em}
input{font:inherit;width:100%;box-sizing:border-box;padding:.5em}
button{font:inherit;font-weight:600;width:100%;padding:.8em;margin-top:1.2em;border:0;border-radius:.4em;background:#165;color:#fff}
</style></head><body>
<h1>{{.Heading}}</h1>
{{if .Title}}<div class="what"><p><strong>{{.Title}}</strong></p><p>since {{.Since}}{{if .More}}: {{.More}}{{end}}</p></div>
{{end}}<p>{{.Said}}</p>
{{if .Form}}<form method="post">
{{if .Person}}<p>You are <strong>{{.Person}}</strong>.</p>
{{else}}<label for="name">Your name</label><input id="name" name="name" maxlength="60" autocomplete="name" required>
{{end}}<label for="comment">Comment, if you like</label><input id="comment" name="comment" maxlength="500">
<button type="submit">I have it</button>
</form>
{{end}}</body></html>
`

func (s *sheet) write(w http.ResponseWriter) {
	var b bytes.Buffer
	if err := template.Must(template.New("ack").Parse(sheetText)).Execute(&b, s); err != nil {
		http.Error(w, "the page cannot be shown: acknowledge with kemi ack", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(s.code)
	_, _ = io.WriteString(w, line.Shown(b.String())) // The caller has left; there is nobody to tell.
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

// clock is a time to come in as few words as say it.
func clock(t, now time.Time) string {
	if t, now = t.Local(), now.Local(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04 MST")
	}
	return stamp(t)
}

func untilText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", until " + stamp(t)
}

// clean takes characters that control or hide out of what somebody wrote, and cuts it.
func clean(s string, most int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s))
	if r := []rune(s); len(r) > most {
		s = string(r[:most])
	}
	return s
}
