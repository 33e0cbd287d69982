package alerting

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// stage plays a script against a desk, in virtual time. Commands, one a line:
//
//	target ID CLASS [NEED …] [every=D] [team=T] [nochecks]   NEED is id or id|id (any one is enough)
//	remove ID          the CMDB forgets it
//	fire ID ALERT [SEVERITY]   an alert fires, resolve ID ALERT resolves it
//	policy KEY=VALUE … at the beginning
//	down ID, up ID     a verdict on who answers, dated now; pending ID and unknown ID change nothing
//	ack ID WHO [FOR]   somebody acknowledges the newest incident of that cause; so unack, snooze FOR, assign WHO, resolved
//	silence NAME FOR LABEL=VALUE   somebody silences, until unsilence NAME
//	elsewhere COMMAND  one of target, remove, fire, resolve: in another partition
//	post ID|- ALERT INSTANCE   somebody else's alert fires about a target, or about none that is known, until ended ALERT INSTANCE
//	abroad ID          the CMDB puts it into another domain
//	maintain ID, active ID   the CMDB changes its lifecycle
//	+D                 time passes, in steps of a second
//
// What the desk says follows each command, indented.
type stage struct {
	t       testing.TB
	desk    *Desk
	begin   time.Time
	now     time.Time
	said    bytes.Buffer
	names   map[string]string // Of incidents, in the order of their appearance.
	shown   map[string]string
	teams   map[string]string // Whose each incident was first.
	targets map[string]*event.Target
	// What the bus would hold.
	alerts    map[string]*event.Alert
	incidents map[string]*event.Incident
	pages     []*event.Page
	findings  []*event.Finding
	memory    [][]byte
	sizes     []int
	unpolled  bool // Targets have no checks.
	anew      bool // The desk looks at everything in each Step, as if anything had changed.
	silences  map[string]*event.Silence
	inhibitor *hush.Inhibitor
	abroad    map[string]*event.Target // Targets of other partitions.
	commands  []*event.Command
	decided   map[string]int // In which run each page was decided.
	restarts  int
	before    stored // As it was before the last Step that decided something.
}

// stored is what has been published.
type stored struct {
	incidents map[string]*event.Incident
	pages     []*event.Page
}

// loss is how much of what the last Step decided was stored when the process died.
type loss int

const (
	nothingLost loss = iota
	incidentsLost
	everythingLost
)

// lose takes back what was not stored.
func (s *stage) lose(l loss) {
	if s.before.incidents == nil || l == nothingLost {
		return
	}
	s.incidents = s.before.incidents
	if l == everythingLost {
		s.pages = s.before.pages
	}
}

func newStage(t testing.TB, policy Policy) *stage {
	begin := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	s := &stage{
		t: t, desk: NewDesk(policy, hooks{}, holdsForTest(t)), begin: begin, inhibitor: holdsForTest(t).Inhibitor(), abroad: map[string]*event.Target{}, now: begin, names: map[string]string{}, shown: map[string]string{}, teams: map[string]string{},
		targets: map[string]*event.Target{}, alerts: map[string]*event.Alert{}, incidents: map[string]*event.Incident{},
		silences: map[string]*event.Silence{}, decided: map[string]int{},
	}
	s.desk.Share(s.inhibitor, s.known)
	return s
}

// known finds a target of any partition.
func (s *stage) known(id string) *event.Target {
	if t := s.targets[id]; t != nil {
		return t
	}
	return s.abroad[id]
}

// hooks has one receiver for each team, and escalates for the team oncall: jo, jo again after 5 m, sun after 10 m; of the
// team gap nobody is primary. The team rooms has a route of its own to two receivers, the first page after 30 s and again
// after 20 m and after 1 h; what is of both goes to the one and to oncall.
type hooks struct{}

func (hooks) Route(labels event.Labels, team string) Route {
	if labels.Get("severity") == "emergency" {
		return Route{Receivers: []string{"security"}, Team: team}
	}
	wait := 30 * time.Second
	switch team {
	case "rooms":
		return Route{Receivers: []string{"chat", "audit"}, GroupWait: &wait, Repeats: []Repeat{{"chat", 20 * time.Minute}, {"audit", time.Hour}}}
	case "asleep":
		return routeAsleep()
	case "shifts":
		return routeOfShifts()
	case "both":
		return Route{Receivers: []string{"chat"}, Team: "oncall", Repeats: []Repeat{{"chat", 4 * time.Minute}}}
	}
	return Route{Team: team, Channel: []string{team + "-hook"}}
}

