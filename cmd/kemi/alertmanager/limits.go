package alertmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
)

// Config is what stands under `alertmanager:`.
type Config struct {
	// MaxFiring is how many alerts from elsewhere may fire.
	MaxFiring int `yaml:"max_firing"`
	// MaxKnown is how many alerts from elsewhere may be known: that fire, or are over since less than a week. A label that
	// is another one each time makes another alert each time.
	MaxKnown int `yaml:"max_known"`
	// ResolveTimeout is after how long an alert that says no end is over unless it is said again.
	ResolveTimeout time.Duration `yaml:"resolve_timeout"`
}

// Default is what holds where nothing is said.
func Default() Config {
	return Config{MaxFiring: 100_000, MaxKnown: 200_000, ResolveTimeout: 5 * time.Minute}
}

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var cs []conf.Complaint
	if c.MaxFiring < 1 {
		cs = append(cs, conf.Complaint{Field: "max_firing", What: "no alert could come", Do: "write 1 or more"})
	}
	if c.MaxKnown < c.MaxFiring {
		cs = append(cs, conf.Complaint{Field: "max_known", What: "fewer than max_firing", Do: "write as many or more: what fires is known"})
	}
	if c.ResolveTimeout < 10*time.Second || c.ResolveTimeout > 24*time.Hour {
		cs = append(cs, conf.Complaint{Field: "resolve_timeout", What: c.ResolveTimeout.String() + " is not from 10s to 24h", Do: "write 5m"})
	}
	return cs
}

// group is by what name dead letters say who refused.
const group = "alertmanager"

// lettersAMinute is how many of the alerts that there is no room for become dead letters in a minute: all of them would
// push out the letters of others.
const lettersAMinute = 10

// room says whether there is room for more alerts. It is for one request.
type room struct {
	most          Config
	firing, known int
}

// room counts what is there, before so many alerts come. What a request may bring over the limit is counted exactly: what
// the read model knows by now is in its numbers and in the memory's.
func (a *api) room(s *view.State, come int, now time.Time) *room {
	firing, known := s.Elsewhere()
	fresh := a.memory.sweep(s, now, false)
	if firing+fresh+come > a.Limits.MaxFiring || known+fresh+come > a.Limits.MaxKnown {
		fresh = a.memory.sweep(s, now, true)
	}
	return &room{a.Limits, firing + fresh, known + fresh}
}

// take takes an alert in, or says why there is no room for it. What fires already and what is over always has some.
func (r *room) take(f *event.Finding, was *last) error {
	if f.Verdict != event.VerdictFiring || was.firing {
		return nil
	}
	switch {
	case r.firing >= r.most.MaxFiring:
		return fmt.Errorf("labels: %d alerts from elsewhere fire, which is as many as alertmanager: {max_firing: %d} allows", r.firing, r.most.MaxFiring)
	case was.at.IsZero() && r.known >= r.most.MaxKnown:
		return fmt.Errorf("labels: there were %d alerts from elsewhere within a week, which is as many as alertmanager: {max_known: %d} allows", r.known, r.most.MaxKnown)
	}
	r.firing++
	if was.at.IsZero() {
		r.known++
	}
	return nil
}

// varied bounds how many alerts are looked at for the label that varies most.
const varied = 50_000

// varies says of which alert there are most, and by which of its labels: looked up once a minute, or once a second while
// the read model is behind. It is asked once for a request, and counts outside of the read model.
func (a *api) varies(now time.Time) string {
	a.saidMu.Lock()
	defer a.saidMu.Unlock()
	if now.Before(a.variedUntil) {
		return a.varied
	}
	var all []*event.Alert
	a.Model.Read(func(s *view.State) {
		for one := range s.FromElsewhere() {
			if all = append(all, one); len(all) == varied {
				break
			}
		}
	})
	a.varied, a.variedUntil = varies(all), now.Add(time.Minute)
	if len(all) < min(a.Limits.MaxFiring/2, varied) {
		a.variedUntil = now.Add(time.Second)
	}
	return a.varied
}

func varies(all []*event.Alert) string {
	if len(all) == 0 {
		return ""
	}
	names := map[string][]*event.Alert{}
	for _, a := range all {
		names[a.Name] = append(names[a.Name], a)
	}
	name := slices.MaxFunc(slices.Sorted(maps.Keys(names)), func(x, y string) int { return cmp.Compare(len(names[x]), len(names[y])) })
	values := map[string]map[string]bool{}
	for _, a := range names[name] {
		for _, l := range a.Labels {
			if values[l.Name] == nil {
				values[l.Name] = map[string]bool{}
			}
			values[l.Name][l.Value] = true
		}
	}
	labels := slices.SortedFunc(maps.Keys(values), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(values[y]), len(values[x])), cmp.Compare(x, y))
	})
	var most []string
	for _, label := range labels[:min(len(labels), 3)] {
		most = append(most, fmt.Sprintf("%.80q %d", label, len(values[label])))
	}
	return fmt.Sprintf("; most are %.80q (%d of %d looked at), where the labels with most values are %s: leave out of the labels what is another one each time, it can stand among the annotations",
		name, len(names[name]), len(all), strings.Join(most, ", "))
}

// bury puts some of the alerts that there was no room for on dead.v1.
func (a *api) bury(ctx context.Context, t *taken, from string, now time.Time) {
	for _, f := range t.beyond {
		a.saidMu.Lock()
		if now.Sub(a.lettersSince) >= time.Minute {
			a.lettersSince, a.letters = now, 0
		}
		a.letters++
		full := a.letters > lettersAMinute
		a.saidMu.Unlock()
		if full {
			return
		}
		reason := errors.New("there is no room for more alerts from elsewhere (" + from + "): see alertmanager: in the configuration, and kemi_alertmanager_alerts_received_total{status=\"limit\"} for how many; of these " +
			fmt.Sprint(lettersAMinute) + " a minute are kept")
		if err := a.Bus.Bury(ctx, f, group, reason); err != nil {
			a.Scope.Log().Error("put an alert that was refused on dead.v1", "alert", f.Alert, "labels", f.Labels.String(), "err", err)
		}
	}
}
