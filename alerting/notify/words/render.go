package words

import (
	"fmt"
	"html/template"
	"strings"
)

// plain writes a message as text: what, what is known, where to go, the alerts.
func plain(m Message, said string) string {
	var b strings.Builder
	b.WriteString(m.Title + "\n")
	if said != "" {
		b.WriteString("\n  " + indent(said, "  ") + "\n") // Only our own lines begin at the margin.
	}
	if len(m.Facts) > 0 {
		b.WriteByte('\n')
	}
	for _, f := range m.Facts {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, indent(f.Value, "  "))
	}
	if len(m.Links) > 0 {
		b.WriteByte('\n')
	}
	for _, l := range m.Links {
		fmt.Fprintf(&b, "%s: %s\n", l.Name, l.URL)
	}
	if len(m.Alerts) > 0 {
		b.WriteString("\nAlerts:\n")
	}
	for _, a := range m.Alerts {
		fmt.Fprintf(&b, "- %s\n", indent(a, "  "))
	}
	if m.AlertsMore > 0 {
		fmt.Fprintf(&b, "- and %d more\n", m.AlertsMore)
	}
	return b.String()
}

// page is what the document is made from.
type page struct {
	Message
	Said string
}

// look is inline: mail programs take no other style.
var look = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Subject}}</title></head>
<body style="font-family:sans-serif;font-size:15px;line-height:1.4;margin:12px;max-width:44em">
<h1 style="font-size:18px;margin:0 0 8px">{{.Title}}</h1>
{{with .Said}}<p style="white-space:pre-line">{{.}}</p>
{{end}}{{with .Links}}<p>{{range .}}<a href="{{.URL}}" style="{{if eq .Kind "acknowledge"}}background:#1559b3;color:#fff;text-decoration:none;{{end}}display:inline-block;padding:8px 14px;border:1px solid #1559b3;border-radius:4px;margin:0 8px 8px 0">{{.Name}}</a>{{end}}</p>
{{end}}{{with .Facts}}<table cellpadding="4" style="border-collapse:collapse">{{range .}}
<tr><th align="left" valign="top">{{.Name}}</th><td style="white-space:pre-line">{{.Value}}</td></tr>{{end}}
</table>
{{end}}{{with .Alerts}}<ul style="padding-left:18px">{{range .}}
<li style="white-space:pre-line">{{.}}</li>{{end}}{{with $.AlertsMore}}
<li>and {{.}} more</li>{{end}}
</ul>
{{end}}</body></html>
`))

// document writes a message as HTML.
func document(m Message, said string) string {
	var b strings.Builder
	if err := look.Execute(&b, page{m, said}); err != nil {
		return "" // A builder takes everything; receivers send a message without HTML as text.
	}
	return b.String()
}
