package event_test

import (
	"testing"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// Teams and targets may be called anything.
func TestWhatIsGatheredIsReadAsItWasWritten(t *testing.T) {
	name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "net", "core/net", "a%2Fb", "%", "%25/", "behind/x", "similar/net/vm"}))
	rapid.Check(t, func(t *rapid.T) {
		team, what := name.Draw(t, "team"), name.Draw(t, "what")
		i := event.Incident{Kind: event.IncidentSimilar, Cause: event.CauseBehind(team, what)}
		if x, y, ok := i.Behind(); !ok || x != team || y != what {
			t.Errorf("%q of %q and %q reads %q and %q, %v", i.Cause, team, what, x, y, ok)
		}
		if _, _, ok := i.Similar(); ok || i.Target() != "" {
			t.Errorf("%q is similar, or about %q", i.Cause, i.Target())
		}
		i.Cause = event.CauseSimilar(team, what)
		if x, y, ok := i.Similar(); !ok || x != team || y != what {
			t.Errorf("%q of %q and %q reads %q and %q, %v", i.Cause, team, what, x, y, ok)
		}
		if _, _, ok := i.Behind(); ok || i.Target() != "" {
			t.Errorf("%q is behind, or about %q", i.Cause, i.Target())
		}
	})
}

// A target is what it is, whatever it is called.
func TestATargetMayBeCalledLikeAGroup(t *testing.T) {
	for _, id := range []string{"behind/net/core-1", "similar/net/vm", "alert/Watchdog", "core-1"} {
		for _, kind := range []event.IncidentKind{event.IncidentDown, event.IncidentOwn} {
			i := event.Incident{Kind: kind, Cause: id, Alerts: []event.IncidentAlert{{Target: id}}}
			_, _, behind := i.Behind()
			if _, _, similar := i.Similar(); behind || similar || i.Target() != id {
				t.Errorf("%s %s is about %q", id, kind, i.Target())
			}
		}
	}
	none := event.Incident{Kind: event.IncidentOwn, Cause: "alert/Watchdog", Alerts: []event.IncidentAlert{{Name: "Watchdog"}}}
	if id := none.Target(); id != "" {
		t.Errorf("an alert without a target is about %q", id)
	}
}

// What an incident is about is said to programs in labels that mean something outside of Kemi.
func TestWhatAnIncidentIsAboutIsSaidInLabels(t *testing.T) {
	watchdog := []event.IncidentAlert{{Name: "Watchdog"}}
	for want, i := range map[string]event.Incident{
		`{target="core-1"}`:         {Kind: event.IncidentDown, Cause: "core-1"},
		`{target="similar/net/vm"}`: {Kind: event.IncidentOwn, Cause: "similar/net/vm"},
		`{class="vm"}`:              {Kind: event.IncidentSimilar, Cause: event.CauseSimilar("core/net", "vm")},
		`{behind="core-1"}`:         {Kind: event.IncidentSimilar, Cause: event.CauseBehind("net", "core-1")},
		`{alertname="Watchdog"}`:    {Kind: event.IncidentOwn, Cause: event.CauseNoTarget + "net/Watchdog", Alerts: watchdog},
		`{}`:                        {Kind: event.IncidentSimilar, Cause: "something that will be"},
	} {
		if got := event.LabelsOf(i.About()).String(); got != want {
			t.Errorf("%s is about %s, not %s", i.Cause, got, want)
		}
	}
}
