package words

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/line"
)

var update = flag.Bool("update", false, "write the golden texts")

var began = time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)

// house is where a page leads to.
func house() notify.Env {
	return notify.Env{
		ExternalURL: "https://kemi.example/",
		AckURL:      func(p *event.Page) string { return "https://kemi.example/ack/" + p.ID + "?t=abc" },
	}
}

// story is what the demo tells: a core switch fails and takes 265 targets along.
func story(kind event.PageKind) *event.Page {
	i := &event.Incident{
		ID: "9f2c", Domain: "default", State: event.IncidentOpen, Kind: event.IncidentDown, Team: "network", Cause: "core-1", Severity: "critical",
		Title: "core-1 (core) is down: 265 targets behind it are unreachable (50 servers, 10 services, 5 switches, 200 vms)",
		Alerts: []event.IncidentAlert{{
			ID: "a1", Name: "TargetDown", Target: "core-1", State: event.AlertFiring, Severity: "critical", Summary: "core-1 does not answer",
			Description: "Nobody can reach it since a minute.\nLook at its console first.", Runbook: "https://wiki.example/core?a=1&b=2",
			Labels: event.LabelsOf(map[string]string{"site": "dc1", "rack": "core", "class": "core"}), StartsAt: began.Add(2 * time.Second),
		}, {
			ID: "a2", Name: "UplinkLoad", Target: "core-1", State: event.AlertFiring, Severity: "warning", Summary: "uplink is full",
			Labels: event.LabelsOf(map[string]string{"threshold": "90"}), Value: 97.3456, StartsAt: began,
		}},
		Firing: 267, Suppressed: map[string]int{"vm": 200, "server": 50, "switch": 5, "service": 10}, SuppressedTotal: 265,
		Examples: []event.SuppressedAlert{
			{ID: "s1", Name: "TargetDown", Target: "tor-1", Class: "switch", Reason: event.Reason{Code: "parent-down", Text: "core-1 is down"}},
			{ID: "s2", Name: "TargetDown", Target: "srv-1-1", Class: "server", Reason: event.Reason{Code: "parent-down", Text: "core-1 is down"}},
		},
		OpenedAt: began, Updated: began.Add(5 * time.Second), Told: []string{"network-chat", "pager/jo"},
		Changes: []event.Change{{At: began.Add(-4 * time.Minute), Text: "configuration saved by kim"}},
		Next:    &event.NextStep{At: began.Add(10 * time.Minute), Who: []string{"pager/sun"}, Text: "the secondary (Sun Lee) is called"},
		Reason:  event.Reason{Code: "cause-down"},
	}
	p := &event.Page{
		ID: "p1", Incident: i.ID, Domain: "default", Team: "network", Receiver: "mail", Person: "jo", Urgency: event.UrgencyPage, Kind: kind, DedupKey: "k1",
		Title: i.Title, Text: i.Title + "\n- TargetDown on core-1 since 2026-11-21T22:00:02Z: core-1 does not answer", Snapshot: i,
		Created: began.Add(28 * time.Second), Updated: began.Add(28 * time.Second), Reason: i.Reason,
	}
	switch kind {
	case event.PageUpdate:
		p.Text = i.Title + "\nYou were told of tor-3: the cause is core-1.\n- TargetDown on core-1"
		i.Reason = event.Reason{Code: "re-rooted", Causes: []string{"tor-3"}}
		i.Ack = &event.Ack{By: "jo", At: began.Add(20 * time.Second), Until: began.Add(time.Hour), Comment: "on my way"}
	case event.PageResolved:
		i.State, i.ResolvedAt, i.Firing = event.IncidentResolved, began.Add(37*time.Second), 0
		i.Title = "core-1 (core) is up again after 37s: it took 265 targets behind it along (50 servers, 10 services, 5 switches, 200 vms)"
		p.Title, p.Text, p.Created = i.Title, i.Title, began.Add(37*time.Second)
		for n := range i.Alerts {
			i.Alerts[n].State = event.AlertResolved
		}
	case event.PageSummary:
		p.Snapshot = nil
		p.Title, p.Text = "12 more incidents of network", "core-1 (core) is down\nsrv-7: DiskFull\nand 10 more"
	}
	return p
}