func (hooks) Urgency(_, severity string, _ time.Time) (event.Urgency, event.Reason) {
	if severity == "warning" {
		return event.UrgencyNotify, event.Reason{Text: severity}
	}
	return event.UrgencyPage, event.Reason{Text: severity}
}

func (h hooks) Step(team string, n int, _ time.Time) (Step, bool) {
	all := []Step{{Who: []string{team + "-hook"}}}
	if team == "oncall" {
		all = []Step{
			{Who: []string{"pager/jo"}, Text: "the primary jo"},
			{Who: []string{"pager/jo"}, After: 5 * time.Minute, Text: "the primary jo"},
			{Who: []string{"pager/sun"}, After: 10 * time.Minute, Text: "the secondary sun"},
		}
	}
	if team == "gap" { // Nobody is primary at this hour.
		all = []Step{{}, {Who: []string{"pager/sun"}, After: 5 * time.Minute, Text: "the secondary sun"}, {Who: []string{"mail/boss"}, After: 9 * time.Minute, Text: "the manager boss"}}
	}
	if n < 0 || n >= len(all) {
		return Step{}, false
	}
	return all[n], true
}

func (hooks) Person(name string) string { return "pager/" + name }

func holdsForTest(t testing.TB) *hush.Set {
	t.Helper()
	nodes, _ := conf.Parse("kemi.yaml", []byte(`
inhibit_rules:
  - {name: power, source_matchers: [alertname="PowerLost"], target_matchers: [alertname=~"NoPower|Cold"]}
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: "21:00", end_time: "23:00"}]}]}
`))
	set, problems := hush.New(hush.Config{InhibitRules: nodes[0].Get("inhibit_rules"), TimeIntervals: nodes[0].Get("time_intervals")})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

// restart makes a new desk from what the bus holds.
func (s *stage) restart() {
	s.restarts++
	s.memory = s.desk.Remember(s.now.Add(-10 * time.Minute))
	s.desk = NewDesk(s.desk.policy, hooks{}, holdsForTest(s.t))
	s.desk.Share(s.inhibitor, s.known)
	s.desk.Restore(slices.Collect(maps.Values(s.incidents)), s.pages)
	if len(s.pages)%2 == 0 { // Both ways must do.
		if err := s.desk.Recall(s.memory...); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, t := range s.targets {
		s.desk.SetTarget(t)
	}
	for _, silence := range s.silences {
		if err := s.desk.Silence(silence); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, c := range s.commands {
		s.desk.Command(c, s.now)
	}
	for _, f := range s.findings {
		s.desk.Reachable(f)
	}
	for _, a := range s.alerts {
		s.desk.Alert(a)
	}
	s.desk.Presume()
	s.step()
}

func (s *stage) do(line string) {
	s.t.Helper()
	f := strings.Fields(line)
	switch {
	case strings.HasPrefix(f[0], "+"):
		d, err := time.ParseDuration(f[0][1:])
		if err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		for end := s.now.Add(d); s.now.Before(end); {
			s.now = s.now.Add(min(time.Second, end.Sub(s.now)))
			s.step()
		}
		return
	case f[0] == "elsewhere":
		s.elsewhere(f[1:])
	case f[0] == "maintain", f[0] == "active":
		t := *s.known(f[1])
		t.Lifecycle = map[string]event.Lifecycle{"maintain": event.Maintenance, "active": event.Active}[f[0]]
		if s.abroad[t.ID] != nil {
			s.abroad[t.ID] = &t
			s.desk.Hushed()
		} else {
			s.targets[t.ID] = &t
			s.desk.SetTarget(&t)
		}
	case f[0] == "target":
		s.target(f)
	case f[0] == "post", f[0] == "ended":
		s.post(f)
	case f[0] == "abroad":
		s.abroad[f[1]] = s.targets[f[1]]
		delete(s.targets, f[1])
		s.desk.Guest(s.abroad[f[1]])
	case f[0] == "remove":
		delete(s.targets, f[1])
		delete(s.abroad, f[1])
		s.desk.RemoveTarget(f[1])
	case slices.Contains([]string{"ack", "unack", "snooze", "assign", "byhand"}, f[0]):
		s.act(f)
	case f[0] == "silence":
		d, _ := time.ParseDuration(f[2])
		name, value, _ := strings.Cut(f[3], "=")
		s.silences[f[1]] = &event.Silence{ID: f[1], Kind: event.PlainSilence, Matchers: []event.Matcher{{Name: name, Value: value}}, StartsAt: s.now, EndsAt: s.now.Add(d), By: "jo", Comment: "known", Updated: s.now}
		if err := s.desk.Silence(s.silences[f[1]]); err != nil {
			s.t.Fatal(err)
		}
	case f[0] == "unsilence":
		delete(s.silences, f[1])
		s.desk.Unsilence(f[1])
	case f[0] == "policy":
		s.setPolicy(f[1:])
	case f[0] == "fire" && len(f) > 3:
		s.fire(f[1], f[2], f[3])
	case f[0] == "fire":
		s.alert(f[1], f[2], event.AlertFiring)
	case f[0] == "resolve":
		s.alert(f[1], f[2], event.AlertResolved)
	default:
		verdict, ok := map[string]event.Verdict{
			"down": event.VerdictFiring, "up": event.VerdictOK, "pending": event.VerdictPending, "unknown": event.VerdictUnknown,
		}[f[0]]
		if !ok {
			s.t.Fatalf("no such command: %q", line)
		}
		s.verdict(f[1], verdict)
	}
	s.step()
}

// elsewhere has something happen in another partition, of which the desk knows only what the room tells it.
func (s *stage) elsewhere(f []string) {
	switch f[0] {
	case "target":
		s.abroad[f[1]] = targetOf(f)
	case "remove":
		delete(s.abroad, f[1])
	case "fire":
		s.inhibitor.Set(f[1]+f[2], event.LabelsOf(map[string]string{"alertname": f[2], "target": f[1]}))
	case "resolve":
		s.inhibitor.Unset(f[1] + f[2])
	default:
		s.t.Fatalf("nothing %q happens elsewhere", f)
	}
	s.desk.Hushed()
}

func (s *stage) target(f []string) {
	t := targetOf(f)
	if s.unpolled {
		t.Checks = nil
	}
	s.targets[t.ID] = t
	s.desk.SetTarget(t)
}

func targetOf(f []string) *event.Target {
	t := &event.Target{
		ID: f[1], Class: f[2], Team: "net", Lifecycle: event.Active, Relations: map[string][]event.Need{},
		Checks: []event.Check{{Name: "snmp", Kind: "snmp", Every: 10 * time.Second}},
	}
	for _, word := range f[3:] {
		name, value, ok := strings.Cut(word, "=")
		switch {
		case word == "nochecks":
			t.Checks = nil
		case ok && name == "team":
			t.Team = value
		case ok && name == "every":
			t.Checks[0].Every, _ = time.ParseDuration(value)
		default:
			t.Relations[event.ConnectedTo] = append(t.Relations[event.ConnectedTo], strings.Split(word, "|"))
		}
	}
	return t
}

// newest is the newest open incident of a cause; when none is open, the newest.
func (s *stage) newest(cause string) (about *event.Incident) {
	rank := func(i *event.Incident) (open int) {
		if i.State != event.IncidentResolved {
			open = 1
		}
		return open
	}
	for _, i := range s.incidents {
		if i.Cause == cause && (about == nil || cmp.Or(rank(i)-rank(about), i.OpenedAt.Compare(about.OpenedAt)) > 0) {
			about = i
		}
	}
	return about
}

// act says a command about the newest incident of a cause.
func (s *stage) act(f []string) {
	about := s.newest(f[1])
	if about == nil {
		s.t.Fatalf("%q: there is no incident of %s", f, f[1])
	}
	c := &event.Command{Subject: about.ID, By: "jo", At: s.now, Args: map[string]string{}}
	word := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	until := func(text string) {
		if d, err := time.ParseDuration(text); err == nil {
			c.Args["until"] = s.now.Add(d).Format(time.RFC3339)
		}
	}
	switch f[0] {
	case "ack":
		c.Kind, c.By = event.Acknowledge, word(2)
		until(word(3))
	case "unack":
		c.Kind = event.Unacknowledge
	case "snooze":
		c.Kind = event.Snooze
		until(word(2))
	case "assign":
		c.Kind, c.Args["to"] = event.Assign, word(2)
	case "byhand":
		c.Kind = event.Resolve
	}
	s.commands = append(s.commands, c)
	s.desk.Command(c, s.now)
}

func (s *stage) verdict(target string, v event.Verdict) {
	f := &event.Finding{Rule: event.RuleReachable, Verdict: v, Target: target, Domain: "default", Since: s.now, At: s.now, Labels: event.LabelsOf(map[string]string{"target": target})}
	s.findings = append(s.findings, f)
	s.desk.Reachable(f)
}

// fire lets an alert fire with a severity, which is a label as well.
func (s *stage) fire(target, name, severity string) {
	labels := event.LabelsOf(map[string]string{"alertname": name, "target": target, "severity": severity})
	a := &event.Alert{
		ID: event.AlertID(name, event.LabelsOf(map[string]string{"alertname": name, "target": target})), Name: name, Rule: "test/" + name, State: event.AlertFiring,
		Target: target, Domain: "default", Team: "net", Severity: severity, Labels: labels, StartsAt: s.now, Updated: s.now,
	}
	s.alerts[a.ID] = a
	s.inhibitor.Set(a.ID, a.Labels)
	s.desk.Hushed()
	s.desk.Alert(a)
}

// setPolicy has the desk, of which nothing is known yet, follow another policy.
func (s *stage) setPolicy(words []string) {
	policy := s.desk.policy
	text := "alerting:\n"
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		text += "  " + key + ": " + value + "\n"
	}
	nodes, problems := conf.Parse("kemi.yaml", []byte(text))
	if len(problems) == 0 {
		problems = nodes[0].Get("alerting").Into(&policy)
	}
	if len(problems) > 0 {
		s.t.Fatalf("policy %q: %v", words, problems)
	}
	s.desk = NewDesk(policy, hooks{}, holdsForTest(s.t))
	s.desk.Share(s.inhibitor, s.known)
}

func (s *stage) alert(target, name string, state event.AlertState) {
	labels := event.LabelsOf(map[string]string{"alertname": name, "target": target})
	a := &event.Alert{
		ID: event.AlertID(name, labels), Name: name, Rule: "test/" + name, State: state, Target: target, Domain: "default", Team: "net",
		Severity: "critical", Labels: labels, StartsAt: s.now, Updated: s.now,
	}
	if old := s.alerts[a.ID]; state == event.AlertResolved && old != nil {
		a.StartsAt, a.EndsAt = old.StartsAt, s.now
	}
	if s.alerts[a.ID] = a; state == event.AlertResolved {
		delete(s.alerts, a.ID)
		s.inhibitor.Unset(a.ID)
	} else {
		s.inhibitor.Set(a.ID, a.Labels)
	}
	s.desk.Hushed()
	s.desk.Alert(a)
}

func (s *stage) step() {
	if s.anew {
		s.desk.moved = true
		for _, inc := range s.desk.incidents {
			inc.counted, inc.restless, inc.ranked = 0, true, false
		}
	}
	s.take(s.desk.Step(s.now))
}

// take stores what a Step decided, and notes what is new in it.
func (s *stage) take(out Output) {
	s.agrees()
	at := "  @" + s.now.Sub(s.begin).String() + " "
	if len(out.Pages)+len(out.Incidents) > 0 {
		s.before = stored{maps.Clone(s.incidents), slices.Clone(s.pages)}
	}
	for _, v := range out.Verify {
		fmt.Fprintf(&s.said, "%sverify %s\n", at, v.Target.ID)
	}
	for _, p := range out.Pages {
		if slices.ContainsFunc(s.pages, func(old *event.Page) bool { return old.ID == p.ID }) {
			if s.decided[p.ID] == s.restarts {
				s.t.Errorf("two pages have one identity: %q", p.Title)
			}
			continue // The ledger has it already.
		}
		s.pages = append(s.pages, p)
		s.decided[p.ID] = s.restarts
		fmt.Fprintf(&s.said, "%spage %s %s to %s: %s\n", at, s.name(p.Incident), p.Kind, whoOf(p), p.Title)
	}
	for _, i := range out.Incidents {
		if old := s.incidents[i.ID]; old != nil && i.Revision != old.Revision+1 {
			s.t.Errorf("incident %s went from revision %d to %d", i.ID, old.Revision, i.Revision)
		}
		s.incidents[i.ID] = s.through(i)
		line := fmt.Sprintf("incident %s %s: %s %s, %s", s.name(i.ID), i.State, i.Cause, i.Kind, i.Reason.Code)
		if i.Next != nil {
			line += ", at " + i.Next.At.Sub(s.begin).String() + " " + i.Next.Text
		}
		for _, n := range i.Repeats {
			line += ", at " + n.At.Sub(s.begin).String() + " " + n.Text
		}
		if first := s.teams[i.ID]; first == "" {
			s.teams[i.ID] = i.Team
		} else if first != i.Team {
			line += ", team " + i.Team
		}
		if i.Ack != nil {
			line += ", acknowledged by " + i.Ack.By
		}
		for _, m := range i.Muted {
			line += ", muted: " + m.Code
		}
		if !i.SnoozedUntil.IsZero() {
			line += ", snoozed"
		}
		if s.shown[i.ID] != line {
			s.shown[i.ID] = line
			fmt.Fprintln(&s.said, at+line)
		}
	}
}
