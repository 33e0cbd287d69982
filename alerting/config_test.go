package alerting

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/alerting/notify/inbox"
)

func TestConfigurationMistakesAreAllNamed(t *testing.T) {
	h := &house{t: t}
	o := h.options(`
receivers:
  a: {webhok: {url: "http://x/"}}
  b: {webhook: {url: "ftp://x/", timeout: 0s}}
  c: {webhook: {urll: "http://x/"}}
  d: {}
  e: {inbox: {keep: 0}}
  box: {inbox: {}}
teams:
  net: {receiver: bix}
  shop: {reciever: box}
  ops: {}
alerting:
  group_wait: -1s
  settel: 5s
`, nil)
	_, problems := New(o)
	var got []string
	for _, line := range strings.Split(problems.Error(), "\n") {
		got = append(got, strings.TrimPrefix(line, "kemi.yaml:"))
	}
	want := []string{
		`3:7: there is no kind of receiver "webhok": did you mean "webhook"?`,
		`4:22: the url is not one of a web server: write http://host/path or https://host/path`,
		`4:43: timeout is out of range: use 1s to 5m`,
		`5:17: unknown key "urll": did you mean "url"?`,
		`6:6: receiver "d" needs exactly one kind: write for example d: {webhook: {url: "http://127.0.0.1:9999/"}}`,
		`7:21: keep is out of range: use 1 to 1000000`,
		`10:8: there is no team "default", which takes the pages of whatever belongs to no other: add default: {receiver: …} to teams; {receiver: log} when the log will do`,
		`10:19: there is no receiver "bix": did you mean "box"?`,
		`11:10: unknown key "reciever": did you mean "receiver"?`,
		`12:8: team "ops" has no receiver: write receiver: and the name of one of your receivers`,
		`14:15: group_wait is out of range: use 0s to 10m`,
		`15:3: unknown key "settel": did you mean "settle"?`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The log is nobody: who has teams says who hears of what belongs to none of them.
func TestTeamsNeedADefault(t *testing.T) {
	h := &house{t: t}
	for text, bad := range map[string]bool{
		"{receivers: {box: {inbox: {}}}, teams: {net: {receiver: box}}}":                           true,
		"{receivers: {box: {inbox: {}}}, teams: {net: {receiver: box}, default: {receiver: log}}}": false,
		"{receivers: {box: {inbox: {}}}}":                                                          false,
		"{receivers: {box: {inbox: {}}}, teams: {default: {receiver: bix}}}":                       true,
	} {
		if _, problems := New(h.options(text, nil)); len(problems) > 0 != bad || len(problems) > 1 {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

func TestTeamsWithoutConfigurationGoToTheDefault(t *testing.T) {
	h := &house{t: t, boxes: &inbox.Set{}}
	room, problems := New(h.options(houseConfig, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if got := []string{told(room, "net"), told(room, "nobody"), told(room, "")}; !slices.Equal(got, []string{"net-box", "other-box", "other-box"}) {
		t.Errorf("routes are %q", got)
	}
	bare, problems := New(Options{})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if got := told(bare, "anybody"); got != "log" || !slices.Equal(bare.Teams(), []string{"default"}) {
		t.Errorf("without configuration pages go to %q of %q", got, bare.Teams())
	}
}

// told is who is told of a team's first page.
func told(r *Room, team string) string {
	s, _ := r.people.Step(r.people.Route(nil, team).Team, 0, time.Time{})
	return strings.Join(s.Who, " ")
}

// Whoever cannot be called, and whatever leads to nobody, is found before anything runs.
func TestPeopleWhoCannotBeCalledAreNamed(t *testing.T) {
	h := &house{t: t}
	_, problems := New(h.options(`
receivers: {box: {inbox: {}}}
people:
  jo: {mail: jo@x.org, ways: [box, bux]}
  sun: {mail: sun@x.org}
schedules:
  net: {layers: [{start: 2026-01-05 09:00, people: [jo, so]}]}
teams:
  default: {receiver: box}
  net: {schedule: nat, members: [jo, sun], escalation: [{to: [primari]}, {after: 5m, to: []}, {after: 1m, to: [manager]}]}
  ops: {schedule: nat, members: [jo, sun], escalation: [{to: [primari]}, {after: 5m, to: [manager]}]}
  web: {members: [jo], escalation: [{to: [secondary]}]}
route: {receiver: team:nett}
`, nil))
	var got []string
	for _, line := range strings.Split(problems.Error(), "\n") {
		got = append(got, strings.TrimPrefix(line, "kemi.yaml:"))
	}
	want := []string{
		`4:36: there is no receiver "bux": did you mean "box"?`,
		`7:57: there is no person "so": did you mean "jo"?`,
		`10:19: there is no schedule "nat": did you mean "net"?`,
		`10:38: sun has no way to be reached: give people: sun: ways: [a receiver]`,
		`10:63: there is no person "primari": did you mean "primary"?`,
		`10:74: this step calls nobody: write to: [primary], secondary, team, manager, receiver or a person`,
		`10:103: this step comes before the one above it: after counts from the beginning of the escalation: write the steps in their order`,
		`10:112: team "net" has no manager, so that nobody is called: give it manager:, or name a person`,
		`11:19: there is no schedule "nat": did you mean "net"?`,
		`11:38: sun has no way to be reached: give people: sun: ways: [a receiver]`,
		`11:63: there is no person "primari": did you mean "primary"?`,
		`11:91: team "ops" has no manager, so that nobody is called: give it manager:, or name a person`,
		`12:43: team "web" has no schedule, so that nobody is called: give it schedule:, or name a person`,
		`13:19: there is no team "nett": did you mean "net"?`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// With mistakes there is a room all the same, of which whatever can be asked; it does not run.
func TestARoomWithMistakesCanBeAskedAndDoesNotRun(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options("receivers: {hook: {inbox: {}, limit: many}}\nteams: {default: {receiver: hook}}", nil))
	if len(problems) != 1 || room == nil {
		t.Fatalf("%v", problems)
	}
	room.Foresee(time.Now())
	if room.Roster() == nil || room.Holds() == nil || len(room.Teams()) != 1 || len(room.Receivers()) != 2 {
		t.Errorf("teams %q, receivers %q", room.Teams(), room.Receivers())
	}
	if err := room.Run(t.Context()); err == nil {
		t.Error("it runs")
	}
}
