// Package ping watches jobs of others by the pings they send: a backup, a nightly run, another Kemi.
//
// In: commands of the kind ping, from the bus, and time passing. Out: a finding of the rule pings/PingMissing when a ping
// stays away, and when it comes again.
// It promises that a restart or another owner neither forgets when the last ping came nor raises an alarm for what came
// while nobody listened, that a ping which could not be received because Kemi was away is not held against its sender, one
// in a row, and that a watch that is taken out of the configuration leaves no alert behind.
// It never decides who is told.
package ping

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Rule and Alert name what a missing ping makes.
const (
	Rule  = "pings/PingMissing"
	Alert = "PingMissing"
)

// Watch is what stands under a name in `pings:`.
type Watch struct {
	// Every is how often the job pings, Grace how much later it may be.
	Every time.Duration `yaml:"every"`
	Grace time.Duration `yaml:"grace"`
	// Team is told when it stays away, Severity is how bad that is.
	Team     string `yaml:"team"`
	Severity string `yaml:"severity"`
	// Token, when there is one, has to come with every ping.
	Token conf.Secret `yaml:"token"`
}

// SetDefaults implements conf.Defaulter.
func (w *Watch) SetDefaults() { *w = Watch{Grace: 5 * time.Minute, Severity: "critical"} }

// Validate implements conf.Validator.
func (w *Watch) Validate() []conf.Complaint {
	var all []conf.Complaint
	if w.Every < time.Second || w.Every > 366*24*time.Hour {
		all = append(all, conf.Complaint{Field: "every", What: "every is missing or out of range", Do: "write how often the job runs, such as 24h; 1s to 366d"})
	}
	if w.Grace < 0 || w.Grace > 30*24*time.Hour {
		all = append(all, conf.Complaint{Field: "grace", What: "grace is out of range", Do: "use 0s to 30d"})
	}
	if w.Severity == "" {
		all = append(all, conf.Complaint{Field: "severity", What: "severity is empty", Do: "leave it out, or write critical"})
	}
	return all
}

// Known is what has to be kept of a watch.
type Known struct {
	// Last is when the newest ping came, Began since when it is waited for.
	Last  time.Time `json:"last,omitzero"`
	Began time.Time `json:"began"`
	// Excused is when Kemi listened again after it was away while a ping was due; zero once one came.
	Excused time.Time `json:"excused,omitzero"`
	// Team and Severity are those of what was said of it.
	Team     string `json:"team,omitempty"`
	Severity string `json:"severity,omitempty"`
}

// Desk knows who pinged when. It is for one goroutine.
type Desk struct {
	watches map[string]Watch
	known   map[string]Known
	// opened is when it began to listen: what was due before may have come while nobody did.
	opened time.Time
	said   map[string]said
}

// said is what was said last of a watch.
type said struct {
	verdict event.Verdict
	at      time.Time
}

// Bounds of what is said and when.
const (
	// patience is how long a desk that has just begun waits for a ping that is overdue, at most.
	patience = 5 * time.Minute
	// sayAgain is how often the verdict on a watch is said though nothing changed.
	sayAgain = 10 * time.Minute
)

// NewDesk makes a desk of what is to be watched and what a former one knew.
func NewDesk(watches map[string]Watch, known map[string]Known, now time.Time) *Desk {
	d := &Desk{watches: watches, known: map[string]Known{}, opened: now, said: map[string]said{}}
	maps.Copy(d.known, known)
	return d
}

// Known is what the desk would have to be made of again.
func (d *Desk) Known() map[string]Known { return d.known }

// Ping takes in a ping, and reports whether it changed anything.
func (d *Desk) Ping(name string, at time.Time) bool {
	k, known := d.known[name]
	w, watched := d.watches[name]
	if !watched || !at.After(k.Last) {
		return false
	}
	if !known {
		k = Known{Began: at, Team: w.Team, Severity: w.Severity}
	}
	k.Last, k.Excused = at, time.Time{}
	d.known[name] = k
	return true
}

// Away takes in that nobody could ping between two instants, and lists the watches whose ping was due then and may be lost
// for that: they have until it is due the next time. That is granted for one ping in a row: whatever becomes of Kemi, a job
// that is dead is told.
func (d *Desk) Away(from, to time.Time) (excused []string) {
	for _, name := range slices.Sorted(maps.Keys(d.watches)) {
		w := d.watches[name]
		k, known := d.known[name]
		if !known {
			continue
		}
		// As much earlier as it may be later, it may have come.
		due := k.from().Add(w.Every)
		if to.Before(due.Add(-max(w.Grace, w.Every/10))) || from.After(due.Add(w.Grace)) {
			continue
		}
		k.Excused = to
		d.known[name] = k
		excused = append(excused, name)
	}
	return excused
}

