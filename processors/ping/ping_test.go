package ping_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/alert"
	"kemi.dev/kemi/processors/ping"
)

var epoch = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

var nightly = ping.Watch{Every: 24 * time.Hour, Grace: time.Hour, Team: "db", Severity: "critical"}

// firing makes alerts of findings, as the processor of alerts does, and lists those that fire.
type firing struct {
	desk *alert.Desk
	all  map[string]*event.Alert
}

func newFiring() *firing { return &firing{alert.NewDesk(), map[string]*event.Alert{}} }

func (f *firing) take(findings []*event.Finding) {
	for _, one := range findings {
		if a := f.desk.Finding(one); a != nil {
			f.all[a.ID] = a
		}
	}
}

func (f *firing) String() string {
	var said []string
	for _, a := range f.all {
		if a.State == event.AlertFiring {
			said = append(said, a.Name+" "+a.Labels.Get("name")+" "+a.Team+" "+a.Severity)
		}
	}
	slices.Sort(said)
	return strings.Join(said, ", ")
}

func tick(d *ping.Desk, f *firing, now time.Time) { out, _ := d.Tick(now); f.take(out) }

func TestAPingThatStaysAwayFiresAndOneThatComesEndsIt(t *testing.T) {
	d, f := ping.NewDesk(map[string]ping.Watch{"backup": nightly}, nil, epoch), newFiring()
	for at := time.Duration(0); at < 25*time.Hour; at += time.Minute {
		tick(d, f, epoch.Add(at))
		if f.String() != "" {
			t.Fatalf("after %s: %s", at, f)
		}
	}
	tick(d, f, epoch.Add(25*time.Hour))
	if f.String() != "PingMissing backup db critical" {
		t.Fatalf("the first ping never came: %q", f)
	}
	d.Ping("backup", epoch.Add(26*time.Hour))
	tick(d, f, epoch.Add(26*time.Hour))
	if f.String() != "" {
		t.Fatalf("it came: %s", f)
	}
	tick(d, f, epoch.Add(51*time.Hour-time.Second))
	if f.String() != "" {
		t.Fatalf("it has time: %s", f)
	}
	tick(d, f, epoch.Add(51*time.Hour))
	if f.String() == "" {
		t.Fatal("it stays away")
	}
	for _, a := range f.all {
		if !a.StartsAt.Equal(epoch.Add(51*time.Hour)) || !strings.Contains(a.Annotations["description"], "no ping came since 2026-11-23 05:00:00 UTC. It is expected every 24h0m0s") {
			t.Errorf("%+v", a)
		}
	}
	if d.Ping("backup", epoch) || d.Ping("nobody", epoch.Add(60*time.Hour)) {
		t.Error("an old ping, or one of nobody, changed something")
	}
}

// Wherever the desk is restarted from what it knew, the same alerts fire at the end of the day; while it has just begun it
// says nothing of what is overdue.
func TestARestartForgetsNothingAndRaisesNoAlarm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		watches := map[string]ping.Watch{"a": {Every: 10 * time.Minute, Grace: 2 * time.Minute, Severity: "critical"}, "b": {Every: time.Hour, Severity: "warning", Team: "db"}}
		d, f := ping.NewDesk(watches, nil, epoch), newFiring()
		last := map[string]time.Time{"a": epoch, "b": epoch}
		now := epoch
		tick(d, f, now)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")
				d.Ping(name, now)
				last[name] = now
			case 1:
				data, err := json.Marshal(d.Known())
				if err != nil {
					t.Fatal(err)
				}
				known := map[string]ping.Known{}
				if err := json.Unmarshal(data, &known); err != nil {
					t.Fatal(err)
				}
				before := f.String()
				d = ping.NewDesk(watches, known, now)
				if out, _ := d.Tick(now); len(out) > 0 {
					f.take(out)
					for _, one := range out {
						if one.Verdict == event.VerdictFiring && watches[one.Labels.Get("name")].Grace > 0 {
							t.Fatalf("it had %q and says at once that %s", before, one.Reason.Text)
						}
					}
				}
			}
			tick(d, f, now)
		}
		now = now.Add(5 * time.Minute) // Nobody is patient for longer.
		tick(d, f, now)
		var want []string
		for _, name := range slices.Sorted(maps.Keys(watches)) {
			w := watches[name]
			if !now.Before(last[name].Add(w.Every + w.Grace)) {
				team := w.Team
				if team == "" {
					team = "default"
				}
				want = append(want, fmt.Sprintf("PingMissing %s %s %s", name, team, w.Severity))
			}
		}
		if got := f.String(); got != strings.Join(want, ", ") {
			t.Fatalf("%q fire, want %q", got, want)
		}
	})
}

