package alert_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/alert"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func finding(series string, v event.Verdict, at time.Duration) *event.Finding {
	return &event.Finding{
		Rule: "g/A", Alert: "A", Verdict: v, Target: "t1", Team: "net", Domain: "default",
		Labels: event.LabelsOf(map[string]string{"alertname": "A", "ifIndex": series, "severity": "critical"}),
		Value:  at.Seconds(), Since: epoch.Add(at - time.Second), At: epoch.Add(at), Reading: fmt.Sprint("r", at),
		Annotations: map[string]string{"summary": fmt.Sprint("at ", at)}, Reason: event.Reason{Code: "test", Causes: []string{fmt.Sprint("r", at)}},
	}
}

func show(a *event.Alert) string {
	if a == nil {
		return "-"
	}
	s := fmt.Sprintf("%s %s starts=%s updated=%s", a.Labels.Get("ifIndex"), a.State, a.StartsAt.Sub(epoch), a.Updated.Sub(epoch))
	if a.Unknown {
		s += " unknown"
	}
	if !a.EndsAt.IsZero() {
		s += fmt.Sprintf(" ends=%s", a.EndsAt.Sub(epoch))
	}
	return s
}

// Each verdict does to each state what it must, and nothing else.
func TestTransitions(t *testing.T) {
	d := alert.NewDesk()
	for _, c := range []struct {
		verdict event.Verdict
		at      time.Duration
		want    string
	}{
		{event.VerdictOK, 1 * time.Second, "-"},
		{event.VerdictUnknown, 2 * time.Second, "-"},
		{event.VerdictPending, 3 * time.Second, "-"},
		{event.VerdictFiring, 10 * time.Second, "1 firing starts=9s updated=10s"},
		{event.VerdictFiring, 20 * time.Second, "-"},
		{event.VerdictPending, 21 * time.Second, "-"},
		{event.VerdictFiring, 23 * time.Hour, "-"},
		{event.VerdictFiring, 25 * time.Hour, "1 firing starts=9s updated=25h0m0s"},
		{event.VerdictUnknown, 26 * time.Hour, "1 firing starts=9s updated=26h0m0s unknown"},
		{event.VerdictUnknown, 27 * time.Hour, "-"},
		{event.VerdictUnknown, 51 * time.Hour, "1 firing starts=9s updated=51h0m0s unknown"},
		{event.VerdictPending, 52 * time.Hour, "-"},
		{event.VerdictFiring, 53 * time.Hour, "1 firing starts=9s updated=53h0m0s"},
		{event.VerdictUnknown, 54 * time.Hour, "1 firing starts=9s updated=54h0m0s unknown"},
		{event.VerdictOK, 55 * time.Hour, "1 resolved starts=9s updated=55h0m0s ends=54h59m59s"},
		{event.VerdictOK, 56 * time.Hour, "-"},
		{event.VerdictFiring, 54 * time.Hour, "-"}, // late
		{event.VerdictFiring, 57 * time.Hour, "1 firing starts=56h59m59s updated=57h0m0s"},
		{event.VerdictOK, 57 * time.Hour, "1 resolved starts=56h59m59s updated=57h0m0s ends=56h59m59s"},
	} {
		if got := show(d.Finding(finding("1", c.verdict, c.at))); got != c.want {
			t.Errorf("%s at %s: got %s, want %s", c.verdict, c.at, got, c.want)
		}
	}
	if firing, unknown := d.Firing(); firing != 0 || unknown != 0 {
		t.Errorf("%d still fire", firing)
	}
}

// An alert says what its finding said.
func TestAnAlertCarriesItsFinding(t *testing.T) {
	f := finding("1", event.VerdictFiring, time.Minute)
	want := &event.Alert{
		ID: event.AlertID("g/A", f.Labels), Name: "A", Rule: "g/A", State: event.AlertFiring, Target: "t1", Team: "net", Domain: "default", Severity: "critical",
		Labels: f.Labels, Annotations: f.Annotations, Value: 60, StartsAt: f.Since, Updated: f.At, Finding: f.Identity(), Reason: f.Reason,
	}
	if diff := cmp.Diff(want, alert.NewDesk().Finding(f)); diff != "" {
		t.Error(diff)
	}
}