// from is since when a ping is waited for.
func (k Known) from() time.Time {
	if k.Last.IsZero() {
		return k.Began
	}
	return k.Last
}

// Tick says what follows from the time, and reports whether what is known changed.
func (d *Desk) Tick(now time.Time) (out []*event.Finding, changed bool) {
	for _, name := range slices.Sorted(maps.Keys(d.known)) {
		k := d.known[name]
		w, watched := d.watches[name]
		if watched && w.Team == k.Team && w.Severity == k.Severity {
			continue
		}
		// Nobody is told any more of what was said of it; who is to be told now hears of it as of something new.
		out = append(out, finding(name, k, event.VerdictOK, now, now, event.Reason{Code: "not-watched", Text: name + " is not watched any more, or somebody else is told"}))
		delete(d.said, name)
		changed = true
		if !watched {
			delete(d.known, name)
			continue
		}
		k.Team, k.Severity = w.Team, w.Severity
		d.known[name] = k
	}
	for _, name := range slices.Sorted(maps.Keys(d.watches)) {
		w := d.watches[name]
		k, known := d.known[name]
		if !known {
			k = Known{Began: now, Team: w.Team, Severity: w.Severity}
			d.known[name], changed = k, true
		}
		if f := d.judge(name, w, k, now); f != nil {
			out = append(out, f)
		}
	}
	return out, changed
}

// Overdue reports whether Tick would say of a watch, anew, that its ping is missing.
func (d *Desk) Overdue(now time.Time) bool {
	for name, w := range d.watches {
		if k, known := d.known[name]; known && d.said[name].verdict != event.VerdictFiring {
			if f := d.verdict(name, w, k, now); f != nil && f.Verdict == event.VerdictFiring {
				return true
			}
		}
	}
	return false
}

// judge is the finding on one watch; nil when there is nothing new, or nothing to say yet.
func (d *Desk) judge(name string, w Watch, k Known, now time.Time) *event.Finding {
	f := d.verdict(name, w, k, now)
	if f == nil {
		return nil
	}
	if last := d.said[name]; last.verdict == f.Verdict && now.Sub(last.at) < sayAgain {
		return nil
	}
	d.said[name] = said{f.Verdict, now}
	return f
}

// verdict is what there is to say of one watch; nil when there is nothing to say yet.
func (d *Desk) verdict(name string, w Watch, k Known, now time.Time) *event.Finding {
	due := k.from().Add(w.Every + w.Grace)
	late := due
	if !k.Excused.IsZero() {
		due = due.Add(w.Every + w.Grace)
		if again := k.Excused.Add(w.Every + w.Grace); again.After(due) {
			due = again
		}
	}
	var f *event.Finding
	switch {
	case now.Before(due):
		if k.Last.IsZero() {
			return nil // It has time for its first.
		}
		if !now.Before(late) {
			f = finding(name, k, event.VerdictUnknown, late, now, event.Reason{Code: "was-away", Text: "the last ping came at " + stamp(k.Last) + ", and Kemi was away when the next was due, until " + stamp(k.Excused) + ": it may be lost"})
			break
		}
		f = finding(name, k, event.VerdictOK, k.Last, now, event.Reason{Code: "pinged", Text: "the last ping came at " + stamp(k.Last)})
	case now.Before(d.opened.Add(min(w.Grace, patience))):
		return nil
	case k.Last.IsZero():
		f = finding(name, k, event.VerdictFiring, due, now, event.Reason{Code: "never-pinged", Text: "no ping came since " + stamp(k.Began) + ", when it began to be watched"})
	default:
		f = finding(name, k, event.VerdictFiring, due, now, event.Reason{Code: "ping-missing", Text: "no ping came since " + stamp(k.Last)})
	}
	if f.Verdict == event.VerdictFiring && !k.Excused.IsZero() {
		f.Reason.Text += "; Kemi itself was away until " + stamp(k.Excused)
	}
	if f.Verdict == event.VerdictFiring {
		f.Annotations = map[string]string{
			"summary":     name + " has not pinged",
			"description": f.Reason.Text + ". It is expected every " + w.Every.String() + " and may be " + w.Grace.String() + " late.",
		}
	}
	return f
}

// finding is a verdict on a watch. The value is how many seconds ago the last ping came.
func finding(name string, k Known, v event.Verdict, since, now time.Time, why event.Reason) *event.Finding {
	labels := map[string]string{"alertname": Alert, "name": name, "severity": k.Severity}
	if k.Team != "" {
		labels["team"] = k.Team
	}
	return &event.Finding{
		Rule: Rule, Alert: Alert, Verdict: v, Team: cmp.Or(k.Team, "default"), Domain: event.DefaultDomain, Labels: event.LabelsOf(labels), Value: now.Sub(k.from()).Seconds(),
		Since: since, At: now, Reason: why,
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