func TestAWatchThatGoesOrGetsAnotherTeamLeavesNoAlertBehind(t *testing.T) {
	f := newFiring()
	d := ping.NewDesk(map[string]ping.Watch{"backup": nightly}, nil, epoch)
	tick(d, f, epoch)
	tick(d, f, epoch.Add(26*time.Hour))
	other := nightly
	other.Team = "storage"
	d = ping.NewDesk(map[string]ping.Watch{"backup": other}, d.Known(), epoch.Add(27*time.Hour))
	tick(d, f, epoch.Add(28*time.Hour))
	if f.String() != "PingMissing backup storage critical" {
		t.Errorf("with another team: %q", f)
	}
	d = ping.NewDesk(nil, d.Known(), epoch.Add(29*time.Hour))
	tick(d, f, epoch.Add(29*time.Hour))
	if f.String() != "" || len(d.Known()) != 0 {
		t.Errorf("not watched any more: %q, known %v", f, d.Known())
	}
}

// On a bus: the alarm comes, the ping of a restarted process ends it.
func TestTheDoorSaysOnTheBusWhatTheDeskFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		must(t, b.Open(t.Context()))
		defer b.Close()
		run := func(during time.Duration) {
			r, err := ping.New(ping.Options{Bus: b, Watches: map[string]ping.Watch{"backup": {Every: time.Hour, Grace: time.Minute, Severity: "critical"}}})
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			<-time.After(during)
			cancel()
			must(t, <-done)
		}
		verdicts := func() string {
			var said []string
			err := b.Read(t.Context(), bus.Span{Topic: "findings.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
				for _, raw := range batch {
					e, err := raw.Event()
					if err != nil {
						return err
					}
					if v := string(e.(*event.Finding).Verdict); len(said) == 0 || said[len(said)-1] != v {
						said = append(said, v)
					}
				}
				return nil
			})
			must(t, err)
			return strings.Join(said, " ")
		}
		say := func() {
			must(t, b.Publish(t.Context(), &event.Command{Kind: event.Ping, Subject: "backup", At: time.Now()}))
		}
		say()
		run(50 * time.Minute)
		if got := verdicts(); got != "ok" {
			t.Fatalf("said %q", got)
		}
		run(20 * time.Minute)
		if got := verdicts(); got != "ok firing" {
			t.Fatalf("said %q", got)
		}
		say()
		run(time.Minute)
		if got := verdicts(); got != "ok firing ok" {
			t.Fatalf("said %q", got)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMistakesInAWatchAreSaid(t *testing.T) {
	for text, want := range map[string]string{
		"b: {}": "every is missing", "b: {every: 1d, grace: 90d}": "grace is out of range", "b: {every: 1d, sevrity: x}": "unknown key", "b: {every: 1d}": "",
	} {
		nodes, problems := conf.Parse("kemi.yaml", []byte(text))
		all := map[string]ping.Watch{}
		if len(problems) == 0 {
			problems = nodes[0].Into(&all)
		}
		if (want == "") != (len(problems) == 0) || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v, want %q", text, problems, want)
		}
	}
}