// Built-in rules make no problem; the canary's makes one key, which never fires.
func TestBuiltInRules(t *testing.T) {
	d := alert.NewDesk()
	f := finding("1", event.VerdictFiring, time.Second)
	f.Rule = event.RuleReachable
	if a := d.Finding(f); a != nil {
		t.Errorf("reachable made %s", show(a))
	}
	var keys []string
	for i := range 3 {
		f := finding("1", event.VerdictOK, time.Duration(i)*time.Minute)
		f.Rule, f.Target = event.RuleCanary, event.CanaryTarget
		f.Labels = event.LabelsOf(map[string]string{"target": event.CanaryTarget, "site": fmt.Sprint(i)})
		a := d.Finding(f)
		if a == nil || a.State != event.AlertResolved || a.Rule != event.RuleCanary || !a.Updated.Equal(f.At) {
			t.Fatalf("the canary made %+v", a)
		}
		d.Load(a)
		keys = append(keys, a.Key())
	}
	if keys = slices.Compact(keys); len(keys) != 1 {
		t.Errorf("the canary has the keys %v", keys)
	}
}

// Whatever is delivered again, and wherever the desk is killed and loaded from what it said, the transitions are those
// of an undisturbed run.
func TestRepetitionAndRestartChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*event.Finding
		at := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			at += time.Duration(rapid.SampledFrom([]int{1, 10, 3600, 90_000}).Draw(t, "gap")) * time.Second
			all = append(all, finding(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "series"),
				rapid.SampledFrom([]event.Verdict{event.VerdictFiring, event.VerdictOK, event.VerdictUnknown, event.VerdictPending}).Draw(t, "verdict"), at))
		}
		var want []string
		undisturbed := alert.NewDesk()
		for _, f := range all {
			if a := undisturbed.Finding(f); a != nil {
				want = append(want, show(a))
			}
		}
		var got []string
		topic := map[string]*event.Alert{} // alerts.v1: the newest of each key
		d := alert.NewDesk()
		committed := 0
		for i := 0; i < len(all); i++ {
			if a := d.Finding(all[i]); a != nil {
				got = append(got, show(a))
				topic[a.Key()] = a
			}
			if rapid.IntRange(0, 3).Draw(t, "commit") == 0 {
				committed = i + 1
			}
			switch rapid.IntRange(0, 9).Draw(t, "trouble") {
			case 0: // killed: what was not committed comes again
				d = alert.NewDesk()
				for _, a := range topic {
					d.Load(a)
				}
				for _, f := range all[committed : i+1] {
					if a := d.Finding(f); a != nil {
						got = append(got, show(a))
						topic[a.Key()] = a
					}
				}
			case 1: // an old one once more
				f := all[rapid.IntRange(0, i).Draw(t, "old")]
				if a := d.Finding(f); a != nil {
					t.Fatalf("said again: %s", show(a))
				}
			}
			if rapid.IntRange(0, 9).Draw(t, "sweep") == 0 {
				d.Sweep(all[i].At)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// BenchmarkFinding is a finding that changes nothing, of one of 10,000 problems.
func BenchmarkFinding(b *testing.B) {
	d := alert.NewDesk()
	fs := make([]*event.Finding, 10_000)
	for i := range fs {
		fs[i] = finding(fmt.Sprint(i), event.VerdictFiring, time.Minute)
		d.Finding(fs[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		d.Finding(fs[i%len(fs)])
	}
}

// told is what somebody else's rule says, until then unless it is said again.
func told(at, until time.Duration) *event.Finding {
	f := finding("1", event.VerdictFiring, at)
	f.Rule, f.Until = event.RulePrefixElsewhere+"A", epoch.Add(until)
	f.Annotations = map[string]string{"summary": "the same"}
	return f
}

// What nobody says again is over when it said it would be, and not before.
func TestWhatIsNotSaidAgainIsOver(t *testing.T) {
	d := alert.NewDesk()
	over := func(at time.Duration) string {
		all := ""
		for _, a := range d.Over(epoch.Add(at)) {
			all += show(a) + " " + a.Reason.Code
		}
		return all
	}
	if got := show(d.Finding(told(10*time.Minute, 15*time.Minute))); got != "1 firing starts=9m59s updated=10m0s" {
		t.Fatal(got)
	}
	if got := over(15*time.Minute - 1); got != "" {
		t.Fatalf("too early: %s", got)
	}
	if a := d.Finding(told(12*time.Minute, 17*time.Minute)); a == nil || !a.Until.Equal(epoch.Add(17*time.Minute)) || !a.StartsAt.Equal(epoch.Add(10*time.Minute-time.Second)) {
		t.Fatalf("said again: %s", show(a))
	}
	if a := d.Finding(told(13*time.Minute, 16*time.Minute)); a != nil {
		t.Errorf("another says an earlier end: %s", show(a))
	}
	if got := over(17*time.Minute - 1); got != "" {
		t.Errorf("said again, and over: %s", got)
	}
	if got, want := over(17*time.Minute), "1 resolved starts=9m59s updated=17m0s ends=17m0s "+alert.ReasonOver; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := over(18 * time.Minute); got != "" {
		t.Errorf("over twice: %s", got)
	}
	if a := d.Finding(told(16*time.Minute, 30*time.Minute)); a != nil {
		t.Errorf("late: %s", show(a))
	}
	if got := show(d.Finding(told(20*time.Minute, 25*time.Minute))); got != "1 firing starts=19m59s updated=20m0s" {
		t.Error(got)
	}
	if got := show(d.Finding(finding("1", event.VerdictFiring, 20*time.Minute))); got == "-" || over(999*time.Hour) == "" {
		t.Errorf("our own rule's alert has no end: %s", got)
	}
	if firing, _ := d.Firing(); firing != 1 {
		t.Errorf("%d fire: what our own rule says has no end", firing)
	}
}

// Texts that change are told, and one that nobody could say again while the partition had no owner gets time for it.
func TestAnEndSurvivesATakeOver(t *testing.T) {
	d := alert.NewDesk()
	first := d.Finding(told(0, 5*time.Minute))
	f := told(time.Minute, 5*time.Minute)
	f.Annotations = map[string]string{"summary": "another"}
	if a := d.Finding(f); a == nil || a.Annotations["summary"] != "another" {
		t.Fatalf("other texts: %s", show(a))
	}
	d = alert.NewDesk()
	d.Load(first)
	if over := d.Over(epoch.Add(time.Hour)); over != nil {
		t.Errorf("nobody could say it again, and it is over: %s", show(over[0]))
	}
	if a := d.Finding(told(61*time.Minute, 66*time.Minute)); a == nil || !a.StartsAt.Equal(first.StartsAt) {
		t.Errorf("said again after the take-over: %s", show(a))
	}
	if over := d.Over(epoch.Add(65 * time.Minute)); over != nil {
		t.Errorf("said again, and over: %s", show(over[0]))
	}
	if over := d.Over(epoch.Add(66 * time.Minute)); len(over) != 1 || !over[0].EndsAt.Equal(epoch.Add(66*time.Minute)) {
		t.Errorf("over: %v", over)
	}
	if got := d.Over(epoch.Add(67 * time.Minute)); got != nil {
		t.Error("twice")
	}
}

// Of several who say the same problem the one counts that noticed it first; of ours there is only one.
func TestTheEarliestBeginningCounts(t *testing.T) {
	d := alert.NewDesk()
	d.Finding(told(10*time.Minute, 15*time.Minute))
	early := told(11*time.Minute, 15*time.Minute)
	early.Since = epoch
	if got := show(d.Finding(early)); got != "1 firing starts=0s updated=11m0s" {
		t.Error(got)
	}
	if a := d.Finding(told(12*time.Minute, 15*time.Minute)); a != nil {
		t.Errorf("a later beginning: %s", show(a))
	}
	d = alert.NewDesk()
	d.Finding(finding("1", event.VerdictFiring, time.Minute))
	ours := finding("1", event.VerdictFiring, 2*time.Minute)
	ours.Since = epoch
	if a := d.Finding(ours); a != nil {
		t.Errorf("ours: %s", show(a))
	}
}

// Which target an alert from elsewhere is about may be known later; then it is known, whoever says it next, and the alert is
// the one that it was.
func TestWhatAnAlertIsAboutMayBeKnownLater(t *testing.T) {
	d := alert.NewDesk()
	say := func(at time.Duration, target, team string) *event.Alert {
		f := finding("1", event.VerdictFiring, at)
		f.Target, f.Team, f.Until, f.Since = target, team, epoch.Add(time.Hour), epoch
		f.Annotations = nil
		return d.Finding(f)
	}
	first := say(time.Second, "", "")
	if first == nil || first.Target != "" {
		t.Fatalf("%+v", first)
	}
	known := say(2*time.Second, "t1", "net")
	if known == nil || known.ID != first.ID || known.Target != "t1" || known.Team != "net" || !known.StartsAt.Equal(first.StartsAt) || known.Domain != first.Domain {
		t.Fatalf("when it is known: %+v", known)
	}
	for at, target := range map[time.Duration]string{3 * time.Second: "", 4 * time.Second: "t2"} {
		if a := say(at, target, "dba"); a != nil {
			t.Errorf("when somebody says %q: %+v", target, a)
		}
	}
	if target := first.Target; target != "" {
		t.Errorf("the first record was changed: %q", target)
	}
}
