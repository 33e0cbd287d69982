package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
)

// asked serves the API over a bus in memory on which the events were said, with a read model that has seen them, and
// returns a way to run commands against it.
func asked(t *testing.T, events ...event.Event) func(cmd *cobra.Command, args ...string) (out, errs string, err error) {
	t.Helper()
	b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
	must(t, b.Open(t.Context()))
	must(t, b.Publish(t.Context(), events...))
	m := view.New(b)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-m.Ready()
	srv := httptest.NewServer(api.New(b, m, func() any { return map[string]bool{} }))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.Close()
	})
	return func(cmd *cobra.Command, args ...string) (string, string, error) {
		var out, errs bytes.Buffer
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetOut(&out)
		cmd.SetErr(&errs)
		cmd.SetArgs(append(args, "--server", srv.URL))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), errs.String(), err
	}
}

// night is a night's ledger: jo is called twice until it arrives, sun is told of something else long ago, a third is held.
func night(now time.Time) []event.Event {
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	incident := &event.Incident{
		ID: "inc1", Domain: "default", State: event.IncidentOpen, Team: "network", Cause: "core-1", Title: "core-1 does not answer", Severity: "critical",
		OpenedAt: at(time.Hour), Updated: at(time.Hour), Revision: 1,
	}
	muted := &event.Incident{
		ID: "inc2", Domain: "default", State: event.IncidentOpen, Team: "network", Cause: "tor-7", Title: "tor-7 does not answer", OpenedAt: at(time.Hour),
		Updated: at(time.Hour), Revision: 1, Muted: []event.Reason{{Code: "silenced", Text: "by sun until 06:00: rack 7 moves"}},
	}
	jo := event.Page{
		ID: "page1", Incident: "inc1", Domain: "default", Team: "network", Receiver: "pager", Person: "jo", Urgency: event.UrgencyPage, Step: 1, Kind: event.PageFiring,
		Stage: event.PageIntent, DedupKey: "k1", Title: "=core-1 does not answer", Text: "explains 7 more", Snapshot: incident, Created: at(time.Hour), Updated: at(time.Hour),
		Reason: event.Reason{Code: "opened"},
	}
	retrying := jo
	retrying.Stage, retrying.Attempts, retrying.Response, retrying.Updated, retrying.NextTry = event.PageRetrying, 1, "503 Service Unavailable", at(59*time.Minute), at(58*time.Minute)
	sent := jo
	sent.Stage, sent.Attempts, sent.Response, sent.Updated, sent.Reason = event.PageSent, 2, "202 accepted, id 77", at(58*time.Minute), event.Reason{Code: "sent"}
	sun := event.Page{
		ID: "page2", Incident: "old", Domain: "default", Team: "storage", Receiver: "mail", Person: "sun", Kind: event.PageFiring, Stage: event.PageFailed,
		Attempts: 1, Title: "disk full", Response: "550 no such user", Created: at(6 * 24 * time.Hour), Updated: at(6 * 24 * time.Hour), Reason: event.Reason{Code: "refused", Text: "550 no such user"},
	}
	held := event.Page{
		ID: "page3", Incident: "inc1", Domain: "default", Team: "network", Receiver: "mail", Person: "lee", Kind: event.PageUpdate, Stage: event.PageHeld,
		Title: "core-1 does not answer", Created: at(time.Minute), Updated: at(time.Minute), Reason: event.Reason{Code: "rate-limit", Text: "lee was told of 10 others this hour"},
	}
	return []event.Event{incident, muted, &jo, &retrying, &sent, &sun, &held}
}

func TestTheLedgerSaysWhoWasToldWhatAndWhatCameOfIt(t *testing.T) {
	run := asked(t, night(time.Now().UTC())...)
	out, _, err := run(newPages(), "list", "--incident", "inc")
	must(t, err)
	for _, want := range []string{"page1", "sent", "jo", "202 accepted", "page3", "held", "rate-limit: lee was told", "nobody is called for inc2", "silenced: by sun until 06:00"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
	for args, want := range map[string][]string{
		"--person jo": {"page1"}, "--receiver mail": {"page3", "page2"}, "--stage failed": {"page2"}, "--team storage": {"page2"}, "--target core-1": {"page1"}, "--since 30m": {"page3"},
		"--since 60d": {"page3", "page1", "page2"}, "--since 60d --stage retrying": nil, "--since 60d --stage sent": {"page1"}, "--incident inc1": {"page3", "page1"}, "--incident inc2": nil,
	} {
		out, _, err := run(newPages(), strings.Fields("list -o json "+args)...)
		must(t, err)
		var pages []event.Page
		must(t, json.Unmarshal([]byte(out), &pages))
		var ids []string
		for _, p := range pages {
			ids = append(ids, p.ID)
		}
		if strings.Join(ids, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v, want %v", args, ids, want)
		}
	}
	if _, _, err := run(newPages(), "list", "--stage", "lost"); err == nil || !strings.Contains(err.Error(), "there is intent, retrying") {
		t.Errorf("a stage that is none: %v", err)
	}
}

func TestAPageIsShownWithEveryStage(t *testing.T) {
	run := asked(t, night(time.Now().UTC())...)
	out, _, err := run(newPages(), "show", "page1")
	must(t, err)
	last := -1
	for _, want := range []string{"jo by pager, team network, urgency page, step 1", "explains 7 more", "intent", "503 Service Unavailable", "tried again at", "202 accepted, id 77"} {
		at := strings.Index(out, want)
		if at <= last {
			t.Errorf("%q is missing or out of order:\n%s", want, out)
		}
		last = at
	}
	out, _, err = run(newPages(), "show", "page1", "-o", "json")
	must(t, err)
	var shown shownPage
	must(t, json.Unmarshal([]byte(out), &shown))
	if shown.Stage != event.PageSent || len(shown.Stages) != 3 || shown.Stages[1].Response != "503 Service Unavailable" {
		t.Errorf("shown %+v", shown)
	}
	for id, want := range map[string]string{"nobody": `no page "nobody"`, "page": "several pages begin with page"} {
		if _, _, err := run(newPages(), "show", id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestTheLedgerIsExportedWholeAndNothingInItIsAFormula(t *testing.T) {
	run := asked(t, night(time.Now().UTC())...)
	out, _, err := run(newPages(), "export")
	must(t, err)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	must(t, err)
	if len(rows) != 6 {
		t.Fatalf("%d rows:\n%s", len(rows), out)
	}
	stages := ""
	for _, row := range rows[1:] {
		if row[0] == "page1" {
			stages += row[3] + " "
			if row[9] != "jo" || row[13] != "'=core-1 does not answer" || row[11] != "core-1" || row[12] != "critical" {
				t.Errorf("row %q", row)
			}
		}
	}
	if stages != "intent retrying sent " {
		t.Errorf("the stages of page1 are %s", stages)
	}
	out, _, err = run(newPages(), "export", "-o", "json", "--stage", "held", "--from", "1d")
	must(t, err)
	var e api.Entry
	must(t, json.Unmarshal([]byte(out), &e))
	if e.ID != "page3" || e.Reason.Code != "rate-limit" || e.Stored.IsZero() {
		t.Errorf("exported %s", out)
	}
	if _, _, err := run(newPages(), "export", "-o", "xml"); err == nil {
		t.Error("xml was written")
	}
	if _, _, err := run(newPages(), "export", "--from", "yesterday"); err == nil || !strings.Contains(err.Error(), "write beginning") {
		t.Errorf("from yesterday: %v", err)
	}
}