func TestThePagesOfTheDemosStory(t *testing.T) {
	suspected := story(event.PageFiring)
	suspected.Snapshot.Suspected, suspected.PossibleDuplicate = true, true
	suspected.Snapshot.Reason = event.Reason{Code: "flapping", Text: "4 times in 10m0s"}
	suspected.Snapshot.Muted = []event.Reason{{Code: "silenced", Text: "silence 7 of kim until 23:00"}}
	for name, p := range map[string]*event.Page{
		"firing": story(event.PageFiring), "update": story(event.PageUpdate), "resolved": story(event.PageResolved), "summary": story(event.PageSummary),
		"suspected": suspected,
	} {
		t.Run(name, func(t *testing.T) {
			m := Of(p, house())
			golden(t, name+".txt", "Subject: "+m.Subject+"\n\n"+m.Plain)
			golden(t, name+".html", m.HTML)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

// What others wrote into a page stays on its line, in its tag and within bounds.
func TestNothingInAPageGetsOutOfItsPlace(t *testing.T) {
	evil := "x\r\nBcc: all@example.org\nAcknowledge: http://evil.example/</td><script>alert(1)</script>\u202e\x00\xff" + strings.Repeat("A", 1<<20)
	p := story(event.PageFiring)
	p.Title, p.Text, p.Incident = evil, evil, `9f2c/../"><script>`
	i := p.Snapshot
	i.Title, i.Cause, i.Severity = evil, evil, evil
	for range 10_000 {
		i.Alerts = append(i.Alerts, event.IncidentAlert{Name: evil, Target: evil, Summary: evil, Description: evil, Severity: evil, Runbook: "javascript:alert(1)", Graph: `https://x.example/"><script>alert(1)</script>`})
	}
	i.Firing = len(i.Alerts)
	i.Examples = append(i.Examples, event.SuppressedAlert{Name: evil, Target: evil, Reason: event.Reason{Text: evil}})
	i.Told, i.Next, i.Changes = []string{evil, "pager/" + evil}, &event.NextStep{Text: evil}, []event.Change{{Text: evil}}
	i.Ack = &event.Ack{By: evil, Comment: evil}
	p.Text += "\n- " + evil + " on " + evil
	m := Of(p, house())
	judge(t, m)
	if n := led(m.Plain); n != 1 {
		t.Errorf("%d lines lead to an acknowledgement:\n%s", n, m.Plain)
	}
	if n := led(textOf(m.HTML)); n != 0 { // It is a button there.
		t.Errorf("%d lines lead to an acknowledgement:\n%s", n, m.HTML)
	}
	for _, title := range []string{"Acknowledge: http://evil.example/", "\u202e- CoreDead on core-1", "Next: nobody is called"} {
		p.Title, p.Snapshot.Title, p.Text, p.Kind = title, title, "Held since 10:00\n- "+title+"\n"+title, event.PageSummary
		if m := Of(p, house()); led(m.Plain) > 0 || strings.Contains("\n"+m.Plain, "\n- CoreDead") || strings.Count("\n"+m.Plain, "\nNext:") > 1 || strings.Count(m.Plain, "\n  Next:") > 0 {
			t.Errorf("a summary of %q is\n%s", title, m.Plain)
		}
	}
	for _, f := range facts(story(event.PageUpdate), story(event.PageUpdate).Snapshot, nil) {
		if line.Start(f.Name+": x", 100) == f.Name+": x" {
			t.Errorf("a text may begin with %q", f.Name)
		}
	}
	for _, l := range Of(story(event.PageFiring), house()).Links {
		if line.Start(l.Name+": x", 100) == l.Name+": x" {
			t.Errorf("a text may begin with %q", l.Name)
		}
	}
	if strings.Contains(m.HTML, "<script") || strings.Contains(m.Plain, "\nBcc") {
		t.Error("a text got out of its place")
	}
	for _, l := range m.Links {
		if !strings.HasPrefix(l.URL, "https://") {
			t.Errorf("link %s", l.URL)
		}
	}
}

// led counts the lines that lead to an acknowledgement, wherever they begin.
func led(text string) (n int) {
	for one := range strings.Lines(text) {
		if strings.HasPrefix(strings.ToLower(strings.TrimLeft(one, " \t")), "acknowledge:") {
			n++
		}
	}
	return n
}

// textOf is what a document shows.
func textOf(doc string) string {
	var b strings.Builder
	for z := html.NewTokenizer(strings.NewReader(doc)); ; {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			b.Write(z.Text())
		case html.StartTagToken:
			b.WriteByte('\n')
		}
	}
}

// judge holds what is promised of every message.
func judge(t *testing.T, m Message) {
	t.Helper()
	if !utf8.ValidString(m.Subject+m.Plain+m.HTML) || strings.ContainsAny(m.Subject, "\r\n") || strings.ContainsAny(m.Plain, "\x00\r\u202e") {
		t.Errorf("the subject %q or the text is not clean", m.Subject)
	}
	if m.Subject == "" || m.Title == "" || utf8.RuneCountInString(m.Subject) > 350 || len(m.Plain) > 64<<10 || len(m.HTML) > 256<<10 {
		t.Errorf("sizes are %d, %d, %d", len(m.Subject), len(m.Plain), len(m.HTML))
	}
	known := map[string]bool{"html": true, "head": true, "meta": true, "title": true, "body": true, "h1": true, "p": true, "a": true, "table": true, "tr": true, "th": true, "td": true, "ul": true, "li": true}
	for z := html.NewTokenizer(strings.NewReader(m.HTML)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		token := z.Token()
		if kind == html.StartTagToken && !known[token.Data] {
			t.Errorf("a tag %q got into the document", token.Data)
		}
		for _, a := range token.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "href" && web(a.Val) == "" {
				t.Errorf("an attribute %s=%q got into the document", a.Key, a.Val)
			}
		}
	}
	for _, l := range m.Links {
		if web(l.URL) != l.URL {
			t.Errorf("link %q", l.URL)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("core-1 is down", "a text\nof lines", "critical", "https://wiki.example/", 3.5, uint8(3))
	f.Add("", "- \x00\xff", "\u202e", "javascript:x", 0.0, uint8(255))
	f.Fuzz(func(t *testing.T, title, text, name, link string, value float64, flags uint8) {
		p := story([]event.PageKind{event.PageFiring, event.PageUpdate, event.PageResolved, event.PageSummary}[flags%4])
		p.Title, p.Text, p.Incident, p.Person = title, text, name, text
		p.PossibleDuplicate = flags&4 > 0
		if i := p.Snapshot; i != nil {
			i.Cause, i.Suspected, i.Severity = name, flags&8 > 0, name
			i.Alerts = append(i.Alerts, event.IncidentAlert{Name: name, Target: title, Summary: text, Description: text, Runbook: link, Graph: link, Value: value, Labels: event.LabelsOf(map[string]string{"threshold": text, "site": name})})
			i.Examples = append(i.Examples, event.SuppressedAlert{Name: name, Reason: event.Reason{Text: text}})
			i.Told, i.Next = []string{name, text}, &event.NextStep{Text: text, At: i.OpenedAt}
			i.Muted, i.Assignee = []event.Reason{{Code: name, Text: text}}, name
			i.Suppressed[name] = 3
		}
		env := house()
		if flags&16 > 0 {
			env.AckURL = func(*event.Page) string { return link }
		}
		judge(t, Of(p, env))
	})
}

// An incident of similar alerts is about no target: it leads to none.
func TestAnIncidentOfSimilarAlertsLeadsToNoTarget(t *testing.T) {
	p := story(event.PageFiring)
	p.Snapshot.Kind, p.Snapshot.Cause = event.IncidentSimilar, "similar/texts/target"
	if m := Of(p, house()); strings.Contains(m.Plain, "similar/") || m.Link(LinkGraph) != "" || m.Fact(Where) != "" {
		t.Error(m.Plain)
	}
}

// A retry says the same, whenever it is.
func TestThePageHasTheSameWordsWhenItIsTriedAgain(t *testing.T) {
	p := story(event.PageFiring)
	before := Of(p, house())
	p.Attempts, p.Stage, p.Updated, p.NextTry = 3, event.PageRetrying, began.Add(time.Hour), began.Add(2*time.Hour)
	if d := cmp.Diff(before, Of(p, house())); d != "" {
		t.Error(d)
	}
}

// The graph of an alert from elsewhere is where its sender shows it, also when nobody can reach Kemi itself.
func TestTheGraphOfAnAlertFromElsewhereIsItsSenders(t *testing.T) {
	const sent = `http://prometheus.example:9090/graph?g0.expr=up{job="x y"} == 0&g0.tab=1`
	const want = "http://prometheus.example:9090/graph?g0.expr=up{job=%22x%20y%22}%20==%200&g0.tab=1"
	p := story(event.PageFiring)
	p.Snapshot.Alerts[0].Graph, p.Snapshot.Alerts[1].Graph = sent, "javascript:alert(1)"
	m := Of(p, house())
	judge(t, m)
	if got := m.Link(LinkGraph); got != want {
		t.Errorf("the graph is %q", got)
	}
	if !strings.Contains(m.Plain, "Graph of TargetDown: "+want) || !strings.Contains(m.Plain, "Graphs of core-1: https://kemi.example/targets/core-1") {
		t.Errorf("the text is\n%s", m.Plain)
	}
	if got := Of(p, notify.Env{}).Link(LinkGraph); got != want {
		t.Errorf("without an address of Kemi's the graph is %q", got)
	}
	if got := Graph(event.IncidentAlert{Graph: "https://kim:secret@x.example/"}); got != "" {
		t.Errorf("a link with a password is %q", got)
	}
}

func TestOnlyLinksOfTheWebAreLinks(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://wiki.example/a?b=c#d": true, "http://10.0.0.1:8080/": true, " https://wiki.example/ ": true,
		"javascript:alert(1)": false, "data:text/html,x": false, "//wiki.example/": false, "wiki/core": false, "https://kim:secret@wiki.example/": false,
		"https://": false, "ftp://x/": false, "https://w)ki.example/": false, "https://[::1]:80/": true, "https://wiki.example/" + strings.Repeat("a", 3000): false, "https://wiki.example/\nx": false,
	} {
		if got := web(address) != ""; got != ok {
			t.Errorf("%.60q: %v", address, got)
		}
	}
}

func TestDurationsAreWrittenForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		37 * time.Second: "37s", 90 * time.Second: "1m30s", time.Hour: "1h0m", 26 * time.Hour: "1d2h", 48 * time.Hour: "2d", 240 * time.Hour: "10d", 0: "0s",
		25*time.Hour + 59*time.Minute: "1d1h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s is written %q; want %q", d, got, want)
		}
	}
}
