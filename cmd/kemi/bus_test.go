package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
)

// TestScriptsOnABus has people look at a bus on which some things have happened, and mend it: testdata/bus has one story a
// file, each with a bus of its own.
func TestScriptsOnABus(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/bus", UpdateScripts: *update, Cmds: commands(), Setup: func(e *testscript.Env) error {
		url, stop, err := happened()
		if err == nil {
			e.Defer(stop)
			e.Setenv("KEMI_SERVER", url)
			e.Setenv("TZ", "UTC")
		}
		return err
	}})
}

// picky is a handler of commands that has nothing to do with the attic.
type picky struct{}

func (picky) Handle(_ context.Context, batch []bus.Message[event.Command]) error {
	for _, m := range batch {
		if m.Event.Subject == "attic" {
			return bus.Permanent(errors.New("there is no attic"))
		}
	}
	return nil
}

func (picky) Tick(context.Context, time.Time) error { return nil }

// happened serves a bus with some of every word, and with four dead letters: 1 is no event, 2 is of a newer version, 3 is a
// command that a handler refused. 4 is what somebody else put on dead.v1.
func happened() (url string, stop func(), err error) {
	d := mem.New()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	ctx, cancel := context.WithCancel(context.Background())
	srv := httptest.NewServer(api.New(b, view.New(b), func() any { return map[string]bool{} }))
	ended := make(chan error, 1)
	stop = func() {
		srv.CloseClientConnections()
		srv.Close()
		cancel()
		<-ended
		b.Close()
	}
	if err := errors.Join(b.Open(ctx), say(ctx, b, d)); err != nil {
		ended <- nil
		stop()
		return "", nil, err
	}
	go func() {
		ended <- bus.Own(ctx, b, "cmdb", bus.Options{}, func(context.Context, *bus.Ownership) (bus.Handler[event.Command], error) { return picky{}, nil })
	}()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		info, err := b.Inspect(ctx, "commands.v1")
		if err != nil {
			stop()
			return "", nil, err
		}
		if len(info.Groups) == 1 && len(info.Groups[0].Partitions) == 1 && info.Groups[0].Partitions[0].Lag == 0 {
			err := d.Publish(ctx, []driver.Record{{Topic: bus.TopicDead, Key: "k9", Value: []byte("woof\x1b[2J"), Headers: []driver.Header{{Name: "content-type", Value: "text/plain\x1b[2J"}}}}, nil)
			if err != nil {
				stop()
			}
			return srv.URL, stop, err
		}
	}
	stop()
	return "", nil, errors.New("the group did not come to the end")
}

func say(ctx context.Context, b *bus.Bus, d driver.Driver) error {
	now := time.Now().UTC()
	target := &event.Target{ID: "core-1", Class: "switch", Address: "192.0.2.1", Team: "network", Lifecycle: event.Active, Updated: now}
	job := event.JobFor(target, event.Check{Name: "ping", Kind: "icmp"}, now.Add(-time.Minute), now.Add(-time.Second), 0, event.CauseSchedule, "")
	reading := event.ReadingFor(job)
	reading.Status, reading.Duration, reading.Message = event.StatusTimeout, 1500*time.Millisecond, "no answer"
	command := func(subject string) *event.Command {
		return &event.Command{Kind: event.AcceptShrink, Subject: subject, By: "jo", At: now}
	}
	attic, err := command("attic").Encode()
	if err != nil {
		return err
	}
	bad := []driver.Record{
		{Topic: "commands.v1", Key: "thermometer", Value: []byte("21.5 degrees\x1b[2J"), Headers: []driver.Header{{Name: "sensor", Value: "attic"}}},
		{Topic: "commands.v1", Key: "attic", Value: attic, Headers: []driver.Header{{Name: "kemi-word", Value: "dev.kemi.command.v2"}}},
	}
	return errors.Join(
		b.Publish(ctx, target, job, reading,
			&event.Finding{Rule: event.RuleReachable, Target: "core-1", Domain: "default", Verdict: event.VerdictFiring, At: now, Since: now, Reason: event.Reason{Text: "no poll is answered"}},
			&event.Alert{ID: "a1", Name: "TargetDown", Target: "core-1", Domain: "default", Severity: "critical", State: event.AlertFiring, Updated: now, Annotations: map[string]string{"summary": "core-1 is down"}},
			&event.Incident{ID: "i1", Cause: "core-1", Domain: "default", Team: "network", Title: "core-1 does not answer", State: event.IncidentOpen, OpenedAt: now, SuppressedTotal: 7},
			&event.Page{ID: "p1", Incident: "i1", Domain: "default", Receiver: "phone", Kind: event.PageFiring, Stage: event.PageSent, Attempts: 1, Title: "core-1 does not answer", Created: now, Updated: now},
			command("file:a"),
		),
		d.Publish(ctx, bad, nil),
		b.Publish(ctx, command("attic"), command("file:b")),
	)
}

func TestTimesAreTakenByTheClockHere(t *testing.T) {
	here := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 22, 10, 30, 0, 0, here)
	for in, want := range map[string]string{
		"10:00": "2026-11-22T10:00:00+02:00", "10:45": "2026-11-21T10:45:00+02:00", "09:59:30": "2026-11-22T09:59:30+02:00",
		"2026-11-20 08:00": "2026-11-20T08:00:00+02:00", "2026-11-20": "2026-11-20T00:00:00+02:00", "2026-11-20T08:00:01": "2026-11-20T08:00:01+02:00",
		"5m": "5m", " 5m ago ": "5m ago", "beginning": "beginning", "3/17": "3/17", "2026-11-20T08:00:00Z": "2026-11-20T08:00:00Z", "": "", "25:00": "25:00",
	} {
		if got := when(in, now); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestBytesAndSpansAreWrittenForPeople(t *testing.T) {
	for n, want := range map[int64]string{-1: "?", 0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 512 << 20: "512 MiB", 4 << 30: "4 GiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	for seconds, want := range map[float64]string{21600: "6h", 7776000: "90d", 90: "90s", 120: "2m"} {
		if got := span(seconds); got != want {
			t.Errorf("%v is %s, want %s", seconds, got, want)
		}
	}
	if got := short("naïveté", 5); got != "naïv…" {
		t.Errorf("shortened to %q", got)
	}
	if got := fmt.Sprint(queryOf("a", "", "b", "1")); got != "map[b:[1]]" {
		t.Errorf("query %s", got)
	}
}

func TestProgressIsOneLineThatIsTakenAwayAndOnlyOnATerminal(t *testing.T) {
	var out strings.Builder
	p := progress{w: &out}
	for i := range 3 { // In no time: one is enough.
		p.say(func() string { return fmt.Sprint(i, " events") })
	}
	p.clear()
	p.clear()
	if got := out.String(); got != "\r\x1b[K0 events\r\x1b[K" {
		t.Errorf("said %q", got)
	}
	none := newProgress(&out)
	none.next = time.Time{}
	none.say(func() string { t.Error("a file is told how far the work is"); return "" })
}
