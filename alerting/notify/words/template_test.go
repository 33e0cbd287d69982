package words

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

func TestTemplatesSayItInTheirOwnWords(t *testing.T) {
	env := house()
	env.Contact = func(person string) (notify.Contact, bool) {
		return notify.Contact{Name: "Jo Kim", Handles: map[string]conf.Secret{"mail": conf.NewSecret("U123")}}, person == "jo"
	}
	w, err := NewWriter("ops-mail", "mail", &Templates{
		Subject: "{{ upper .Incident.Severity }} for {{ .Person.Name }}\n{{ .Title }}",
		Body:    `{{ range .Links }}{{ .Kind }}={{ .URL }} {{ end }}{{ .Handle }} {{ .Fact "Where" }} {{ .Link "runbook" }} {{ .Page.DedupKey | json }} {{ .Incident.OpenedAt | in "Asia/Seoul" | time "15:04" }}`,
		HTML:    `<p title="{{ .Title }}">{{ default "nothing" .Plain }}</p>`,
	}, env)
	if err != nil {
		t.Fatal(err)
	}
	p := story(event.PageFiring)
	p.Title = `core "1" <down>`
	d, failed := w.Write(p)
	if failed != "" || d.Subject != `CRITICAL for Jo Kim core "1" <down>` {
		t.Errorf("got %q, failed %q", d.Subject, failed)
	}
	for _, part := range []string{"acknowledge=https://kemi.example/ack/p1?t=abc", "U123", "core-1 (site dc1", "https://wiki.example/core", `"k1"`, "07:00"} {
		if !strings.Contains(d.Message.Plain, part) {
			t.Errorf("%q lacks %q", d.Message.Plain, part)
		}
	}
	if !strings.Contains(d.HTML, `title="core &#34;1&#34; &lt;down&gt;"`) {
		t.Errorf("the document is %s", d.HTML)
	}
}

// The page is sent with plain words, and whoever reads it and the ledger hear of the template.
func TestATemplateThatFailsIsReplacedAndTold(t *testing.T) {
	w, err := NewWriter("ops-mail", "mail", &Templates{
		Subject: `{{ if eq .Page.ID "p1" }}{{ index .Incident.Alerts 99 }}{{ end }}ours`,
		Body:    `{{ if eq .Page.ID "p1" }}{{ .Incident.OpenedAt | in "No/Where" }}{{ end }}body`,
		HTML:    `<b>{{ if eq .Page.ID "p2" }}{{ range $n := 100000 }}0123456789{{ end }}{{ end }}</b>`,
	}, house())
	if err != nil {
		t.Fatal(err)
	}
	p := story(event.PageFiring)
	d, failed := w.Write(p)
	if !strings.Contains(failed, "ops-mail") || !strings.Contains(failed, "No/Where") || !strings.Contains(failed, "index") {
		t.Errorf("failed says %q", failed)
	}
	plain := Of(p, house())
	if d.Subject != plain.Subject || !strings.HasPrefix(d.Message.Plain, plain.Plain) || !strings.Contains(d.Message.Plain, failed) || !strings.Contains(d.HTML, "ops-mail failed") {
		t.Errorf("said instead: %q\n%s", d.Subject, d.Message.Plain)
	}
	if got := Answer("250 ok", failed); got != "250 ok ("+failed+")" {
		t.Error(got)
	}
	p.ID = "p2"
	if d, failed = w.Write(p); !strings.Contains(failed, "64 KiB") || d.Subject != "ours" {
		t.Errorf("a template that writes without end: %q, %q", failed, d.Subject)
	}
	p.ID = "p3"
	if d, failed = w.Write(p); failed != "" || d.Message.Plain != "body" || Answer("250 ok", failed) != "250 ok" {
		t.Errorf("got %q, %q", failed, d.Message.Plain)
	}
}

// Without a template for it there is no HTML beside a body of one's own: the two would say different things.
func TestABodyOfOnesOwnStandsAlone(t *testing.T) {
	w, err := NewWriter("r", "mail", &Templates{Body: "{{ .Title }}"}, house())
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := w.Write(story(event.PageFiring)); d.HTML != "" || d.Message.Plain != d.Title {
		t.Errorf("got %q and %q", d.Message.Plain, d.HTML)
	}
}

func TestTemplatesThatCannotWorkAreFoundBeforeTheyAreNeeded(t *testing.T) {
	for text, want := range map[string]string{
		"{{ .Title":                  "unclosed action",
		"{{ .Titel }}":               "Titel",
		"{{ shout .Title }}":         `function "shout" not defined`,
		"{{ index .Alerts 0 }}":      "a page of kind resolved",
		"{{ .Page.Snapshot.Title }}": "a page of kind summary",
	} {
		said := (&Templates{Body: text}).Validate()
		if len(said) != 1 || said[0].Field != "body" || !strings.Contains(said[0].What, want) {
			t.Errorf("%s: %v", text, said)
		}
		if _, err := NewWriter("r", "mail", &Templates{Body: text}, notify.Env{}); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	if said := (&Templates{}).Validate(); len(said) > 0 {
		t.Errorf("nothing at all: %v", said)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("{{ .Title }}", "title")
	f.Add(`{{ range .Alerts }}{{ cut 3 . }}{{ end }}{{ .Plain | json }}`, "x\"\n")
	f.Fuzz(func(t *testing.T, text, title string) {
		if strings.Contains(text, "printf") || strings.Contains(text, "range") || strings.Contains(text, "template") || strings.Contains(text, "block") {
			t.Skip("whoever writes the configuration may have it work for long")
		}
		w, err := NewWriter("r", "mail", &Templates{Subject: text, Body: text, HTML: text}, house())
		if err != nil {
			t.Skip()
		}
		p := story(event.PageFiring)
		p.Title = title
		d, _ := w.Write(p)
		if d.Subject == "" || strings.ContainsAny(d.Subject, "\r\n") || len(d.Message.Plain) > 2*maxRendered {
			t.Errorf("subject %q, %d bytes", d.Subject, len(d.Message.Plain))
		}
	})
}

func BenchmarkOf(b *testing.B) {
	p, env := story(event.PageFiring), house()
	began := time.Now()
	for b.Loop() {
		Of(p, env)
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "pages/s")
}
